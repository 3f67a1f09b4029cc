#include "app/command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/healthcheck.h"
#include "app/reload.h"
#include "app/verdict.h"
#include "config/describe.h"
#include "gateway/auth.h"
#include "route/routes.h"

static const char command_help[] =
    "sluice: MQTT topics as live channels for web clients\n"
    "\n"
    "  sluice [-c FILE]                     run (default " GW_DEFAULT_FILE ")\n"
    "  sluice check FILE                    check a configuration and say everything that is wrong with it\n"
    "  sluice explain [-c FILE] --topic T   which routes match an MQTT topic, and why others don't\n"
    "  sluice explain [-c FILE] --channel C the same for a channel\n"
    "         … --as TOKEN                  what somebody may do there, or altogether; TOKEN: a JWT, an API key,\n"
    "                                       anonymous, or - to read it from standard input\n"
    "  sluice healthcheck [-c FILE]         ask a running gateway's /healthz; exit status 0 if it is alive\n"
    "  sluice reload [-c FILE]              check the file, then have the running gateway read it again\n"
    "  sluice apikey                        make an API key; prints it and its hash for auth.api_keys\n"
    "  sluice schema                        print a JSON Schema of the configuration, for editors\n"
    "  sluice reference [--man]             print every key of the configuration, in Markdown or for man\n"
    "  sluice --version | --help\n"
    "\n"
    "Exit status: 0 fine, 1 an error at run time, 2 wrong usage or configuration.\n"
    "Signals: SIGHUP reads the configuration again, SIGTERM and SIGINT finish up and stop.\n";

static int command_usage(const char *what, const char *argument)
{
    fprintf(stderr, "sluice: %s%s%s\nTry: sluice --help\n", what, argument ? ": " : "", argument ? argument : "");
    return 2;
}

/* Whoever asks to check is told of warnings too; with the other commands they would be noise, or broken lines in a
 * log. */
static struct gw_config *command_load(const char *file, bool warn)
{
    struct gw_config *config;
    struct gw_buf problems;
    gw_buf_init(&problems);
    enum gw_err err = gw_config_load(file, &config, &problems);
    if (problems.len && (warn || err != GW_OK))
        fputs(problems.data, stderr);
    gw_buf_fini(&problems);
    return err == GW_OK ? config : NULL;
}

static int command_check(const char *file)
{
    struct gw_config *config = command_load(file, true);
    if (!config)
        return 2;
    /* Keys are read as well, so that a start can't fail where this did not. */
    struct gw_auth *auth;
    struct gw_buf problem;
    gw_buf_init(&problem);
    enum gw_err err = gw_auth_create(config, NULL, &auth, &problem);
    if (err != GW_OK)
        fprintf(stderr, "%s: %s\n", file, problem.data);
    gw_buf_fini(&problem);
    gw_auth_unref(auth);
    if (err != GW_OK) {
        gw_config_unref(config);
        return 2;
    }
    printf("%s: OK, %zu route%s\n", file, config->route_count, config->route_count == 1 ? "" : "s");
    gw_config_unref(config);
    return 0;
}

static int command_explain(const char *file, const char *topic, const char *channel, const char *token)
{
    struct gw_config *config = command_load(file, false);
    if (!config)
        return 2;
    struct gw_routes *routes = gw_routes_build(config);
    struct gw_buf text, problem;
    gw_buf_init(&text);
    gw_buf_init(&problem);
    int status = 0;
    if (topic)
        gw_routes_explain_topic(routes, topic, &text);
    if (channel)
        gw_routes_explain_channel(routes, channel, &text);
    if (token)
        status = gw_verdict(config, routes, token, topic, channel, &text, &problem);
    if (text.len)
        fputs(text.data, stdout);
    if (problem.len)
        fprintf(stderr, "sluice: %s: %s\n", file, problem.data);
    gw_buf_fini(&text);
    gw_buf_fini(&problem);
    gw_routes_unref(routes);
    gw_config_unref(config);
    return status;
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

static int command_healthcheck(const char *file)
{
    struct gw_config *config = command_load(file, false);
    if (!config)
        return 2;
    int status = gw_healthcheck(config);
    gw_config_unref(config);
    return status;
}

/* A file with mistakes is refused here, where the caller sees them, and not only in the gateway's log. */
static int command_reload(const char *file)
{
    struct gw_config *config = command_load(file, true);
    if (!config)
        return 2;
    gw_config_unref(config);
    return gw_reload(file);
}

/* The key goes to whoever will use it, the hash into the configuration. */
static int command_apikey(void)
{
    char key[48], hash[72];
    gw_auth_make_key(key, hash);
    printf("key:  %s\nhash: %s\n", key, hash);
    return 0;
}

struct arguments {
    const char *file, *topic, *channel, *token;
};

/* Options behind the command; returns 0, or the exit status after a complaint. */
static int command_options(int argc, char **argv, int from, bool explain, struct arguments *out)
{
    for (int i = from; i < argc; i++) {
        const char **value = NULL;
        if (!strcmp(argv[i], "-c"))
            value = &out->file;
        else if (explain && !strcmp(argv[i], "--topic"))
            value = &out->topic;
        else if (explain && !strcmp(argv[i], "--channel"))
            value = &out->channel;
        else if (explain && !strcmp(argv[i], "--as"))
            value = &out->token;
        if (!value)
            return command_usage("unexpected argument", argv[i]);
        if (i + 1 == argc)
            return command_usage("a value is expected after", argv[i]);
        *value = argv[++i];
    }
    return 0;
}

int gw_command(int argc, char **argv, int (*run)(struct gw_config *config))
{
    struct arguments arguments = {.file = GW_DEFAULT_FILE};
    const char *command = argc > 1 ? argv[1] : "";
    if (!strcmp(command, "--version")) {
        puts("sluice " SLUICE_VERSION);
        return 0;
    }
    if (!strcmp(command, "--help") || !strcmp(command, "-h")) {
        fputs(command_help, stdout);
        return 0;
    }
    if (!strcmp(command, "apikey")) {
        if (argc != 2)
            return command_usage("unexpected argument", argv[2]);
        return command_apikey();
    }
    if (!strcmp(command, "check")) {
        if (argc != 3)
            return command_usage("one file is expected after check", NULL);
        return command_check(argv[2]);
    }
    if (!strcmp(command, "schema")) {
        if (argc != 2)
            return command_usage("nothing is expected after schema", NULL);
        return command_describe(gw_config_schema);
    }
    if (!strcmp(command, "reference")) {
        bool man = argc == 3 && !strcmp(argv[2], "--man");
        if (argc != 2 && !man)
            return command_usage("only --man can stand after reference", NULL);
        return command_describe(man ? gw_config_man : gw_config_reference);
    }
    if (!strcmp(command, "explain")) {
        int status = command_options(argc, argv, 2, true, &arguments);
        if (status)
            return status;
        if (!arguments.topic && !arguments.channel && !arguments.token)
            return command_usage("--topic T, --channel C or --as TOKEN is expected after explain", NULL);
        return command_explain(arguments.file, arguments.topic, arguments.channel, arguments.token);
    }
    bool health = !strcmp(command, "healthcheck"), reload = !strcmp(command, "reload");
    int status = command_options(argc, argv, health || reload ? 2 : 1, false, &arguments);
    if (status)
        return status;
    if (reload)
        return command_reload(arguments.file);
    if (health)
        return command_healthcheck(arguments.file);
    struct gw_config *config = command_load(arguments.file, false);
    if (!config)
        return 2;
    status = run(config);
    gw_config_unref(config);
    return status;
}
