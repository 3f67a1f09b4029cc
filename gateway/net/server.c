/* server.c: the workers' threads and their event loops. */
#include "net/server.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "gateway/alloc.h"
#include "gateway/clock.h"
#include "gateway/log.h"
#include "hub/inbox.h"
#include "net/listener.h"
#include "net/outbox.h"
#include "net/ring.h"
#include "net/tls.h"

/* Slots made at the start in the table of descriptors: 1 MiB. */
#define DESCRIPTORS_AHEAD 131000

void gw_worker_tick(struct gw_worker *worker)
{
    gw_hub_tick(worker->hub, gw_monotonic_ms(), gw_wall_ms());
}

/* Something came while the worker rested. Thread: a producer's. */
static void server_wake(void *context)
{
    struct gw_worker *worker = context;
    if (atomic_load(&worker->napping))
        sem_post(&worker->nap);
    else
        gw_loop_wake(worker->loop);
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
    listener->protocol = listen_cfg->protocol;
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
        listener->tls = gw_tls_create(worker, listen_cfg, error);
    return !listen_cfg->cert_pem || listener->tls;
}

static bool worker_make_set(struct gw_worker *worker, struct gw_watch *set, void (*ready)(struct gw_watch *))
{
    *set = (struct gw_watch){.worker = worker, .ready = ready, .fd = epoll_create1(EPOLL_CLOEXEC)};
    return set->fd >= 0;
}

static enum gw_err worker_init(struct gw_worker *worker, struct gw_config *config, struct gw_buf *error)
{
    worker->loop = gw_loop_create();
    if (!worker->loop || !worker_make_set(worker, &worker->sockets, gw_sock_ready) ||
        !worker_make_set(worker, &worker->arrivals, gw_sock_handshakes) ||
        !worker_make_set(worker, &worker->handshakes, gw_sock_handshakes)) {
        gw_buf_adds(error, "libwebsockets could not be set up");
        return GW_ERR_INTERNAL;
    }
    sem_init(&worker->nap, 0, 0);
    worker->tls_io = gw_tls_io_create();
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

enum gw_err gw_server_init(struct gw_server *server, const struct gw_service *service, struct gw_config *config,
                           unsigned workers, struct gw_buf *error)
{
    *server = (struct gw_server){.service = service, .worker_count = workers, .started_wall_ms = gw_wall_ms()};
    server_raise_descriptors(config->limits.connections);
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
        gw_mailbox_init(&server->workers[i].mailbox, server_wake, &server->workers[i]);
        server->workers[i].spare_fd = server->workers[i].sockets.fd = -1;
        server->workers[i].arrivals.fd = server->workers[i].handshakes.fd = -1;
    }
    for (unsigned i = 0; i < workers; i++) {
        enum gw_err err = worker_init(&server->workers[i], config, error);
        if (err != GW_OK)
            return err;
    }
    return GW_OK;
}

/* Thread: any. */
static void server_mail(void *context, unsigned index, struct gw_letter *letter)
{
    gw_mailbox_put(&((struct gw_server *)context)->workers[index].mailbox, letter);
}

void gw_server_prepare(struct gw_server *server, const struct gw_hub_setup *setup)
{
    server->repeats = gw_repeats_create();
    for (unsigned i = 0; i < server->worker_count; i++) {
        struct gw_hub_setup own = *setup;
        own.repeats = server->repeats;
        own.worker = i;
        own.timers = &server->workers[i].timers;
        own.mail = (struct gw_mail){server, server_mail};
        server->workers[i].hub = gw_hub_create(&own);
    }
}

/* --- the loop. Thread: the worker's, from here to worker_run(). ------------------------------------------------- */

static void worker_listen(struct gw_worker *worker)
{
    gw_loop_watch(worker->loop, &worker->sockets);
    gw_loop_watch(worker->loop, &worker->handshakes);
    gw_loop_watch(worker->loop, &worker->arrivals);
    for (size_t i = 0; i < worker->listener_count; i++)
        gw_loop_watch(worker->loop, &worker->listeners[i].watch);
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
    for (size_t i = 0; i < worker->listener_count; i++)
        gw_loop_unwatch(&worker->listeners[i].watch);
}

/* First the publishes that wait for the broker, as long as there is time; then every session ends. */
static bool worker_stopped(struct gw_worker *worker)
{
    int64_t now = gw_hub_now(worker->hub);
    bool late = now >= worker->stop_by_ms;
    if (!worker->closing && (late || !gw_hub_pending(worker->hub))) {
        worker->closing = true;
        worker->stop_by_ms = now + 1000;
        gw_hub_kick_all(worker->hub, GW_ERR_SHUTDOWN);
        for (struct gw_sock *sock = worker->socks, *next; sock; sock = next) {
            next = sock->next;
            if (!gw_sock_dead(sock))
                sock->ops->go_away(sock);
        }
        return false;
    }
    if (worker->closing)
        gw_hub_kick_all(worker->hub, GW_ERR_SHUTDOWN); /* those that a letter has opened meanwhile */
    return worker->closing && (late || (!worker->socks && gw_hub_empty(worker->hub)));
}

static void worker_turn(struct gw_worker *worker)
{
    gw_worker_tick(worker);
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
            worker->server->service->configure(worker);
        }
    }
    gw_mailbox_deliver(&worker->mailbox, worker->hub);
    gw_timers_run(&worker->timers, gw_hub_now(worker->hub));
    gw_hub_flush(worker->hub);
    if (worker->ring)
        gw_ring_submit(worker->ring);
    worker->joining = false;
    gw_batches_forget(worker->batches);
    gw_sock_reap(worker);
    gw_stats_turn(gw_hub_stats(worker->hub), gw_monotonic_ns() - start_ns);
}

/* Sleeps until the time to read the sockets again has come (sock.c), or something else has. What is done after this
 * looks at everything that a producer may have brought, so that one that saw `napping` too long is not missed. */
static bool worker_naps(struct gw_worker *worker)
{
    if (!worker->nap_ns || worker->stopping || gw_monotonic_ns() >= worker->nap_ns)
        return false;
    atomic_store(&worker->napping, true); /* before it rests, after which producers look */
    if (gw_inbox_rest(worker->inbox)) {
        const struct timespec until = {worker->nap_ns / 1000000000, worker->nap_ns % 1000000000};
        sem_clockwait(&worker->nap, CLOCK_MONOTONIC, &until);
    }
    atomic_store(&worker->napping, false);
    return true;
}

/* Sleeps until something happens; but while more comes from the broker, it only looks after the sockets once a
 * millisecond. */
static bool worker_serve(struct gw_worker *worker)
{
    bool busy = gw_hub_busy(worker->hub);
    if (!busy && worker_naps(worker))
        return true;
    bool rest = !busy && gw_inbox_rest(worker->inbox);
    int64_t now = gw_monotonic_ms();
    if (!rest && now == worker->served_ms)
        return true;
    worker->served_ms = now;
    return gw_loop_turn(worker->loop, rest);
}

static void *worker_run(void *context)
{
    struct gw_worker *worker = context;
    gw_worker_tick(worker);
    worker->server->service->configure(worker);
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
        gw_loop_alarm(worker->loop, due == INT64_MAX ? INT64_MAX : due - gw_monotonic_ms());
        if (!worker_serve(worker))
            break;
    }
    if (worker->server->linger && worker->index == 0)
        gw_inbox_linger(worker->inbox);
    else
        gw_inbox_close(worker->inbox);
    gw_mailbox_close(&worker->mailbox);
    for (struct gw_sock *sock = worker->socks; sock; sock = sock->next)
        gw_sock_kill(sock);
    gw_sock_reap(worker);
    gw_hub_kick_all(worker->hub, GW_ERR_SHUTDOWN);
    gw_timers_run(&worker->timers, gw_hub_now(worker->hub)); /* by which sessions without a socket end */
    worker->server->service->leave(worker);
    gw_ring_destroy(worker->ring);
    worker->ring = NULL;
    gw_loop_destroy(worker->loop); /* closes the listeners and the sets */
    worker->loop = NULL;
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
        gw_loop_destroy(worker->loop);
        const struct gw_watch *sets[] = {&worker->sockets, &worker->arrivals, &worker->handshakes};
        for (size_t j = 0; j < sizeof sets / sizeof *sets; j++) {
            if (sets[j]->fd >= 0)
                close(sets[j]->fd);
        }
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
        gw_tls_io_destroy(worker->tls_io);
        free(worker->listeners);
        gw_hub_destroy(worker->hub);
        gw_inbox_destroy(worker->inbox);
        gw_mailbox_fini(&worker->mailbox);
        gw_timers_fini(&worker->timers);
        gw_batches_destroy(worker->batches);
        if (worker->spare_fd >= 0)
            close(worker->spare_fd);
    }
    gw_repeats_destroy(server->repeats);
    free(server->workers);
    free(server->ports);
    free(server->unix_files);
    OPENSSL_cleanse(server->ticket_keys, sizeof server->ticket_keys);
    gw_admission_destroy(server->admission);
}
