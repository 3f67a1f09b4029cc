/* engine.h: the seam of engines: where messages get their numbers, and what of them outlives the process.
 *
 * A message does not number itself. The MQTT side makes a draft of it, and the engine gives the draft its place in
 * the global sequence (epoch and seq) and hands it to its sink. One engine is in force for the whole gateway.
 * `memory` is a counter that calls the sink before append() returns, without a copy; an engine that shares its
 * sequence with other processes calls the sink later, on a thread of its own, and also for messages that came in
 * elsewhere. Nothing in such a message refers to this process: the hub finds its channel, and the channel's route, by
 * name.
 *
 * An engine is a constant table; add one in gateway/engine/NAME.c, one line in builtins.c and one in CMakeLists.txt.
 *
 * An engine that keeps messages has a journal too: the store is read once, at start, into the histories of every
 * worker; from then on one hub (worker 0's) tells it of every change. It writes behind, on a thread of its own, and
 * never makes a caller wait but in open(), load(), close() and, for numbers, in append(). */
#ifndef GATEWAY_ENGINE_H
#define GATEWAY_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/buf.h"
#include "gateway/error.h"
#include "gateway/message.h"
#include "gateway/options.h"

#define GW_ENGINE_EPOCH_MAX 24 /* letters and digits, the NUL not counted */

struct gw_engine_store; /* each engine's own */

/* Where the last process stood. */
struct gw_engine_found {
    char epoch[GW_ENGINE_EPOCH_MAX + 1];
    bool clean;         /* it stopped in order */
    uint64_t seq;       /* no higher number was ever given to a message: the next one is above it */
    uint64_t lost;      /* messages of any channel up to here may be missing, whatever its evicted says; 0: none */
    uint64_t forgotten; /* newest number of any channel that was forgotten whole */
};

struct gw_engine_channel {
    const char *name;
    size_t len;
    uint64_t hash;        /* gw_hash(name) */
    uint64_t last_seq;    /* of its newest message, a clearing one included */
    uint64_t before_last; /* of the one before it */
    uint64_t last;        /* of its last value; 0: none */
    uint64_t evicted;     /* its history's evicted() */
    bool kept;            /* false: only the numbers are known, all messages are gone */
};

struct gw_engine_load {
    void *context;
    /* Channels in the order of last_seq, each followed by its messages, oldest first: what its history holds, and the
     * last value. Everything is borrowed. */
    void (*channel)(void *context, const struct gw_engine_channel *channel);
    void (*message)(void *context, const struct gw_message_spec *spec);
};

/* Read by any thread. */
struct gw_engine_stats {
    uint64_t written, dropped, errors, waiting;
};

/* What an engine tells the gateway. Thread: from start() until close() has returned, one call at a time: the engine's
 * own thread, or whoever calls append(). Each call may wait, until the workers have room for what it brings. */
struct gw_engine_sink {
    void *context;
    /* The next message, with its epoch and number. seq is above every one that message() or lost() named before in
     * this epoch. Everything is borrowed. Called other than by append() for its own draft, route is GW_ROUTE_BY_NAME:
     * the routes may have been reloaded since. */
    void (*message)(void *context, const struct gw_message_spec *spec);
    /* Numbers after the last one, up to `to`, will never come, and may have been messages: clients get a gap. What
     * was lost between two messages is told before the second. */
    void (*lost)(void *context, uint64_t to);
    /* Numbers begin anew, in another epoch: everything before it is gone. `epoch`: at most GW_ENGINE_EPOCH_MAX
     * letters and digits, borrowed. */
    void (*epoch)(void *context, const char *epoch);
};

struct gw_engine {
    const char *name;
    /* Its table in the configuration file, whose presence there puts the engine in force: never `by_default`. One
     * engine at most may have its table in a file. NULL: only the first engine of the list has none. */
    const struct gw_options *options;

    /* `options`: what its table says; the same until close() has returned, since what a reload brings takes effect at
     * the next start. NULL: it has no table. Thread: main, before start(). On failure *error says what and why;
     * nothing was changed. */
    GW_MUST_CHECK enum gw_err (*open)(const void *options, struct gw_engine_found *found,
                                      struct gw_engine_store **out, struct gw_buf *error);
    /* NULL: nothing was kept. */
    enum gw_err (*load)(struct gw_engine_store *store, const struct gw_engine_load *load, struct gw_buf *error);
    /* From now on it numbers messages. *sink is copied. */
    GW_MUST_CHECK enum gw_err (*start)(struct gw_engine_store *store, const struct gw_engine_sink *sink,
                                       struct gw_buf *error);

    /* Takes a draft: a message whose epoch and seq are the engine's to set; everything it refers to is borrowed until
     * this returns. GW_OK: it has been or will be handed to the sink, in the order of the drafts, or lost() will be
     * called for it. Otherwise it gets no number, and the caller counts it as refused. May wait for room, as long as
     * close() is not called: the caller's socket fills up then, and the broker queues. A number must never be given
     * twice. Thread: the MQTT thread. */
    GW_MUST_CHECK enum gw_err (*append)(struct gw_engine_store *store, struct gw_message_spec *draft);

    /* The journal; all three NULL: nothing is kept. Thread: the hub's, or main while no worker runs.
     * keep: the channel got a message, or this one of its messages was not known yet; takes a reference of its own.
     * update: only the channel's numbers changed. forget: the channel is gone, or kept elsewhere from now on. */
    void (*keep)(struct gw_engine_store *store, const struct gw_engine_channel *channel, struct gw_message *msg);
    void (*update)(struct gw_engine_store *store, const struct gw_engine_channel *channel);
    void (*forget)(struct gw_engine_store *store, const struct gw_engine_channel *channel, bool whole);

    /* Writes everything and frees the store; no append() may run. in_order: start() was called, and every message has
     * gone through the hub; `forgotten` is the hub's then. Thread: main. */
    void (*close)(struct gw_engine_store *store, bool in_order, uint64_t forgotten);

    /* NULL: there is nothing to tell. Thread: any. */
    struct gw_engine_stats (*stats)(struct gw_engine_store *store);
};

/* What there is; NULL-terminated. The first is in force where the file has no engine's table. */
extern const struct gw_engine *const *gw_engines;

/* Sets it: NULL-terminated and static. Thread: main, before any other one. */
void gw_engines_use(const struct gw_engine *const *list);

/* NULL if there is none of that name. */
const struct gw_engine *gw_engine_find(const char *name);

#endif
