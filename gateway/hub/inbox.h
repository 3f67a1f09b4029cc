/* inbox.h: the one door into a worker: a bounded queue of events from other threads.
 *
 * When it is full the producer waits. That is the back-pressure that reaches the broker over TCP: nothing is dropped
 * between the MQTT thread and a worker. The queue is detached under the lock and handled outside it. */
#ifndef GW_HUB_INBOX_H
#define GW_HUB_INBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/auth.h"
#include "gateway/engine.h"
#include "gateway/message.h"
#include "gateway/upstream.h"

enum gw_event_type {
    GW_EVENT_MESSAGE,   /* message: one reference, the receiver's */
    GW_EVENT_UPSTREAM,  /* upstream */
    GW_EVENT_PUBLISHED, /* result */
    GW_EVENT_RESPONSE,  /* response: its payload is the receiver's */
    GW_EVENT_LOST,      /* lost: numbers up to it that have not come will never come (engine.h) */
    GW_EVENT_EPOCH,     /* epoch: numbers begin anew */
    GW_EVENT_STORED,    /* stored: the receiver's; the first worker alone gets it */
    GW_EVENT_RELOAD,    /* reload: one reference each, the receiver's */
    GW_EVENT_STOP       /* finish up: no new sessions, answer what is held, then leave */
};

struct gw_stored_ask;

struct gw_event {
    enum gw_event_type type;
    union {
        struct gw_message *message;
        struct gw_upstream_state upstream;
        struct gw_publish_result result;
        struct gw_response response;
        uint64_t lost;
        struct gw_stored_ask *stored;
        char epoch[GW_ENGINE_EPOCH_MAX + 1];
        struct {
            struct gw_routes *routes;
            struct gw_config *config;
            struct gw_auth *auth; /* NULL: none */
        } reload;
    } u;
};

struct gw_inbox;

/* `wake` is called on the producer's thread, without the lock, when something is put while the worker rests: a worker
 * that is at work looks again by itself before it sleeps, so that not every message costs a wake-up. */
struct gw_inbox *gw_inbox_create(size_t capacity, void (*wake)(void *context), void *context);
/* No producer may be inside. Releases what is left in it. */
void gw_inbox_destroy(struct gw_inbox *inbox);

/* Takes over what the event refers to. Waits while the inbox is full. False: it is closed, and the event's references
 * were released. Thread: any but the worker's own. */
bool gw_inbox_put(struct gw_inbox *inbox, const struct gw_event *event);

/* Hands over everything that waits: *events points to *count of them until the next call. Thread: the worker's. */
void gw_inbox_take(struct gw_inbox *inbox, struct gw_event **events, size_t *count);

/* True: nothing waits and `wake` will be called for what comes next: the worker may sleep. Thread: the worker's. */
bool gw_inbox_rest(struct gw_inbox *inbox);

/* Producers no longer wait and nothing gets in any more. Thread: any. */
void gw_inbox_close(struct gw_inbox *inbox);

/* Producers no longer wait, and what they put in stays until it is taken: at the end, for as long as it takes
 * to stop the producers. Thread: any. */
void gw_inbox_linger(struct gw_inbox *inbox);

/* For metrics. Thread: any. */
size_t gw_inbox_length(struct gw_inbox *inbox);
size_t gw_inbox_capacity(const struct gw_inbox *inbox);

void gw_event_release(struct gw_event *event);

#endif
