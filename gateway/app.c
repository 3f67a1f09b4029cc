/* app.c: the one file that knows everybody: what is made from what, and the order of starting and stopping.
 *
 *   start  workers bind (so that a port in use is an error at once), then the MQTT side is made, then the hubs, then the
 *          workers' threads, then the MQTT thread
 *   stop   workers finish what their clients are owed, acknowledgements of publishes included, while the MQTT side
 *          still runs; then the MQTT side says goodbye to the broker; then everything is taken apart */
#include "app.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/cursor.h"
#include "core/log.h"
#include "mqtt/routes.h"
#include "mqtt/source.h"
#include "web/server.h"

struct app {
    struct gw_config *config; /* borrowed until a reload, see owned */
    struct gw_config *owned;
    struct gw_server server;
    struct gw_source *source;
    struct gw_inbox **inboxes;
};

static unsigned app_workers(const struct gw_config *config)
{
    if (config->workers)
        return config->workers;
    /* The MQTT thread decodes and encodes every message; it gets a core of its own (docs/benchmarks). */
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores > 2 ? (unsigned)(cores - 1 < 64 ? cores - 1 : 64) : 1;
}

static void app_log_level(const struct gw_config *config)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    gw_log_set_level(names[config->log_level]);
}

static void app_metrics(void *context, struct gw_buf *out)
{
    const struct gw_source_stats stats = gw_source_stats(context);
    const struct {
        const char *name, *help;
        uint64_t value;
    } rows[] = {
        {"sluice_mqtt_received_total", "PUBLISH packets from the broker.", stats.received},
        {"sluice_mqtt_messages_total", "Messages made from them.", stats.messages},
        {"sluice_mqtt_doubles_total", "Copies: by overlapping subscriptions, or sent again after a reconnect.", stats.doubles},
        {"sluice_mqtt_codec_dropped_total", "Payloads that the route's codec refused.", stats.codec_dropped},
        {"sluice_mqtt_too_large_total", "Payloads above broker.max_packet.", stats.too_large},
        {"sluice_mqtt_unrouted_total", "Messages that no route wanted.", stats.unrouted},
        {"sluice_mqtt_published_total", "Publishes acknowledged, or sent at QoS 0.", stats.published},
        {"sluice_mqtt_rejected_total", "Publishes that failed at the broker.", stats.rejected},
        {"sluice_mqtt_responses_unknown_total", "Messages on the response topic that answer no request.", stats.responses_unknown},
        {"sluice_mqtt_connects_total", "Connections made to the broker.", stats.connects},
        {"sluice_mqtt_disconnects_total", "Connections to the broker lost.", stats.disconnects},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        gw_buf_printf(out, "# HELP %s %s\n# TYPE %s counter\n%s %llu\n", rows[i].name, rows[i].help, rows[i].name,
                      rows[i].name, (unsigned long long)rows[i].value);
}

static bool app_listen_changed(const struct gw_config *a, const struct gw_config *b)
{
    bool changed = a->listen_count != b->listen_count || a->workers != b->workers || a->limits.inbox != b->limits.inbox;
    for (size_t i = 0; i < a->listen_count && !changed; i++)
        changed = a->listen[i].port != b->listen[i].port || strcmp(a->listen[i].host, b->listen[i].host) != 0;
    return changed;
}

static void app_reload(struct app *app)
{
    struct gw_config *config;
    struct gw_buf problems;
    gw_buf_init(&problems);
    enum gw_err err = gw_config_load(app->config->file, &config, &problems);
    if (err != GW_OK) {
        gw_log(GW_LOG_ERROR, "config", "reload failed, nothing changes:");
        for (char *line = problems.data, *end; line && (end = strchr(line, '\n')); line = end + 1)
            gw_log(GW_LOG_ERROR, "config", "%.*s", (int)(end - line), line);
        gw_buf_fini(&problems);
        return;
    }
    gw_buf_fini(&problems);
    if (app_listen_changed(app->config, config))
        gw_log(GW_LOG_WARN, "config", "listen, workers and limits.inbox take effect at the next start only");
    struct gw_routes *routes = gw_routes_build(config);
    gw_source_reload(app->source, config, routes);
    gw_routes_unref(routes);
    app_log_level(config);
    gw_config_unref(app->owned);
    app->config = app->owned = config;
    gw_log(GW_LOG_INFO, "config", "reloaded %s, %zu route(s)", config->file, config->route_count);
}

static bool app_init(struct app *app)
{
    unsigned workers = app_workers(app->config);
    struct gw_buf error;
    gw_buf_init(&error);
    if (gw_server_init(&app->server, app->config, workers, &error) != GW_OK) {
        gw_log(GW_LOG_ERROR, "web", "%s", error.data);
        gw_buf_fini(&error);
        return false;
    }
    gw_buf_fini(&error);
    app->inboxes = gw_calloc(workers, sizeof *app->inboxes);
    for (unsigned i = 0; i < workers; i++)
        app->inboxes[i] = app->server.workers[i].inbox;

    static char epoch[GW_EPOCH_MAX + 1]; /* the MQTT thread reads it until the very end */
    gw_epoch_make(epoch);
    struct gw_routes *routes = gw_routes_build(app->config);
    app->source = gw_source_create(app->config, routes, epoch, app->inboxes, workers);
    struct gw_hub_setup setup = {
        .epoch = epoch,
        .config = app->config,
        .routes = routes,
        .upstream = gw_source_upstream(app->source),
    };
    gw_server_prepare(&app->server, &setup);
    app->server.metrics = app_metrics;
    app->server.metrics_context = app->source;
    gw_routes_unref(routes);
    return true;
}

static void app_announce(const struct app *app)
{
    for (size_t i = 0; i < app->config->listen_count; i++) {
        const char *host = app->config->listen[i].host;
        bool v6 = strchr(host, ':') != NULL;
        gw_log(GW_LOG_INFO, "web", "listening on %s%s%s:%u, %u worker(s)", v6 ? "[" : "", host, v6 ? "]" : "",
               (unsigned)app->server.ports[i], app->server.worker_count);
    }
}

int gw_app_run(struct gw_config *config)
{
    struct app app = {.config = config};
    app_log_level(config);

    /* Every thread inherits this: signals are for sigwait() below and nowhere else. */
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);

    bool good = app_init(&app);
    if (good && (gw_server_start(&app.server) != GW_OK || gw_source_start(app.source) != GW_OK)) {
        gw_log(GW_LOG_ERROR, "app", "can't start a thread");
        good = false;
    }
    if (good) {
        app_announce(&app);
        int signal_number = 0;
        while (!sigwait(&signals, &signal_number) && signal_number == SIGHUP)
            app_reload(&app);
        gw_log(GW_LOG_INFO, "app", "stopping");
    }
    gw_server_stop(&app.server);
    if (app.source && !gw_source_stop(app.source)) {
        gw_log(GW_LOG_WARN, "app", "stopped while the broker's name was looked up");
        _exit(good ? 0 : 1); /* everything clients were owed is done; the rest is the kernel's to take apart */
    }
    gw_source_destroy(app.source);
    gw_server_fini(&app.server);
    free(app.inboxes);
    gw_config_unref(app.owned);
    if (good)
        gw_log(GW_LOG_INFO, "app", "stopped");
    return good ? 0 : 1;
}
