/* server.c: the workers' threads and their event loops. */
#include "net/server.h"

#include <fcntl.h>
#include <libwebsockets.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/alarm.h"
#include "net/ring.h"
#include "net/sock.h"
#include "net/tls.h"
#include "websocket/deflate.h"

/* Slots made at the start in the table of descriptors: 1 MiB. */
#define DESCRIPTORS_AHEAD 131000

static void server_tick(struct gw_worker *worker)
{
    gw_hub_tick(worker->hub, gw_monotonic_ms(), gw_wall_ms());
}

/* The one callback of libwebsockets. Its opaque data is a struct gw_watch with files and a struct gw_conn (with TLS)
 * with sockets. Thread: the worker's. */
static int server_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    struct gw_conn *conn;
    struct gw_watch *watch;
    switch (reason) {
    case LWS_CALLBACK_RAW_RX:
        conn = lws_get_opaque_user_data(wsi);
        server_tick(conn->worker);
        gw_tls_on_input(conn);
        return gw_conn_on_input(conn, in, len) ? 0 : -1;
    case LWS_CALLBACK_RAW_WRITEABLE:
        conn = lws_get_opaque_user_data(wsi);
        return gw_conn_on_writable(conn) ? 0 : -1;
    case LWS_CALLBACK_RAW_CLOSE:
    case LWS_CALLBACK_WSI_DESTROY: /* and nothing else if the handshake did not succeed */
        conn = wsi ? lws_get_opaque_user_data(wsi) : NULL;
        if (conn && conn->tls) {
            lws_set_opaque_user_data(wsi, NULL);
            gw_conn_on_closed(conn);
        }
        return 0;
    case LWS_CALLBACK_RAW_RX_FILE:
        watch = lws_get_opaque_user_data(wsi);
        server_tick(watch->worker);
        watch->ready(watch);
        return 0;
    case LWS_CALLBACK_RAW_CLOSE_FILE:
        watch = lws_get_opaque_user_data(wsi);
        lws_set_opaque_user_data(wsi, NULL);
        if (watch) {
            watch->wsi = NULL;
            watch->fd = -1; /* libwebsockets closes it */
        }
        return 0;
    case LWS_CALLBACK_RAW_WRITEABLE_FILE: /* asked for only to stop listening */
        return -1;
    case LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS:
        gw_tls_on_context(in, user);
        return 0;
    default:
        return 0;
    }
}

static const struct lws_protocols server_protocols[] = {
    {.name = "sluice", .callback = server_callback, .rx_buffer_size = 0, .tx_packet_size = 256 * 1024},
    {.name = NULL},
};

const struct lws_protocols *const gw_server_protocols = server_protocols;

/* libwebsockets logs to us; what it calls an error is at most worth a warning here, since peers can cause it. */
static void server_lws_log(int level, const char *line)
{
    size_t len = strcspn(line, "\n");
    gw_log(level & LLL_ERR ? GW_LOG_WARN : GW_LOG_DEBUG, "lws", "%.*s", (int)len, line);
}

/* Something came while the worker rested. Thread: a producer's. */
static void server_wake(void *context)
{
    struct gw_worker *worker = context;
    lws_cancel_service(worker->context);
}

void gw_server_release_address(struct gw_worker *worker, const struct in6_addr *address)
{
    gw_admission_leave(worker->server->admission, address);
}

static bool worker_bind(struct gw_worker *worker, const struct gw_cfg_listen *listen_cfg, size_t i,
                        struct gw_buf *error)
{
    struct gw_listener *listener = &worker->listeners[i];
    struct gw_server *server = worker->server;
    listener->watch.worker = worker;
    listener->watch.ready = gw_listener_ready;
    listener->address = gw_strdup(listen_cfg->address);
    listener->proxy = listen_cfg->proxy_protocol;
    listener->is_unix = listen_cfg->path != NULL;
    if (listener->is_unix && worker->index > 0)
        listener->watch.fd = fcntl(server->workers[0].listeners[i].watch.fd, F_DUPFD_CLOEXEC, 0);
    else if (listener->is_unix)
        listener->watch.fd = gw_listener_bind_unix(listen_cfg, &server->unix_files[i], error);
    else
        listener->watch.fd = gw_listener_bind(listen_cfg, server->ports[i] ? server->ports[i] : listen_cfg->port,
                                              !server->ports[i], error);
    if (listener->watch.fd < 0)
        return false;
    if (!listener->is_unix)
        server->ports[i] = gw_listener_port(listener->watch.fd);
    if (listen_cfg->cert_pem)
        listener->tls = gw_tls_create(worker, listen_cfg, i, error);
    return !listen_cfg->cert_pem || listener->tls;
}

static enum gw_err worker_init(struct gw_worker *worker, struct gw_config *config, struct gw_buf *error)
{
    /* Neither heartbeats nor hang-ups by libwebsockets: raw connections have their own deadlines. */
    static const lws_retry_bo_t no_keepalive = {0};
    /* TLS handshakes, and the silence after them, would be cut after a few seconds: beyond any web.request_timeout.
     */
    static const unsigned timeout_s = 7200;
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .protocols = server_protocols,
        .pt_serv_buf_size = 64 * 1024,
        .retry_and_idle_policy = &no_keepalive,
        .timeout_secs = timeout_s,
        .vhost_name = "sluice",
        .gid = (gid_t)-1,
        .uid = (uid_t)-1,
    };
    for (size_t i = 0; i < config->listen_count; i++) {
        if (config->listen[i].cert_pem)
            gw_tls_prepare(worker->server, &info);
    }
    worker->context = lws_create_context(&info);
    if (worker->context)
        worker->vhost = lws_get_vhost_by_name(worker->context, "sluice");
    worker->sockets = (struct gw_watch){.worker = worker, .ready = gw_sock_ready, .fd = epoll_create1(EPOLL_CLOEXEC)};
    if (!worker->vhost || worker->sockets.fd < 0) {
        gw_buf_adds(error, "libwebsockets could not be set up");
        return GW_ERR_INTERNAL;
    }
    worker->inbox = gw_inbox_create(config->limits.inbox, server_wake, worker);
    worker->input = gw_malloc(GW_INPUT_BYTES);
    worker->batches = gw_batches_create();
    gw_timers_init(&worker->timers);
    worker->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    worker->listener_count = config->listen_count;
    worker->listeners = gw_calloc(config->listen_count, sizeof *worker->listeners);
    for (size_t i = 0; i < config->listen_count; i++)
        worker->listeners[i].watch.fd = -1;
    for (size_t i = 0; i < config->listen_count; i++) {
        if (!worker_bind(worker, &config->listen[i], i, error))
            return GW_ERR_INTERNAL;
    }
    return GW_OK;
}

/* As many as we may have; and the kernel's table for those that limits.connections lets us expect, now. It doubles
 * whenever it is full, and in a process with threads everybody who wants a descriptor then waits for a grace period
 * of RCU: some 15 ms in which a worker serves nobody. A slot takes 8 bytes. */
static void server_raise_descriptors(uint32_t connections)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return;
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    rlim_t highest = connections < DESCRIPTORS_AHEAD ? connections : DESCRIPTORS_AHEAD;
    if (limit.rlim_cur && highest >= limit.rlim_cur)
        highest = limit.rlim_cur - 1;
    int any = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int far = any >= 0 ? fcntl(any, F_DUPFD_CLOEXEC, (int)highest) : -1;
    if (far >= 0)
        close(far);
    if (any >= 0)
        close(any);
}

enum gw_err gw_server_init(struct gw_server *server, struct gw_config *config, unsigned workers, struct gw_buf *error)
{
    *server = (struct gw_server){.worker_count = workers, .started_wall_ms = gw_wall_ms()};
    server_raise_descriptors(config->limits.connections);
    lws_set_log_level(LLL_ERR | LLL_WARN, server_lws_log);
    server->admission = gw_admission_create();
    server->ports = gw_calloc(config->listen_count, sizeof *server->ports);
    server->unix_files = gw_calloc(config->listen_count, sizeof *server->unix_files);
    if (RAND_bytes(server->ticket_keys, sizeof server->ticket_keys) != 1) {
        gw_buf_adds(error, "OpenSSL has no random numbers");
        return GW_ERR_INTERNAL;
    }
    server->workers = gw_calloc(workers, sizeof *server->workers);
    for (unsigned i = 0; i < workers; i++) {
        server->workers[i].server = server;
        server->workers[i].index = i;
        server->workers[i].spare_fd = server->workers[i].sockets.fd = -1;
    }
    for (unsigned i = 0; i < workers; i++) {
        enum gw_err err = worker_init(&server->workers[i], config, error);
        if (err != GW_OK)
            return err;
    }
    return GW_OK;
}

void gw_server_prepare(struct gw_server *server, const struct gw_hub_setup *setup)
{
    for (unsigned i = 0; i < server->worker_count; i++) {
        struct gw_hub_setup own = *setup;
        own.worker = i;
        own.timers = &server->workers[i].timers;
        server->workers[i].hub = gw_hub_create(&own);
    }
}

/* --- the loop. Thread: the worker's, from here to worker_run(). ------------------------------------------------- */

static void worker_watch(struct gw_worker *worker, struct gw_watch *watch)
{
    lws_adopt_desc_t desc = {
        .vh = worker->vhost,
        .type = LWS_ADOPT_RAW_FILE_DESC,
        .fd = {.filefd = watch->fd},
        .vh_prot_name = "sluice",
        .opaque = watch,
    };
    watch->wsi = lws_adopt_descriptor_vhost_via_info(&desc);
}

static void worker_listen(struct gw_worker *worker)
{
    worker_watch(worker, &worker->sockets);
    for (size_t i = 0; i < worker->listener_count; i++)
        worker_watch(worker, &worker->listeners[i].watch);
}

/* Certificates that were renewed. Addresses stay as they were at the start. */
static void worker_renew_certificates(struct gw_worker *worker)
{
    const struct gw_config *config = gw_hub_config(worker->hub);
    for (size_t i = 0; i < worker->listener_count; i++) {
        const struct gw_listener *listener = &worker->listeners[i];
        for (size_t j = 0; j < config->listen_count && listener->tls; j++) {
            if (config->listen[j].cert_pem && !strcmp(config->listen[j].address, listener->address)) {
                gw_tls_renew(listener->tls, &config->listen[j]);
                break;
            }
        }
    }
}

static void worker_begin_stop(struct gw_worker *worker)
{
    worker->stopping = true;
    worker->stop_by_ms = gw_hub_now(worker->hub) + gw_hub_config(worker->hub)->web.shutdown_ms;
    for (size_t i = 0; i < worker->listener_count; i++) {
        if (worker->listeners[i].watch.wsi)
            lws_callback_on_writable(worker->listeners[i].watch.wsi);
    }
}

/* First the publishes that wait for the broker, as long as there is time; then every session is told to go. */
static bool worker_stopped(struct gw_worker *worker)
{
    int64_t now = gw_hub_now(worker->hub);
    bool late = now >= worker->stop_by_ms;
    if (!worker->closing && (late || !gw_hub_pending(worker->hub))) {
        worker->closing = true;
        worker->stop_by_ms = now + 1000;
        gw_hub_kick_all(worker->hub, GW_ERR_SHUTDOWN);
        for (struct gw_conn *conn = worker->conns, *next; conn; conn = next) {
            next = conn->next;
            gw_conn_go_away(conn);
        }
        return false;
    }
    return worker->closing && (late || !worker->conns);
}

static void worker_turn(struct gw_worker *worker)
{
    server_tick(worker);
    int64_t start_ns = gw_monotonic_ns();
    worker->joining = worker->ring != NULL;
    struct gw_event *events;
    size_t count;
    gw_inbox_take(worker->inbox, &events, &count);
    for (size_t i = 0; i < count; i++) {
        bool reload = events[i].type == GW_EVENT_RELOAD;
        if (events[i].type == GW_EVENT_STOP)
            worker_begin_stop(worker);
        else
            gw_hub_handle(worker->hub, &events[i]);
        if (reload) {
            worker_renew_certificates(worker);
            gw_deflate_configure(gw_hub_config(worker->hub));
        }
    }
    gw_timers_run(&worker->timers, gw_hub_now(worker->hub));
    gw_hub_flush(worker->hub);
    if (worker->ring)
        gw_ring_submit(worker->ring);
    worker->joining = false;
    gw_batches_forget(worker->batches);
    gw_sock_reap(worker);
    gw_stats_turn(gw_hub_stats(worker->hub), gw_monotonic_ns() - start_ns);
}

/* Sleeps until something happens; but while more comes from the broker, it only looks after the sockets once a
 * millisecond. */
static bool worker_serve(struct gw_worker *worker)
{
    bool rest = !gw_hub_busy(worker->hub) && gw_inbox_rest(worker->inbox);
    int64_t now = gw_monotonic_ms();
    if (!rest && now == worker->served_ms)
        return true;
    worker->served_ms = now;
    return lws_service(worker->context, rest ? 0 : -1) >= 0; /* -1: without waiting */
}

static void *worker_run(void *context)
{
    struct gw_worker *worker = context;
    struct gw_alarm alarm = {.context = worker->context};
    server_tick(worker);
    gw_deflate_configure(gw_hub_config(worker->hub));
    worker->ring = gw_ring_create(); /* here, because it belongs to this thread */
    worker_listen(worker);
    for (;;) {
        worker_turn(worker);
        if (worker->stopping && worker_stopped(worker))
            break;
        int64_t due = gw_timers_next(&worker->timers);
        if (worker->stopping && due > worker->stop_by_ms)
            due = worker->stop_by_ms;
        if (worker->stopping && due > gw_hub_now(worker->hub) + 50)
            due = gw_hub_now(worker->hub) + 50;
        gw_alarm_set(&alarm, due == INT64_MAX ? INT64_MAX : due - gw_monotonic_ms());
        if (!worker_serve(worker))
            break;
    }
    gw_alarm_set(&alarm, INT64_MAX);
    if (worker->server->linger && worker->index == 0)
        gw_inbox_linger(worker->inbox);
    else
        gw_inbox_close(worker->inbox);
    for (struct gw_conn *conn = worker->conns; conn; conn = conn->next)
        gw_conn_kill(conn);
    gw_sock_reap(worker);
    gw_ring_destroy(worker->ring);
    worker->ring = NULL;
    lws_context_destroy(worker->context); /* closes what is left, through the callback */
    worker->context = NULL;
    return NULL;
}

enum gw_err gw_server_start(struct gw_server *server)
{
    for (unsigned i = 0; i < server->worker_count; i++) {
        struct gw_worker *worker = &server->workers[i];
        if (pthread_create(&worker->thread, NULL, worker_run, worker))
            return GW_ERR_INTERNAL;
        worker->started = true;
    }
    return GW_OK;
}

void gw_server_stop(struct gw_server *server)
{
    struct gw_event stop = {.type = GW_EVENT_STOP};
    for (unsigned i = 0; i < server->worker_count; i++) {
        if (server->workers[i].started)
            gw_inbox_put(server->workers[i].inbox, &stop);
    }
    for (unsigned i = 0; i < server->worker_count; i++) {
        if (server->workers[i].started)
            pthread_join(server->workers[i].thread, NULL);
        server->workers[i].started = false;
    }
}

void gw_server_fini(struct gw_server *server)
{
    for (unsigned i = 0; i < server->worker_count; i++) {
        struct gw_worker *worker = &server->workers[i];
        if (worker->context)
            lws_context_destroy(worker->context);
        if (worker->sockets.fd >= 0)
            close(worker->sockets.fd);
        for (size_t j = 0; j < worker->listener_count; j++) {
            struct gw_listener *listener = &worker->listeners[j];
            if (listener->watch.fd >= 0)
                close(listener->watch.fd);
            if (!i && listener->is_unix)
                gw_listener_unlink(listener->address + 5, &server->unix_files[j]); /* without unix: */
            gw_tls_destroy(listener->tls);
            free(listener->address);
        }
        free(worker->input);
        gw_inflater_destroy(worker->inflater);
        free(worker->listeners);
        gw_hub_destroy(worker->hub);
        gw_inbox_destroy(worker->inbox);
        gw_timers_fini(&worker->timers);
        gw_batches_destroy(worker->batches);
        if (worker->spare_fd >= 0)
            close(worker->spare_fd);
    }
    free(server->workers);
    free(server->ports);
    free(server->unix_files);
    gw_deflate_end();
    gw_tls_fini(server);
    OPENSSL_cleanse(server->ticket_keys, sizeof server->ticket_keys);
    gw_admission_destroy(server->admission);
}
