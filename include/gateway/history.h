/* history.h: the seam of history engines. One instance keeps the recent messages of one channel.
 *
 * The last value of a channel is not the instance's business: the hub holds it apart, whatever the engine throws
 * away. Thread: the worker's loop that created the instance. An engine whose messages outlive the process has a
 * keeper too, see below. */
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

struct gw_history_keeper;

struct gw_history_engine {
    const char *name;
    const struct gw_history_keeper *keeper; /* NULL: nothing outlives the process */

    /* evicted: what evicted() begins with; messages up to it may have been there and are not here. */
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

    size_t (*count)(const struct gw_history *history);
    size_t (*bytes)(const struct gw_history *history);
};

/* --- what outlives the process ---------------------------------------------------------------------------------- */

/* One store for the whole
 * gateway. It is read once, at start, into the instances of every worker; from then on one hub (worker 0's) tells it
 * of every change, and it writes behind, on a thread of its own. It never makes a caller wait but in open(), load(),
 * close() and at the end of a block of sequence numbers. */
struct gw_history_store; /* each engine's own */

struct gw_history_setup {
    const char *path;   /* of the database; made if there is none */
    int64_t flush_ms;   /* a change is on the disk at the latest so much later, as long as the disk takes it */
    size_t queue_bytes; /* of messages that wait to be written; beyond it they are given up, and `lost` says so */
    uint64_t block;     /* sequence numbers reserved at a time */
};

/* Where the last process stood. */
struct gw_history_found {
    char epoch[32];
    bool clean;         /* it stopped in order */
    uint64_t seq;       /* no higher number was ever given to a message: go on after it */
    uint64_t lost;      /* messages of any channel up to here may be missing, whatever its evicted says; 0: none */
    uint64_t forgotten; /* newest number of any channel that was forgotten whole */
};

struct gw_history_channel {
    const char *name;
    size_t len;
    uint64_t hash;        /* gw_hash(name) */
    uint64_t last_seq;    /* of its newest message, a clearing one included */
    uint64_t before_last; /* of the one before it */
    uint64_t last;        /* of its last value; 0: none */
    uint64_t evicted;     /* its instance's evicted() */
    bool kept;            /* false: of an engine without keeper; only the numbers are known, all messages are gone */
};

struct gw_history_load {
    void *context;
    /* Channels in the order of last_seq, each followed by its messages, oldest first: what its history holds, and the
     * last value. Everything is borrowed. */
    void (*channel)(void *context, const struct gw_history_channel *channel);
    void (*message)(void *context, const struct gw_message_spec *spec);
};

/* Read by any thread. */
struct gw_history_stats {
    uint64_t written, dropped, errors, waiting;
};

struct gw_history_keeper {
    /* Thread: main, before start(). On failure *error says which file and why; nothing was changed. */
    enum gw_err (*open)(const struct gw_history_setup *setup, struct gw_history_found *found,
                        struct gw_history_store **out, struct gw_buf *error);
    enum gw_err (*load)(struct gw_history_store *store, const struct gw_history_load *load, struct gw_buf *error);
    /* Notes that a process runs, with its first block of numbers. */
    enum gw_err (*start)(struct gw_history_store *store, struct gw_buf *error);

    /* `seq` is about to be given to a message. Returns the number at which to ask again. Waits if the block is used
     * up and the disk does not take the next one: a number must never be given twice. Thread: the MQTT thread. */
    uint64_t (*reserve)(struct gw_history_store *store, uint64_t seq);

    /* The channel got a message, or this one of its messages was not known yet. Takes a reference of its own. Thread,
     * for these three: the hub's, or main while no worker runs. */
    void (*append)(struct gw_history_store *store, const struct gw_history_channel *channel, struct gw_message *msg);
    /* Only the channel's numbers changed. */
    void (*update)(struct gw_history_store *store, const struct gw_history_channel *channel);
    /* The channel is gone, or kept elsewhere from now on. */
    void (*forget)(struct gw_history_store *store, const struct gw_history_channel *channel, bool whole);

    /* Writes everything and frees the store. found: seq and forgotten of the hub; NULL: start() was never called, or
     * the stop is not in order. Thread: main. */
    void (*close)(struct gw_history_store *store, const struct gw_history_found *found);

    struct gw_history_stats (*stats)(struct gw_history_store *store);
};

/* What there is; NULL-terminated. The first is the default. */
extern const struct gw_history_engine *const *gw_histories;

/* Sets it: NULL-terminated and static. Thread: main, before any other one. */
void gw_histories_use(const struct gw_history_engine *const *list);

/* NULL if there is none of that name. */
const struct gw_history_engine *gw_history_find(const char *name);

#endif
