/* doctor.c: `sluice doctor`: what would keep a gateway with this configuration from working, and what to do. */
#include <errno.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/cli.h"
#include "app/http_client.h"
#include "config/access.h"
#include "gateway/alloc.h"
#include "gateway/auth.h"
#include "mqtt/survey.h"
#include "net/listener.h"

#define RUNS_MS 3000

struct doctor {
    struct gw_config *config;
    unsigned failed;
};

enum finding { FINE, WARNING, FAILURE };

static void doctor_say(struct doctor *doctor, enum finding finding, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void doctor_say(struct doctor *doctor, enum finding finding, const char *format, ...)
{
    static const char *const words[] = {"ok", "warning", "FAILURE"};
    va_list args;
    printf("%-8s ", words[finding]);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout); /* the next check may take seconds */
    doctor->failed += finding == FAILURE;
}

static void doctor_keys(struct doctor *doctor)
{
    struct gw_auth *auth;
    struct gw_buf problem = {0};
    if (gw_auth_create(doctor->config, NULL, &auth, &problem) != GW_OK)
        doctor_say(doctor, FAILURE, "keys: %s", problem.data);
    else if (auth)
        doctor_say(doctor, FINE, "keys: those in auth: can be read");
    gw_auth_unref(auth);
    gw_buf_fini(&problem);
}

static bool doctor_loopback(const char *host)
{
    return !strcmp(host, "localhost") || !strncmp(host, "127.", 4) || !strcmp(host, "::1");
}

static void doctor_broker(struct doctor *doctor)
{
    const struct gw_cfg_broker *broker = &doctor->config->broker;
    struct gw_buf problem = {0};
    if (!gw_survey(broker, NULL, 0, NULL, NULL, &problem))
        doctor_say(doctor, FAILURE, "broker: %s (mend broker: in %s, or what the broker expects)", problem.data,
                   doctor->config->file);
    else
        doctor_say(doctor, FINE, "broker: %s takes %s%s%s", broker->url, broker->username ? "the user " : "us",
                   broker->username ? broker->username : "", broker->tls_enabled ? ", its certificate is good" : "");
    if (broker->username && !broker->tls_enabled && !doctor_loopback(broker->host))
        doctor_say(doctor, WARNING, "broker: the password goes through the network in the clear: use mqtts://");
    gw_buf_fini(&problem);
}

/* Does the gateway that runs answer well there? */
static bool doctor_asks(const struct gw_config *config, const char *path, const char *expected)
{
    const struct gw_http_where where = {.config = config, .patience_ms = RUNS_MS};
    struct gw_buf answer = {0}, problem = {0};
    struct gw_http_client *client = gw_http_client_create(&where, &problem);
    bool good = client && gw_http_client_ask(client, path, NULL, NULL, NULL, &answer, &problem) == GW_HTTP_GOOD &&
                answer.data && strstr(answer.data, expected);
    gw_http_client_free(client);
    gw_buf_fini(&answer);
    gw_buf_fini(&problem);
    return good;
}

static void doctor_running_broker(struct doctor *doctor)
{
    if (doctor_asks(doctor->config, "/readyz", "\"ready\""))
        doctor_say(doctor, FINE, "broker: the gateway that runs is connected to it");
    else
        doctor_say(doctor, FAILURE, "broker: the gateway that runs is not connected to it (its log says why)");
}

static void doctor_listener(struct doctor *doctor, const struct gw_cfg_listen *listen_cfg, bool runs)
{
    if (listen_cfg->path) { /* binding would replace the file */
        char *copy = gw_strdup(listen_cfg->path);
        const char *folder = dirname(copy);
        if (access(folder, W_OK | X_OK))
            doctor_say(doctor, FAILURE, "listen: %s: %s: %s (make the folder, writable for the gateway's user)",
                       listen_cfg->address, folder, strerror(errno));
        else
            doctor_say(doctor, FINE, "listen: %s can be made", listen_cfg->address);
        free(copy);
        return;
    }
    struct gw_buf error = {0};
    int fd = gw_listener_bind(listen_cfg, listen_cfg->port, true, &error);
    if (fd >= 0) {
        doctor_say(doctor, FINE, "listen: %s is free", listen_cfg->address);
        close(fd);
    } else if (runs) {
        doctor_say(doctor, FINE, "listen: %s: a gateway runs there", listen_cfg->address);
    } else {
        doctor_say(doctor, FAILURE, "listen: %s (end what has it, see `ss -ltnp`, or take another address)",
                   error.data);
    }
    gw_buf_fini(&error);
}

static void doctor_web(struct doctor *doctor)
{
    const struct gw_config *config = doctor->config;
    const struct gw_cfg_listen *open = gw_access_open_to_all(config);
    if (open)
        doctor_say(doctor, WARNING,
                   "access: %s is open to everybody who reaches this machine: add auth:, or listen on 127.0.0.1:%u",
                   open->address, (unsigned)open->port);
    bool any = false;
    for (size_t i = 0; i < config->web.origins.count; i++)
        any = any || !strcmp(config->web.origins.items[i], "*");
    if (any)
        doctor_say(doctor, WARNING, "origins: every web page may use the gateway: list those that should");
    else if (config->web.origins.count)
        doctor_say(doctor, FINE, "origins: the gateway's own pages, and %zu in web.origins",
                   config->web.origins.count);
    else
        doctor_say(doctor, FINE, "origins: the gateway's own pages only; list the origins of others in web.origins");
}

/* A secret that every user of the machine can read. */
static void doctor_secret(struct doctor *doctor, const char *key, const char *path)
{
    struct stat found;
    if (!path)
        return;
    if (stat(path, &found))
        doctor_say(doctor, FAILURE, "files: %s: %s: %s", key, path, strerror(errno));
    else if (found.st_mode & S_IROTH)
        doctor_say(doctor, WARNING, "files: %s: everybody on this machine can read it: chmod o-rwx %s", key, path);
    else
        doctor_say(doctor, FINE, "files: %s: %s is not for everybody", key, path);
}

int gw_cli_doctor(const struct gw_cli *cli)
{
    struct doctor doctor = {.config = gw_cli_load(cli->file, true)};
    struct gw_config *config = doctor.config;
    if (!config)
        return 2;
    doctor_say(&doctor, FINE, "configuration: %s, %zu route%s", config->file, config->route_count,
               config->route_count == 1 ? "" : "s");
    doctor_keys(&doctor);
    bool runs = doctor_asks(config, "/healthz", "\"ok\"");
    if (runs && !config->broker.client_id_made) /* a second client of this name would take its connection */
        doctor_running_broker(&doctor);
    else
        doctor_broker(&doctor);
    for (size_t i = 0; i < config->listen_count; i++)
        doctor_listener(&doctor, &config->listen[i], runs);
    doctor_web(&doctor);
    doctor_secret(&doctor, "broker.password_file", config->broker.password_file);
    doctor_secret(&doctor, "broker.tls.key_file", config->broker.tls.key_file);
    doctor_secret(&doctor, "auth.jwt.secret_file", config->auth.jwt.secret_file);
    for (size_t i = 0; i < config->listen_count; i++)
        doctor_secret(&doctor, "listen.tls.key_file", config->listen[i].key_file);
    gw_config_unref(config);
    return doctor.failed ? 1 : 0;
}
