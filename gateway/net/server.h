/* server.h: the workers: each one thread with one event loop, one hub, its listeners and connections. */
#ifndef GW_NET_SERVER_H
#define GW_NET_SERVER_H

#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/timer.h"
#include "gateway/config.h"
#include "gateway/hub.h"
#include "http/conn.h"
#include "hub/inbox.h"
#include "net/loop.h"
#include "net/mailbox.h"

struct gw_admission;
struct gw_batches;
struct gw_exposition;
struct gw_inflater;
struct gw_ring;
struct gw_server;
struct gw_tls;
struct gw_tls_io;
struct gw_unix_file;

/* OpenSSL wants so many for its session tickets. */
#define GW_TICKET_KEYS_BYTES 80

struct gw_listener {
    struct gw_watch watch; /* first member */
    struct gw_tls *tls;    /* NULL: plain */
    char *address;         /* as configured */
    bool is_unix;
    bool proxy;                        /* connections begin with a PROXY header */
    const struct gw_transport *stream; /* takes the bytes as they come; NULL: HTTP */
};

/* Bytes that are read from a plain socket at once. */
#define GW_INPUT_BYTES (64 * 1024)

struct gw_worker {
    struct gw_server *server;
    unsigned index;
    pthread_t thread;
    bool started;
    struct gw_loop *loop;
    struct gw_hub *hub;
    struct gw_inbox *inbox;
    struct gw_mailbox mailbox; /* letters of other workers */
    struct gw_timers timers;
    /* Epoll sets (sock.c): connections; those whose TLS handshake has not begun; those in the middle of it. */
    struct gw_watch sockets, arrivals, handshakes;
    bool arrivals_late;           /* more handshakes wait to begin than a turn has time for */
    struct gw_tls_io *tls_io;     /* what TLS connections share (tls_conn.c) */
    char *input;                  /* GW_INPUT_BYTES, for whoever is being read */
    struct gw_inflater *inflater; /* NULL: no connection has negotiated compression yet */
    struct gw_ring *ring;         /* NULL: there is none */
    bool joining;                 /* sends are collected in it */
    struct gw_batches *batches;   /* wire.c */
    struct gw_conn *conns;
    struct gw_conn *dead; /* connections that are to be closed */
    struct gw_listener *listeners;
    size_t listener_count;
    bool stopping;      /* GW_EVENT_STOP came: no new connections, finish what is there */
    bool closing;       /* ... and every session was told */
    int64_t served_ms;  /* when the sockets were last looked after */
    int64_t stop_by_ms; /* then whatever is left is cut */
    int spare_fd;       /* given up for a moment when there are no more descriptors */
};

struct gw_server {
    struct gw_worker *workers;
    unsigned worker_count;
    struct gw_admission *admission;
    uint16_t *ports;                                 /* one for each listen entry, as bound */
    struct gw_unix_file *unix_files;                 /* likewise; what Unix sockets put into the file system */
    unsigned char ticket_keys[GW_TICKET_KEYS_BYTES]; /* of TLS sessions, good for every worker */
    int64_t started_wall_ms;
    bool linger; /* the first worker's inbox stays open when it has ended: app.c takes what comes after it */
    /* The broker's side for /metrics and /readyz; set by app.c. `ready` appends the members of a JSON object. */
    void (*metrics)(void *context, struct gw_exposition *to);
    void (*ready)(void *context, struct gw_buf *out);
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

/* The hub's clock, before anything else when the loop has called. Thread: the worker's. */
void gw_server_tick(struct gw_worker *worker);

/* listener.c */
struct gw_unix_file {
    dev_t device;
    ino_t inode; /* 0: none */
};
/* `first`: of this process, so that nobody else may be there. */
int gw_listener_bind(const struct gw_cfg_listen *listen, uint16_t port, bool first, struct gw_buf *error);
/* A socket file that nobody listens on is replaced; anything else in its place is an error. */
int gw_listener_bind_unix(const struct gw_cfg_listen *listen, struct gw_unix_file *file, struct gw_buf *error);
/* Removes the file if it still is ours. */
void gw_listener_unlink(const char *path, const struct gw_unix_file *file);
uint16_t gw_listener_port(int fd);
void gw_listener_ready(struct gw_watch *watch);
/* The PROXY header has named the client: the bounds per address hold for it. False: they are reached, and it was
 * refused. */
bool gw_listener_count(struct gw_conn *conn);

/* admission.c: the bounds on connections in all and per address, shared by the workers. Thread: any. */
struct gw_admission *gw_admission_create(void);
void gw_admission_destroy(struct gw_admission *admission);
enum gw_admit { GW_ADMIT, GW_ADMIT_FULL, GW_ADMIT_ADDRESS_FULL, GW_ADMIT_RATE, GW_ADMIT_MEMORY };
/* Counts a new connection, or says which bound is reached. in6addr_any: only the bounds in all hold for it. */
enum gw_admit gw_admission_enter(struct gw_admission *admission, const struct in6_addr *address,
                                 const struct gw_cfg_limits *limits);
/* One that was counted as in6addr_any belongs to this address. */
enum gw_admit gw_admission_name(struct gw_admission *admission, const struct in6_addr *address,
                                const struct gw_cfg_limits *limits);
/* One more publish by POST (limits.publish_rate). */
bool gw_admission_may_publish(struct gw_admission *admission, const struct in6_addr *address, uint32_t per_second);
void gw_admission_leave(struct gw_admission *admission, const struct in6_addr *address);
void gw_server_release_address(struct gw_worker *worker, const struct in6_addr *address);

#endif
