/* loop.h: one event loop for each worker. libwebsockets provides it: it waits, watches the few descriptors that it is
 * given, keeps the alarm and is woken from other threads. Connections are in epoll sets (sock.c), each of which the
 * loop watches as one descriptor. Thread: the loop's, except where it says so. */
#ifndef GW_NET_LOOP_H
#define GW_NET_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct gw_loop;
struct gw_worker;
struct lws;

/* A descriptor that the loop watches. */
struct gw_watch {
    struct gw_worker *worker;
    void (*ready)(struct gw_watch *watch); /* it can be read */
    struct lws *wsi;                       /* NULL: not watched (any more) */
    int fd;                                /* -1: closed */
};

/* Returns NULL if libwebsockets could not be set up. Thread: main, before the loop's own starts. */
struct gw_loop *gw_loop_create(void);
/* Closes the descriptors that are still watched. NULL is fine. */
void gw_loop_destroy(struct gw_loop *loop);
/* From now on the descriptor belongs to the loop, which closes it at the end. */
void gw_loop_watch(struct gw_loop *loop, struct gw_watch *watch);
/* The loop closes the descriptor in its next turn. */
void gw_loop_unwatch(struct gw_watch *watch);
/* Calls ready() for what is ready. `rest`: waits until something is, or the alarm rings, or gw_loop_wake() is called.
 * Returns false if the loop cannot go on. */
bool gw_loop_turn(struct gw_loop *loop, bool rest);
/* The next turn ends after this many milliseconds at the latest; INT64_MAX: no alarm. */
void gw_loop_alarm(struct gw_loop *loop, int64_t wait_ms);
/* Ends the turn that rests, or the next one. Thread: any. */
void gw_loop_wake(struct gw_loop *loop);

#endif
