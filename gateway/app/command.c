/* command.c: the tables of commands and options. A command is a row here, and a file of its own where it is more than
 * a few lines. */
#include "app/command.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "app/cli.h"
#include "app/healthcheck.h"
#include "app/reload.h"
#include "config/describe.h"
#include "gateway/auth.h"

static int command_run(const struct gw_cli *cli)
{
    struct gw_config *config = gw_cli_load(cli->file, false);
    if (!config)
        return 2;
    int status = cli->start(config);
    gw_config_unref(config);
    return status;
}

static int command_check(const struct gw_cli *cli)
{
    const char *file = cli->words[0];
    struct gw_config *config = gw_cli_load(file, true);
    if (!config)
        return 2;
    /* Keys are read as well, so that a start can't fail where this did not. */
    struct gw_auth *auth;
    struct gw_buf problem;
    gw_buf_init(&problem);
    enum gw_err err = gw_auth_create(config, NULL, &auth, &problem);
    gw_auth_unref(auth);
    if (err != GW_OK)
        fprintf(stderr, "%s: %s\n", file, problem.data);
    else
        printf("%s: OK, %zu route%s\n", file, config->route_count, config->route_count == 1 ? "" : "s");
    gw_buf_fini(&problem);
    gw_config_unref(config);
    return err == GW_OK ? 0 : 2;
}

static int command_describe(void (*describe)(struct gw_buf *out))
{
    struct gw_buf text;
    gw_buf_init(&text);
    describe(&text);
    bool written = fputs(text.data, stdout) >= 0 && fflush(stdout) == 0;
    gw_buf_fini(&text);
    if (!written)
        fprintf(stderr, "sluice: can't write: %s\n", strerror(errno));
    return written ? 0 : 1;
}

static int command_schema(const struct gw_cli *cli)
{
    (void)cli;
    return command_describe(gw_config_schema);
}

static int command_reference(const struct gw_cli *cli)
{
    return command_describe(cli->man ? gw_config_man : gw_config_reference);
}

static int command_healthcheck(const struct gw_cli *cli)
{
    struct gw_config *config = gw_cli_load(cli->file, false);
    if (!config)
        return 2;
    int status = gw_healthcheck(config);
    gw_config_unref(config);
    return status;
}

/* A file with mistakes is refused here, where the caller sees them, and not only in the gateway's log. */
static int command_reload(const struct gw_cli *cli)
{
    struct gw_config *config = gw_cli_load(cli->file, true);
    if (!config)
        return 2;
    gw_config_unref(config);
    return gw_reload(cli->file);
}

/* The key goes to the client, the hash into the configuration. */
static int command_apikey(const struct gw_cli *cli)
{
    (void)cli;
    char key[48], hash[72];
    gw_auth_make_key(key, hash);
    printf("key:  %s\nhash: %s\n", key, hash);
    return 0;
}

#define CLI(member) offsetof(struct gw_cli, member)

const struct gw_cli_option gw_cli_options[] = {
    {"-c", "FILE", GW_CLI_TEXT, CLI(file), "FILE", "the configuration"},
    {"--topic", "TOPIC", GW_CLI_TEXT, CLI(topic), NULL, "the MQTT topic to explain"},
    {"--channel", "CHANNEL", GW_CLI_TEXT, CLI(channel), NULL, "the channel to explain"},
    {"--as", "TOKEN", GW_CLI_TEXT, CLI(as), "anonymous -",
     "what this client may do: a JWT, an API key, anonymous, or - to read it from standard input"},
    {"--subject", "NAME", GW_CLI_TEXT, CLI(subject), NULL, "whose token it is"},
    {"--role", "ROLE", GW_CLI_LIST, CLI(roles), NULL, "a role of the configuration"},
    {"--claim", "NAME=VALUE", GW_CLI_LIST, CLI(claims), NULL, "another claim; VALUE is JSON or a text"},
    {"--expires", "TIME", GW_CLI_TEXT, CLI(expires), NULL, "how long it is valid; default 1h"},
    {"--url", "URL", GW_CLI_TEXT, CLI(url), NULL, "the gateway; default: the first listener of the configuration"},
    {"--token", "TOKEN", GW_CLI_TEXT, CLI(token), "-", "a JWT or an API key, or - to read it from standard input"},
    {"--cursor", "CURSOR", GW_CLI_TEXT, CLI(cursor), NULL,
     "go on behind this message; default: the last values first"},
    {"--count", "N", GW_CLI_TEXT, CLI(count), NULL, "end after N messages, or tables"},
    {"--interval", "TIME", GW_CLI_TEXT, CLI(interval), NULL, "between two tables; default 1s"},
    {"--broker", "URL", GW_CLI_TEXT, CLI(broker), NULL, "the broker, such as mqtt://localhost or mqtts://host:8883"},
    {"--username", "NAME", GW_CLI_TEXT, CLI(username), NULL, "of the account at the broker"},
    {"--password-file", "FILE", GW_CLI_TEXT, CLI(password_file), "FILE", "its password"},
    {"--ca-file", "FILE", GW_CLI_TEXT, CLI(ca_file), "FILE", "certificates that the broker is verified with"},
    {"--for", "TIME", GW_CLI_TEXT, CLI(listen), NULL, "how long to listen; default 10s"},
    {"--output", "FILE", GW_CLI_TEXT, CLI(output), "FILE", "a new file; default: standard output"},
    {"--man", NULL, GW_CLI_FLAG, CLI(man), NULL, "for man(1)"},
    {NULL, NULL, 0, 0, NULL, NULL},
};

const struct gw_cli_command gw_cli_commands[] = {
    {"", NULL, NULL, "-c", "run the gateway", command_run},
    {"check", "FILE", "FILE", NULL, "check a configuration and say everything that is wrong with it", command_check},
    {"init", NULL, NULL, "--broker --username --password-file --ca-file --for --output",
     "listen to a broker and write a configuration for its topics", gw_cli_init},
    {"explain", NULL, NULL, "-c --topic --channel --as",
     "which routes match a topic or a channel, why others do not, and what a client may do", gw_cli_explain},
    {"doctor", NULL, NULL, "-c", "look for what would keep a gateway from working: broker, ports, origins, files",
     gw_cli_doctor},
    {"healthcheck", NULL, NULL, "-c", "ask a running gateway whether it is alive", command_healthcheck},
    {"reload", NULL, NULL, "-c", "check the file, then have the running gateway read it again", command_reload},
    {"apikey", NULL, NULL, NULL, "make an API key and its hash for auth.api_keys", command_apikey},
    {"token", NULL, NULL, "-c --subject --role --claim --expires",
     "make a JWT for trying, signed with auth.jwt.secret_file", gw_cli_token},
    {"pub", "CHANNEL VALUE", NULL, "-c --url --token",
     "publish by way of a running gateway; VALUE is sent as it is, - reads it from standard input", gw_cli_pub},
    {"sub", "FILTER", NULL, "-c --url --token --cursor --count",
     "print the messages of a channel or filter, one line of JSON each", gw_cli_sub},
    {"top", NULL, NULL, "-c --url --interval --count",
     "sessions, rates and routes of a running gateway: live on a terminal, one table elsewhere", gw_cli_top},
    {"schema", NULL, NULL, NULL, "print a JSON Schema of the configuration, for editors", command_schema},
    {"reference", NULL, NULL, "--man", "print every key of the configuration, in Markdown or for man",
     command_reference},
    {"completion", "SHELL", "bash zsh fish", NULL, "print completions for a shell: bash, zsh or fish",
     gw_cli_completion},
    {NULL, NULL, NULL, NULL, NULL, NULL},
};

int gw_command(int argc, char **argv, int (*run)(struct gw_config *config))
{
    struct gw_cli cli = {.start = run, .file = GW_DEFAULT_FILE};
    const struct gw_cli_command *command = &gw_cli_commands[0];
    const char *first = argc > 1 ? argv[1] : "";
    if (!strcmp(first, "--version")) {
        puts("sluice " SLUICE_VERSION);
        return 0;
    }
    if (!strcmp(first, "--help") || !strcmp(first, "-h")) {
        gw_cli_help(NULL, stdout);
        return 0;
    }
    for (const struct gw_cli_command *row = command + 1; row->name; row++) {
        if (!strcmp(first, row->name))
            command = row;
    }
    int from = *command->name ? 2 : 1;
    if (from == 2 && argc == 3 && (!strcmp(argv[2], "--help") || !strcmp(argv[2], "-h"))) {
        gw_cli_help(command, stdout);
        return 0;
    }
    int status = gw_cli_parse(command, argc, argv, from, &cli);
    return status ? status : command->run(&cli);
}
