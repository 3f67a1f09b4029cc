/* app.c: the one file that knows everybody: what is made from what, and the order of starting and stopping.
 *
 *   start  workers bind (so that a port in use is an error at once), then privileges are given up, then keys are read
 * and the store is opened, then the MQTT side is made, then the hubs, which get what the store has, then the workers'
 *          threads, then the MQTT thread
 *   stop   workers finish what their clients are owed, acknowledgements of publishes included, while the MQTT side
 *          still runs; then the MQTT side says goodbye to the broker; what it took in meanwhile still goes into the
 * first hub and the store; then everything is taken apart */
#include "app/app.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/sandbox.h"
#include "base/notify.h"
#include "config/access.h"
#include "config/options.h"
#include "gateway/alloc.h"
#include "gateway/auth.h"
#include "gateway/clock.h"
#include "gateway/engine.h"
#include "gateway/log.h"
#include "http/conn.h"
#include "hub/inbox.h"
#include "mqtt/source.h"
#include "net/server.h"
#include "route/routes.h"
#include "websocket/deflate.h"
#include "websocket/wsconn.h"

static const struct gw_service app_service = {
    .accept = gw_conn_accept,
    .refusal = gw_conn_refusal,
    .configure = gw_ws_configure,
    .leave = gw_ws_leave,
};

struct app {
    struct gw_config *config; /* borrowed until a reload, see owned */
    struct gw_config *first;  /* borrowed; of the start, with the options of the engine */
    const struct gw_engine *engine;
    struct gw_engine_store *store;
    struct gw_engine_found found;
    struct gw_app_metrics metrics;
    struct gw_config *owned;
    struct gw_auth *auth; /* NULL: the configuration has no auth: */
    struct gw_server server;
    struct gw_source *source;
    struct gw_source *publisher; /* with an engine that shares its sequence; else NULL, and `source` does both */
    struct gw_inbox **inboxes;
    int status;              /* of the process, if it can't start */
    struct gw_notify notify; /* the service manager */
};

static unsigned app_workers(const struct gw_config *config)
{
    if (config->workers)
        return config->workers;
    /* The MQTT thread decodes and encodes every message; it gets a core of its own (docs/benchmarks). */
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores > 2 ? (unsigned)(cores - 1 < 64 ? cores - 1 : 64) : 1;
}

static void app_log_setup(const struct gw_config *config)
{
    gw_log_setup((enum gw_log_level)config->log_level, (enum gw_log_format)config->log_format);
}

static bool app_listen_changed(const struct gw_config *a, const struct gw_config *b)
{
    bool changed =
        a->listen_count != b->listen_count || a->workers != b->workers || a->limits.inbox != b->limits.inbox;
    for (size_t i = 0; i < a->listen_count && !changed; i++)
        changed = strcmp(a->listen[i].address, b->listen[i].address) != 0 ||
                  !a->listen[i].cert_pem != !b->listen[i].cert_pem ||
                  a->listen[i].proxy_protocol != b->listen[i].proxy_protocol ||
                  strcmp(a->listen[i].protocol, b->listen[i].protocol) != 0 ||
                  strcmp(a->listen[i].mode, b->listen[i].mode) != 0;
    return changed;
}

/* The options of the engine are those of the start. */
static bool app_engine_changed(const struct app *app, const struct gw_config *config)
{
    const struct gw_options *options = app->engine->options;
    return gw_config_engine(config) != app->engine || (options && !gw_options_equal(options, app->first, config));
}

static void app_reload(struct app *app)
{
    gw_notify_reloading(&app->notify);
    struct gw_config *config;
    struct gw_buf problems = {0};
    enum gw_err err = gw_config_load(app->config->file, &config, &problems);
    if (err != GW_OK) {
        gw_log(GW_LOG_ERROR, "config", "reload failed, nothing changes:");
        for (char *line = problems.data, *end; line && (end = strchr(line, '\n')); line = end + 1)
            gw_log(GW_LOG_ERROR, "config", "%.*s", (int)(end - line), line);
        gw_buf_fini(&problems);
        gw_notify_ready(&app->notify, "running with the old configuration: the new one has errors, see the log");
        return;
    }
    gw_buf_fini(&problems);
    struct gw_auth *auth;
    problems = (struct gw_buf){0};
    if (gw_auth_create(config, app->auth, &auth, &problems) != GW_OK || !gw_auth_start(auth, &problems)) {
        gw_auth_unref(auth);
        gw_log(GW_LOG_ERROR, "config", "reload failed, nothing changes: %s", problems.data);
        gw_notify_ready(&app->notify, "running with the old configuration: the new one has errors, see the log");
        gw_buf_fini(&problems);
        gw_config_unref(config);
        return;
    }
    gw_buf_fini(&problems);
    if (app_listen_changed(app->config, config))
        gw_log(GW_LOG_WARN, "config", "listen, workers and limits.inbox take effect at the next start only");
    if (app_engine_changed(app, config))
        gw_log(GW_LOG_WARN, "config", "another engine, or other options of it, take effect at the next start only%s",
               app->engine->keep ? "" : "; until then store: disk is like memory");
    struct gw_routes *routes = gw_routes_build(config);
    gw_source_reload(app->source, config, routes, auth);
    if (app->publisher)
        gw_source_reload(app->publisher, config, routes, auth);
    gw_routes_unref(routes);
    gw_auth_unref(app->auth);
    app->auth = auth;
    if (app->engine->shared)
        app->engine->shared->configure(app->store, gw_config_digest(config));
    app_log_setup(config);
    gw_config_unref(app->owned);
    app->config = app->owned = config;
    gw_log(GW_LOG_INFO, "config", "reloaded %s, %zu route(s)", config->file, config->route_count);
    gw_notify_ready(&app->notify, "running");
}

/* Chooses the engine and fills app->found. */
static bool app_open_engine(struct app *app)
{
    app->engine = gw_config_engine(app->first);
    const void *options = gw_options_of(app->first, app->engine->options);
    struct gw_buf error = {0};
    bool good = app->engine->open(options, &app->found, &app->store, &error) == GW_OK;
    if (!good)
        gw_log(GW_LOG_ERROR, "history", "%s", error.data);
    gw_buf_fini(&error);
    return good;
}

static void app_found(void *context, const struct gw_message *last, enum gw_state told)
{
    gw_source_found(context, last, told);
}

/* Everything is made, nothing runs yet. */
static bool app_restore(struct app *app)
{
    struct gw_restored restored;
    struct gw_buf error = {0};
    struct gw_hub **hubs = gw_calloc(app->server.worker_count, sizeof *hubs);
    for (unsigned i = 0; i < app->server.worker_count; i++)
        hubs[i] = app->server.workers[i].hub;
    const struct gw_engine_sink sink = gw_source_sink(app->source);
    bool good = gw_hubs_restore(hubs, app->server.worker_count, app->engine, app->store, &app->found, &restored,
                                &error) == GW_OK;
    if (good && app->engine->shared)
        app->engine->shared->configure(app->store, gw_config_digest(app->config));
    if (good) /* where others were there meanwhile, what was not told of is live */
        gw_hub_tell_found(hubs[0], app->engine->shared ? GW_STATE_LIVE : GW_STATE_NONE);
    good = good && app->engine->start(app->store, &sink, &error) == GW_OK;
    free(hubs);
    if (!good)
        gw_log(GW_LOG_ERROR, "history", "%s", error.data);
    else if (app->engine->keep)
        gw_log(GW_LOG_INFO, "history", "%s: %llu channel(s), %llu message(s)%s", app->engine->name,
               (unsigned long long)restored.channels, (unsigned long long)restored.messages,
               app->found.clean
                   ? ""
                   : "; the last process was not stopped in order, so clients that resume are told of a gap");
    gw_buf_fini(&error);
    app->server.linger = good && app->engine->keep;
    return good;
}

/* After the MQTT side has stopped. */
static void app_close_engine(struct app *app, bool in_order)
{
    if (!app->store)
        return;
    uint64_t forgotten = 0;
    if (in_order && app->engine->keep) {
        struct gw_hub *hub = app->server.workers[0].hub;
        struct gw_event *events;
        size_t count;
        gw_hub_leave(hub);
        gw_hub_tick(hub, gw_monotonic_ms(), gw_wall_ms());
        gw_inbox_take(app->server.workers[0].inbox, &events, &count);
        for (size_t i = 0; i < count; i++)
            gw_hub_handle(hub, &events[i]);
        forgotten = gw_hub_keep_rest(hub);
    }
    app->engine->close(app->store, in_order, forgotten);
    app->store = NULL;
}

static bool app_init(struct app *app)
{
    unsigned workers = app_workers(app->config);
    struct gw_buf error = {0};
    if (gw_server_init(&app->server, &app_service, app->config, workers, &error) != GW_OK) {
        gw_log(GW_LOG_ERROR, "web", "%s", error.data);
        gw_buf_fini(&error);
        return false;
    }
    /* Ports below 1024 are bound and certificates are read; keys are read as they will be at a reload. */
    if (!gw_sandbox_enter(app->config)) {
        gw_buf_fini(&error);
        return false;
    }
    if (gw_auth_create(app->config, NULL, &app->auth, &error) != GW_OK || !gw_auth_start(app->auth, &error)) {
        gw_log(GW_LOG_ERROR, "config", "%s: %s", app->config->file, error.data);
        gw_buf_fini(&error);
        app->status = 2;
        return false;
    }
    gw_buf_fini(&error);
    app->inboxes = gw_calloc(workers, sizeof *app->inboxes);
    for (unsigned i = 0; i < workers; i++)
        app->inboxes[i] = app->server.workers[i].inbox;

    if (!app_open_engine(app))
        return false;
    struct gw_routes *routes = gw_routes_build(app->config);
    bool shared = app->engine->shared != NULL;
    app->source = gw_source_create(shared ? GW_SOURCE_INGEST : GW_SOURCE_WHOLE, app->config, routes, app->engine,
                                   app->store, app->inboxes, workers);
    if (shared)
        app->publisher =
            gw_source_create(GW_SOURCE_PUBLISH, app->config, routes, app->engine, app->store, app->inboxes, workers);
    struct gw_hub_setup setup = {
        .epoch = app->found.epoch,
        .config = app->config,
        .routes = routes,
        .auth = app->auth,
        .watch = {app->source, app_found},
        .upstream = gw_source_upstream(app->publisher ? app->publisher : app->source),
        .route_stats = gw_source_routes(app->source),
        .sharing = app->engine->shared,
        .sharing_store = app->store,
    };
    gw_server_prepare(&app->server, &setup);
    app->metrics = (struct gw_app_metrics){app->source, app->publisher, app->engine, app->store};
    app->server.metrics = gw_app_metrics_write;
    app->server.ready = gw_app_ready_write;
    app->server.metrics_context = &app->metrics;
    gw_routes_unref(routes);
    return app_restore(app);
}

/* The dashboard at the first listener that a browser can reach; nothing where there is none. */
static void app_dashboard(const struct app *app, struct gw_buf *out)
{
    for (size_t i = 0; i < app->config->listen_count; i++) {
        const struct gw_cfg_listen *listen_cfg = &app->config->listen[i];
        const char *host = listen_cfg->host, *base = app->config->web.base_path;
        if (!host || listen_cfg->proxy_protocol || strcmp(listen_cfg->protocol, "http") != 0)
            continue;
        bool v6 = strchr(host, ':') != NULL;
        if (!strcmp(host, "0.0.0.0") || !strcmp(host, "::")) {
            host = "localhost";
            v6 = false;
        }
        gw_buf_printf(out, ", dashboard %s://%s%s%s:%u%s/", listen_cfg->cert_pem ? "https" : "http", v6 ? "[" : "",
                      host, v6 ? "]" : "", (unsigned)app->server.ports[i], base ? base : "");
        return;
    }
}

static void app_announce(const struct app *app)
{
    struct gw_buf dashboard = {0};
    app_dashboard(app, &dashboard);
    gw_log(GW_LOG_INFO, "app", "sluice " SLUICE_VERSION ", %zu route%s%s", app->config->route_count,
           app->config->route_count == 1 ? "" : "s", dashboard.len ? dashboard.data : "");
    gw_buf_fini(&dashboard);
    for (size_t i = 0; i < app->config->listen_count; i++) {
        const struct gw_cfg_listen *listen_cfg = &app->config->listen[i];
        const char *host = listen_cfg->host, *extra = listen_cfg->cert_pem ? ", TLS" : "";
        bool v6 = host && strchr(host, ':') != NULL;
        if (listen_cfg->path)
            gw_log(GW_LOG_INFO, "web", "listening on %s, %u worker(s)%s", listen_cfg->address,
                   app->server.worker_count, extra);
        else
            gw_log(GW_LOG_INFO, "web", "listening on %s%s%s:%u, %u worker(s)%s", v6 ? "[" : "", host, v6 ? "]" : "",
                   (unsigned)app->server.ports[i], app->server.worker_count, extra);
    }
    const struct gw_cfg_listen *open = gw_access_open_to_all(app->config);
    if (open)
        gw_log(
            GW_LOG_WARN, "web",
            "%s is open to everybody who reaches this machine: there is no auth:, so they may read and publish what "
            "the routes allow. Add auth:, or listen on an address such as 127.0.0.1:8080",
            open->address);
}

int gw_app_run(struct gw_config *config)
{
    struct app app = {.config = config, .first = config, .status = 1};
    app_log_setup(config);

    /* Every thread inherits this: signals are for sigwait() below and nowhere else. */
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a limit on files is an error of the write that meets it */
    gw_notify_init(&app.notify);

    bool good = app_init(&app);
    if (good && (gw_server_start(&app.server) != GW_OK || gw_source_start(app.source) != GW_OK ||
                 (app.publisher && gw_source_start(app.publisher) != GW_OK))) {
        gw_log(GW_LOG_ERROR, "app", "can't start a thread");
        good = false;
    }
    if (good) {
        app_announce(&app);
        gw_notify_ready(&app.notify, "running");
        int signal_number = 0;
        while (!sigwait(&signals, &signal_number) && signal_number == SIGHUP)
            app_reload(&app);
        gw_log(GW_LOG_INFO, "app", "stopping");
        gw_notify_stopping(&app.notify);
    }
    gw_server_stop(&app.server);
    if (app.source)
        gw_source_stop(app.source);
    if (app.publisher)
        gw_source_stop(app.publisher);
    app_close_engine(&app, good);
    gw_source_destroy(app.source);
    gw_source_destroy(app.publisher);
    gw_server_fini(&app.server);
    gw_deflate_end();
    free(app.inboxes);
    gw_auth_unref(app.auth);
    gw_config_unref(app.owned);
    gw_notify_fini(&app.notify);
    if (good)
        gw_log(GW_LOG_INFO, "app", "stopped");
    return good ? 0 : app.status;
}
