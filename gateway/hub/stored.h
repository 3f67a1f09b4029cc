/* stored.h: the question which last values the broker may have forgotten: what it kept, and has not sent again since
 * the connection began. The MQTT thread asks the first worker's hub, which looks through its channels in slices and
 * gives the question back with their names. */
#ifndef GW_HUB_STORED_H
#define GW_HUB_STORED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash_set.h"
#include "gateway/buf.h"

/* Names in one answer. If there are that many, the asker asks again. */
#define GW_STORED_NAMES 4096

struct gw_hub;

struct gw_stored_ask {
    /* Gives it back, and hands over its ownership. Thread: the worker's. */
    void (*answer)(void *context, struct gw_stored_ask *ask);
    void *context;
    uint64_t round;           /* the asker's */
    int64_t since_ms;         /* wall clock: values that came since are fresh */
    struct gw_hash_set known; /* gw_hash() of the channels that are not in question */
    struct gw_buf without;    /* a byte for each route: 1: nothing can have come for it */
    struct gw_buf names;      /* the answer: each name with a NUL behind it */
    size_t count;             /* ... how many */
    bool broken_off;          /* a reload came: the answer is not whole */
};

/* NULL is fine. */
void gw_stored_ask_free(struct gw_stored_ask *ask);

/* The hub takes the question; goes on with it; gives it back unanswered, for the routes have changed. Thread: the
 * loop's. */
void gw_hub_stored_ask(struct gw_hub *hub, struct gw_stored_ask *ask);
void gw_hub_stored_work(struct gw_hub *hub);
void gw_hub_stored_break_off(struct gw_hub *hub);

#endif
