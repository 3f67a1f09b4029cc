/* init.c: `sluice init`: listens to a broker for some seconds and writes a configuration for what it heard. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "app/cli.h"
#include "app/suggest.h"
#include "base/units.h"
#include "mqtt/survey.h"

#define LISTEN_MS     10000
#define LISTEN_MAX_MS 600000

/* `key: "value"`, where a JSON string is a YAML one. A $ would begin a variable of the environment. */
static void init_pair(struct gw_buf *out, const char *indent, const char *key, const char *value)
{
    gw_buf_printf(out, "%s%s: ", indent, key);
    gw_buf_add_json_string(out, value, strlen(value));
    gw_buf_addc(out, '\n');
}

/* Paths count from the working directory, which will be another one. */
static void init_path(struct gw_buf *out, const char *indent, const char *key, const char *path)
{
    char absolute[PATH_MAX];
    if (path)
        init_pair(out, indent, key, realpath(path, absolute) ? absolute : path);
}

static void init_broker(const struct gw_cli *cli, struct gw_buf *out)
{
    gw_buf_adds(out, "broker:\n");
    struct gw_buf url = {0};
    gw_buf_printf(&url, "%s%s", strstr(cli->broker, "://") ? "" : "mqtt://",
                  cli->broker); /* a bare HOST:PORT will do */
    init_pair(out, "  ", "url", url.data);
    gw_buf_fini(&url);
    if (cli->username)
        init_pair(out, "  ", "username", cli->username);
    init_path(out, "  ", "password_file", cli->password_file);
    if (cli->ca_file)
        gw_buf_adds(out, "  tls:\n");
    init_path(out, "    ", "ca_file", cli->ca_file);
}

/* Reads a configuration that is no file yet. What is wrong with it is said with `name` in place of a file. */
static struct gw_config *init_load(const struct gw_buf *text, const char *name)
{
    char path[32];
    struct gw_config *config = NULL;
    struct gw_buf problems = {0};
    int fd = memfd_create("sluice.yaml", MFD_CLOEXEC);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (fd < 0 || write(fd, text->data, text->len) != (ssize_t)text->len)
        fprintf(stderr, "sluice: %s\n", strerror(errno));
    else if (gw_config_load(path, &config, &problems) != GW_OK)
        for (char *line = strtok(problems.data, "\n"); line; line = strtok(NULL, "\n"))
            fprintf(stderr, "%s%s\n", name, strncmp(line, path, strlen(path)) ? line : line + strlen(path));
    gw_buf_fini(&problems);
    if (fd >= 0)
        close(fd);
    return config;
}

static bool init_write(const char *path, const struct gw_buf *text)
{
    /* It may name a user; what it must not do is to replace a file that is there. */
    int fd = path ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640) : STDOUT_FILENO;
    size_t done = 0;
    ssize_t put = fd < 0 ? -1 : 0;
    while (put >= 0 && done < text->len) {
        put = write(fd, text->data + done, text->len - done);
        done += put > 0 ? (size_t)put : 0;
    }
    if (put < 0)
        fprintf(stderr, "sluice: %s: %s%s\n", path ? path : "standard output", strerror(errno),
                errno == EEXIST ? " (--output never replaces a file)" : "");
    if (path && fd >= 0 && close(fd))
        put = -1;
    return put >= 0;
}

static int init_finish(const struct gw_cli *cli, struct gw_suggest *suggest, const struct gw_buf *broker)
{
    struct gw_buf text = {0};
    gw_buf_adds(&text, "# Written by `sluice init` from what the broker sent. The keys: sluice.yaml(5).\n"
                       "# A route becomes writable by: publish: {}\n");
    gw_buf_add(&text, broker->data, broker->len);
    gw_buf_adds(&text, "listen:\n  - address: 127.0.0.1:8080\nroutes:\n");
    gw_suggest_routes(suggest, &text);
    struct gw_config *config = init_load(&text, "init");
    bool good = config && init_write(cli->output, &text);
    if (good)
        fprintf(stderr, "sluice: %zu topics, %zu routes%s%s\n", gw_suggest_topics(suggest), config->route_count,
                cli->output ? "; try: sluice -c " : "", cli->output ? cli->output : "");
    gw_config_unref(config);
    gw_buf_fini(&text);
    return good ? 0 : 1;
}

int gw_cli_init(const struct gw_cli *cli)
{
    int64_t listen_ms = LISTEN_MS;
    if (!cli->broker)
        return gw_cli_usage(cli->command, "--broker URL is expected after init, such as --broker mqtt://localhost",
                            NULL);
    if (cli->listen && (!gw_parse_duration(cli->listen, &listen_ms) || listen_ms < 100 || listen_ms > LISTEN_MAX_MS))
        return gw_cli_usage(cli->command, "--for: a duration from 100ms to 10m is expected, not", cli->listen);
    if (cli->output && !access(cli->output, F_OK)) {
        fprintf(stderr, "sluice: %s exists, and --output never replaces a file\n", cli->output);
        return 2;
    }
    struct gw_buf broker = {0}, all = {0}, problem = {0};
    init_broker(cli, &broker);
    gw_buf_add(&all, broker.data, broker.len);
    gw_buf_adds(&all, "routes: [{ topic: '#' }]\n");
    struct gw_config *config = init_load(&all, "init");
    int status = config ? 1 : 2;
    if (config) {
        struct gw_suggest *suggest = gw_suggest_create();
        fprintf(stderr, "sluice: listening to %s for %lld s\n", config->broker.url,
                (long long)((listen_ms + 999) / 1000));
        if (!gw_survey(&config->broker, "#", listen_ms, gw_suggest_note, suggest, &problem))
            fprintf(stderr, "sluice: %s\n", problem.data);
        else if (!gw_suggest_topics(suggest))
            fputs("sluice: the broker has sent nothing: let a device publish meanwhile, listen longer with --for, or "
                  "use an account that may read\n",
                  stderr);
        else
            status = init_finish(cli, suggest, &broker);
        gw_suggest_free(suggest);
    }
    gw_config_unref(config);
    gw_buf_fini(&broker);
    gw_buf_fini(&all);
    gw_buf_fini(&problem);
    return status;
}
