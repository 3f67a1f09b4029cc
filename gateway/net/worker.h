/* worker.h: one thread with one event loop, one hub, its listeners and its sockets. Thread: its own, except where it
 * says so. */
#ifndef GW_NET_WORKER_H
#define GW_NET_WORKER_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/timer.h"
#include "net/loop.h"
#include "net/mailbox.h"

struct gw_batches;
struct gw_hub;
struct gw_inbox;
struct gw_inflater;
struct gw_listener;
struct gw_ring;
struct gw_server;
struct gw_sock;
struct gw_tls_io;

/* Bytes that are read from a socket at once. */
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
    /* Epoll sets (sock.c): sockets; those whose TLS handshake has not begun; those in the middle of it. */
    struct gw_watch sockets, arrivals, handshakes;
    bool arrivals_late;           /* more handshakes wait to begin than a turn has time for */
    struct gw_tls_io *tls_io;     /* what TLS connections share (tls_conn.c) */
    char *input;                  /* GW_INPUT_BYTES, for the socket that is being read */
    struct gw_inflater *inflater; /* websocket/'s; NULL: no connection has negotiated compression yet */
    struct gw_ring *ring;         /* NULL: there is none */
    bool joining;                 /* sends are collected in it */
    struct gw_batches *batches;   /* outbox.c */
    struct gw_sock *socks;
    struct gw_sock *dead; /* those that are to be closed */
    struct gw_listener *listeners;
    size_t listener_count;
    bool stopping;     /* GW_EVENT_STOP came: no new connections, finish what is there */
    bool closing;      /* ... and every session has been ended */
    int64_t served_ms; /* when the sockets were last looked after */
    uint8_t heard;     /* enum gw_heard: of the socket that is being read */
    int64_t calm_ns;   /* when a round of the sockets last brought nothing that is in a hurry */
    int64_t nap_ns;    /* until then the sockets are not read */
    atomic_bool napping;
    sem_t nap;          /* posted by those who wake a worker that naps. Thread: any */
    int64_t stop_by_ms; /* then whatever is left is cut */
    int spare_fd;       /* given up for a moment when there are no more descriptors */
};

/* What a connection said in the input that is being read. Nothing: as if it were in a hurry. */
enum gw_heard { GW_HEARD_NOTHING, GW_HEARD_CALM, GW_HEARD_HURRY };

/* Reads the clock for the hub, before anything else when the loop has called. */
void gw_worker_tick(struct gw_worker *worker);

#endif
