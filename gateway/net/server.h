/* server.h: the workers and what they share. */
#ifndef GW_NET_SERVER_H
#define GW_NET_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "gateway/config.h"
#include "gateway/hub.h"
#include "net/admission.h"
#include "net/sock.h"
#include "net/worker.h"

struct gw_exposition;
struct gw_server;
struct gw_unix_file;

/* What OpenSSL wants for its session tickets. */
#define GW_TICKET_KEYS_BYTES 80

/* What is done with connections: the layers above give it. Thread: the worker's. */
struct gw_service {
    /* Makes what owns the new socket; it calls gw_sock_init(). */
    struct gw_sock *(*accept)(const struct gw_arrival *arrival);
    /* What a client is sent that cannot come in, or NULL. */
    const char *(*refusal)(const struct gw_listener *listener, enum gw_admit why);
    /* The worker begins, or its configuration is a new one. */
    void (*configure)(struct gw_worker *worker);
    /* Its last socket is closed. */
    void (*leave)(struct gw_worker *worker);
};

struct gw_server {
    const struct gw_service *service;
    struct gw_worker *workers;
    unsigned worker_count;
    struct gw_admission *admission;
    struct gw_repeats *repeats;                      /* idempotency keys */
    uint16_t *ports;                                 /* one for each listen entry, as bound */
    struct gw_unix_file *unix_files;                 /* likewise */
    unsigned char ticket_keys[GW_TICKET_KEYS_BYTES]; /* of TLS sessions, good for every worker */
    int64_t started_wall_ms;
    bool linger; /* the first worker's inbox stays open when it has ended: app.c takes what comes after it */
    /* The broker's side for /metrics and /readyz; set by app.c. `ready` appends the members of a JSON object. */
    void (*metrics)(void *context, struct gw_exposition *to);
    void (*ready)(void *context, struct gw_buf *out);
    void *metrics_context;
};

/* Binds every address for every worker. On failure *error says which and why. Thread: main. */
GW_MUST_CHECK enum gw_err gw_server_init(struct gw_server *server, const struct gw_service *service,
                                         struct gw_config *config, unsigned workers, struct gw_buf *error);
/* Makes the hub of each worker; inboxes exist from init on. */
void gw_server_prepare(struct gw_server *server, const struct gw_hub_setup *setup);
GW_MUST_CHECK enum gw_err gw_server_start(struct gw_server *server);
/* Asks every worker to finish (GW_EVENT_STOP) and joins them. */
void gw_server_stop(struct gw_server *server);
void gw_server_fini(struct gw_server *server);

#endif
