/* server.h: the workers: each one thread with one libwebsockets context, one hub, its listeners and connections. */
#ifndef GW_WEB_SERVER_H
#define GW_WEB_SERVER_H

#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>

#include "core/inbox.h"
#include "core/timer.h"
#include "gateway/config.h"
#include "gateway/hub.h"
#include "web/conn.h"

struct lws;
struct lws_context;
struct lws_vhost;
struct gw_admission;
struct gw_server;

struct gw_listener {
    struct gw_worker *worker;
    struct lws *wsi; /* NULL once it stopped listening */
    int fd;
};

struct gw_worker {
    struct gw_server *server;
    unsigned index;
    pthread_t thread;
    bool started;
    struct lws_context *context;
    struct lws_vhost *vhost;
    struct gw_hub *hub;
    struct gw_inbox *inbox;
    struct gw_timers timers;
    struct gw_conn *conns;
    struct gw_listener *listeners;
    size_t listener_count;
    bool stopping;        /* GW_EVENT_STOP came: no new connections, finish what is there */
    bool closing;         /* ... and every session was told */
    int64_t stop_by_ms;   /* then whatever is left is cut */
    int spare_fd;         /* given up for a moment when there are no more descriptors */
};

struct gw_server {
    struct gw_worker *workers;
    unsigned worker_count;
    struct gw_admission *admission;
    uint16_t *ports; /* one for each listen entry, as bound */
    int64_t started_wall_ms;
    bool linger; /* the first worker's inbox stays open when it has ended: app.c takes what comes after it */
    /* The broker's side for /metrics; set by app.c. Appends Prometheus text. */
    void (*metrics)(void *context, struct gw_buf *out);
    void *metrics_context;
};

/* Binds every address for every worker. On failure *error says which and why. Thread: main. */
GW_MUST_CHECK enum gw_err gw_server_init(struct gw_server *server, struct gw_config *config, unsigned workers,
                                         struct gw_buf *error);
/* Makes the hub of each worker; inboxes exist from init on. */
void gw_server_prepare(struct gw_server *server, const struct gw_hub_setup *setup);
GW_MUST_CHECK enum gw_err gw_server_start(struct gw_server *server);
/* Asks every worker to finish (GW_EVENT_STOP) and joins them. */
void gw_server_stop(struct gw_server *server);
void gw_server_fini(struct gw_server *server);

/* listener.c */
int gw_listener_bind(const struct gw_cfg_listen *listen, uint16_t port, struct gw_buf *error);
uint16_t gw_listener_port(int fd);
void gw_listener_accept(struct gw_listener *listener);

/* admission.c: the bounds on connections in all and per address, shared by the workers. Thread: any. */
struct gw_admission *gw_admission_create(void);
void gw_admission_destroy(struct gw_admission *admission);
/* max_each 0: no bound per address. */
enum gw_admit { GW_ADMIT, GW_ADMIT_FULL, GW_ADMIT_ADDRESS_FULL };
enum gw_admit gw_admission_enter(struct gw_admission *admission, const struct in6_addr *address, uint32_t max_all,
                                 uint32_t max_each);
void gw_admission_leave(struct gw_admission *admission, const struct in6_addr *address);
void gw_server_release_address(struct gw_worker *worker, const struct in6_addr *address);

#endif
