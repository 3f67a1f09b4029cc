#include "app/cli.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "app/http_client.h"
#include "base/distance.h"

/* --- rows ------------------------------------------------------------------------------------------------------ */

static bool cli_has_option(const struct gw_cli_command *command, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = command->options; at && *at;) {
        size_t word = strcspn(at, " ");
        if (word == len && !memcmp(at, name, len))
            return true;
        at += word;
        at += strspn(at, " ");
    }
    return false;
}

const struct gw_cli_option *gw_cli_option(const struct gw_cli_command *command, const char *name, size_t len)
{
    for (const struct gw_cli_option *option = gw_cli_options; option->name; option++) {
        if (strlen(option->name) == len && !memcmp(option->name, name, len) && cli_has_option(command, option->name))
            return option;
    }
    return NULL;
}

static const char *cli_nearest_option(const struct gw_cli_command *command, const char *name)
{
    const char *nearest = NULL;
    size_t best = 3;
    for (const struct gw_cli_option *option = gw_cli_options; option->name; option++) {
        size_t far = gw_distance(name, option->name);
        if (far < best && cli_has_option(command, option->name)) {
            best = far;
            nearest = option->name;
        }
    }
    return nearest;
}

const struct gw_cli_command *gw_cli_nearest(const char *word)
{
    const struct gw_cli_command *nearest = NULL;
    size_t best = 3;
    for (const struct gw_cli_command *command = gw_cli_commands; command->name; command++) {
        size_t far = gw_distance(word, command->name);
        if (far < best && far + 1 < strlen(command->name)) { /* a short word becomes any other in two steps */
            best = far;
            nearest = command;
        }
    }
    return nearest;
}

/* --- help ------------------------------------------------------------------------------------------------------ */

static void cli_synopsis(const struct gw_cli_command *command, FILE *out)
{
    fprintf(out, "  sluice%s%s", *command->name ? " " : "", command->name);
    if (command->words)
        fprintf(out, " %s", command->words);
    for (const struct gw_cli_option *option = gw_cli_options; option->name; option++) {
        if (cli_has_option(command, option->name))
            fprintf(out, " [%s%s%s]", option->name, option->value ? " " : "", option->value ? option->value : "");
    }
    fprintf(out, "\n        %s\n", command->help);
}

void gw_cli_help(const struct gw_cli_command *command, FILE *out)
{
    if (command) {
        cli_synopsis(command, out);
        for (const struct gw_cli_option *option = gw_cli_options; option->name; option++) {
            char name[64];
            snprintf(name, sizeof name, "%s %s", option->name, option->value ? option->value : "");
            if (cli_has_option(command, option->name))
                fprintf(out, "  %-22s%s%s\n", name, option->help,
                        option->kind == GW_CLI_LIST ? "; can be repeated" : "");
        }
        return;
    }
    fputs("sluice: MQTT topics as live channels for web clients\n\n", out);
    for (command = gw_cli_commands; command->name; command++)
        cli_synopsis(command, out);
    fputs("  sluice --version | --help, sluice COMMAND --help\n"
          "\n"
          "Without -c FILE the configuration is " GW_DEFAULT_FILE ".\n"
          "Exit status: 0 fine, 1 an error at run time, 2 wrong usage or configuration.\n"
          "Signals: SIGHUP reads the configuration again, SIGTERM and SIGINT finish up and stop.\n",
          out);
}

int gw_cli_usage(const struct gw_cli_command *command, const char *what, const char *argument)
{
    const char *name = command ? command->name : "";
    fprintf(stderr, "sluice: %s%s%s\nTry: sluice %s%s--help\n", what, argument ? ": " : "", argument ? argument : "",
            name, *name ? " " : "");
    return 2;
}

/* --- taking apart ---------------------------------------------------------------------------------------------- */

/* What other programs call it, where no distance between words leads to ours. */
static const char *cli_elsewhere(const struct gw_cli_command *command, const char *argument)
{
    static const struct {
        const char *word, *meant;
    } words[] = {
        {"run", "sluice -c FILE"},
        {"start", "sluice -c FILE"},
        {"serve", "sluice -c FILE"},
        {"-v", "--version"},
        {"-V", "--version"},
        {"version", "--version"},
        {"help", "--help"},
        {"subscribe", "sub"},
        {"publish", "pub"},
        {"validate", "check"},
        {"test", "check"},
        {"restart", "reload"},
        {"--port", "listen: in FILE"},
    };
    if (!strncmp(argument, "--config", 8) || !strcmp(argument, "--file") || !strcmp(argument, "-f"))
        return "-c";
    for (size_t i = 0; !*command->name && i < sizeof words / sizeof *words; i++) {
        if (!strcmp(argument, words[i].word))
            return words[i].meant;
    }
    const char *end = strrchr(argument, '.');
    bool file =
        strchr(argument, '/') || (end && (!strcmp(end, ".yaml") || !strcmp(end, ".yml") || !strcmp(end, ".json")));
    return !*command->name && argument[0] != '-' && file ? "-c FILE" : NULL;
}

static int cli_unknown(const struct gw_cli_command *command, const char *argument)
{
    char text[256];
    const char *meant = cli_elsewhere(command, argument);
    if (!meant && argument[0] == '-')
        meant = cli_nearest_option(command, argument);
    if (!meant && !*command->name && argument[0] != '-' && gw_cli_nearest(argument))
        meant = gw_cli_nearest(argument)->name;
    if (!meant)
        return gw_cli_usage(command, "unexpected argument", argument);
    snprintf(text, sizeof text, "%.160s (did you mean %s?)", argument, meant);
    return gw_cli_usage(command, "unexpected argument", text);
}

/* Takes the option at argv[*at] and its value. */
static int cli_take(const struct gw_cli_command *command, const struct gw_cli_option *option, int argc, char **argv,
                    int *at, struct gw_cli *cli)
{
    char *member = (char *)cli + option->offset;
    const char *value = strchr(argv[*at], '=');
    if (option->kind == GW_CLI_FLAG) {
        if (value)
            return gw_cli_usage(command, "no value is expected after", option->name);
        memcpy(member, &(bool){true}, sizeof(bool));
        return 0;
    }
    if (value)
        value++;
    else if (*at + 1 < argc)
        value = argv[++*at];
    else
        return gw_cli_usage(command, "a value is expected after", option->name);
    if (option->kind == GW_CLI_TEXT) {
        memcpy(member, &value, sizeof value);
        return 0;
    }
    struct gw_cli_list *list = (struct gw_cli_list *)(void *)member;
    if (list->count == GW_CLI_LIST_MAX)
        return gw_cli_usage(command, "this option is given more than 16 times", option->name);
    list->items[list->count++] = value;
    return 0;
}

static size_t cli_words_wanted(const struct gw_cli_command *command)
{
    size_t wanted = command->words ? 1 : 0;
    for (const char *at = command->words; at && *at; at++)
        wanted += *at == ' ';
    return wanted;
}

int gw_cli_parse(const struct gw_cli_command *command, int argc, char **argv, int from, struct gw_cli *cli)
{
    cli->command = command;
    size_t wanted = cli_words_wanted(command);
    bool options = true;
    for (int i = from; i < argc; i++) {
        const char *argument = argv[i];
        bool dashed = options && argument[0] == '-' && argument[1];
        if (dashed && !strcmp(argument, "--")) {
            options = false;
            continue;
        }
        size_t len = argument[0] == '-' && argument[1] == '-' ? strcspn(argument, "=") : strlen(argument);
        const struct gw_cli_option *option = dashed ? gw_cli_option(command, argument, len) : NULL;
        /* A negative number is a value. */
        bool word = !dashed || (argument[1] >= '0' && argument[1] <= '9');
        int status = 0;
        if (option)
            status = cli_take(command, option, argc, argv, &i, cli);
        else if (word && cli->word_count < wanted)
            cli->words[cli->word_count++] = argument;
        else
            status = cli_unknown(command, argument);
        if (status)
            return status;
    }
    if (cli->word_count < wanted)
        return gw_cli_usage(command, "expected after the command", command->words);
    return 0;
}

struct gw_config *gw_cli_load(const char *file, bool warn)
{
    struct gw_config *config;
    struct gw_buf problems = {0};
    enum gw_err err = gw_config_load(file, &config, &problems);
    if (problems.len && (warn || err != GW_OK))
        fputs(problems.data, stderr);
    if (err != GW_OK && access(file, F_OK) != 0 && errno == ENOENT)
        fputs("sluice: write one with `sluice init --broker mqtt://HOST --output FILE`, or give -c FILE\n", stderr);
    gw_buf_fini(&problems);
    return err == GW_OK ? config : NULL;
}

#define TOKEN_BYTES 16384

struct gw_http_client *gw_cli_client(const struct gw_cli *cli, struct gw_config **config, int *status)
{
    char line[TOKEN_BYTES] = "";
    struct gw_http_where where = {.url = cli->url, .token = cli->token};
    *config = NULL;
    *status = 2;
    if (!cli->url && !(*config = gw_cli_load(cli->file, false)))
        return NULL;
    where.config = *config;
    if (cli->token && !strcmp(cli->token, "-")) { /* other processes see arguments */
        if (!fgets(line, sizeof line, stdin))
            line[0] = '\0';
        line[strcspn(line, "\r\n")] = '\0';
        where.token = line;
    }
    struct gw_buf problem = {0};
    struct gw_http_client *client = gw_http_client_create(&where, &problem);
    explicit_bzero(line, sizeof line);
    if (client)
        *status = 1;
    else
        fprintf(stderr, "sluice: %s\n", problem.data);
    gw_buf_fini(&problem);
    return client;
}
