/* history.h: the seam of histories. One instance keeps the recent messages of one channel.
 *
 * The last value of a channel is not the instance's business: the hub holds it apart, whatever the engine throws
 * away. Thread: the worker's loop that created the instance. */
#ifndef GATEWAY_HISTORY_H
#define GATEWAY_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/buf.h"
#include "gateway/error.h"
#include "gateway/message.h"

struct gw_history_limits {
    uint32_t count; /* messages; 0: keep none */
    size_t bytes;   /* sum of gw_message_size() */
    int64_t age_ms; /* 0: no bound */
};

struct gw_history; /* each engine's own */

/* Return false to stop. The message is borrowed; take a reference to keep it. */
typedef bool (*gw_history_visit)(void *context, struct gw_message *msg);

struct gw_history_engine {
    const char *name;
    bool kept; /* the gateway's engine gets the messages (engine.h), so that they outlive the process */

    /* evicted: what evicted() begins with; messages up to it may have been there and are not here. While a channel
     * has one message that fits the bounds and does not age, its last value is its history, and no instance is opened
     * (hub/channel/history.h), unless it is `kept`. */
    struct gw_history *(*open)(const struct gw_history_limits *limits, uint64_t evicted);
    void (*close)(struct gw_history *history);

    /* New bounds from a reload; may evict. */
    void (*limit)(struct gw_history *history, const struct gw_history_limits *limits, int64_t now_ms);

    /* Takes a reference of its own. msg->seq is above every earlier one. now_ms: wall clock, as msg->ts. May evict.
     */
    void (*append)(struct gw_history *history, struct gw_message *msg, int64_t now_ms);

    /* Evicts what is too old. */
    void (*expire)(struct gw_history *history, int64_t now_ms);

    /* Evicts everything (the bound over all channels was reached). */
    void (*drop)(struct gw_history *history);

    /* Calls visit for each message with seq > after, oldest first. Cost: proportional to what is visited. */
    void (*read)(const struct gw_history *history, uint64_t after, gw_history_visit visit, void *context);

    /* Highest sequence number that was ever evicted; 0 if none. Everything after it is still here. */
    uint64_t (*evicted)(const struct gw_history *history);
    /* When that message came, ms since 1970; INT64_MAX: it is not known. NULL: it never is. */
    int64_t (*evicted_ts)(const struct gw_history *history);

    size_t (*count)(const struct gw_history *history);
    size_t (*bytes)(const struct gw_history *history);
};

/* What there is; NULL-terminated. The first is the default. */
extern const struct gw_history_engine *const *gw_histories;

/* Sets it: NULL-terminated and static. Thread: main, before any other one. */
void gw_histories_use(const struct gw_history_engine *const *list);

/* NULL if there is none of that name. */
const struct gw_history_engine *gw_history_find(const char *name);

#endif
