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
 * never makes a caller wait but in open(), load(), close() and, for numbers, in append().
 *
 * An engine that keeps more than the workers' histories hold has history(): sessions that resume from further back
 * ask for it, and wait for the answer without holding anything up. */
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

struct gw_rollup;
struct gw_window;
struct gw_engine_store; /* each engine's own */

#define GW_ENGINE_KEY_MAX   95
#define GW_ENGINE_CLAIM_MAX 47

/* Something small that any of the processes may take back, once: a ticket. Owned by the asker; the engine has it from
 * ask() until done(). */
struct gw_engine_ask {
    struct gw_engine_ask *next;      /* the engine's */
    char key[GW_ENGINE_KEY_MAX + 1]; /* letters, digits, `-`, `_` and `:` */
    /* Empty, or: what is taken is replaced by this text, in one step; what is put is put only where nothing lies or
     * this text does, and else not (GW_ERR_NOT_FOUND). */
    char claim[GW_ENGINE_CLAIM_MAX + 1];
    char *text; /* to be put, malloc'd; NULL: to be taken, and then what was taken */
    size_t len;
    int64_t ttl_ms;  /* of what is put, or of the claim: nobody gets it later */
    int64_t send_by; /* the engine's */
    /* Called once, on any thread, also before ask() returns; must not wait. GW_OK; GW_ERR_NOT_FOUND: there is nothing
     * to take (any more); GW_ERR_OVERLOADED: the engine is away or too slow, or too many ask. What was to be taken is
     * gone then, or still there. */
    void (*done)(struct gw_engine_ask *ask, enum gw_err err);
};

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
    uint64_t hash;            /* gw_hash(name) */
    uint64_t last_seq;        /* of its newest message, a clearing one included */
    uint64_t before_last;     /* of the one before it */
    uint64_t last;            /* of its last value; 0: none */
    uint64_t evicted;         /* its history's evicted() */
    bool kept;                /* false: only the numbers are known, all messages are gone */
    struct gw_rollup *rollup; /* what its route rolls up, borrowed; NULL: nothing */
    bool settle;              /* with update(): `rollup` says what the route wants from now on */
    bool rolled;              /* with load(): something of it is rolled up */
};

struct gw_engine_load {
    void *context;
    /* Channels in the order of last_seq, each followed by its messages, oldest first: what its history holds, and the
     * last value. After the last channel there may be messages that tell of states. Everything is borrowed. */
    void (*channel)(void *context, const struct gw_engine_channel *channel);
    void (*message)(void *context, const struct gw_message_spec *spec);
};

/* Read by any thread. */
struct gw_engine_stats {
    uint64_t written, dropped, errors, waiting;
    uint64_t series, series_refused; /* fields of channels that are rolled up; messages of fields beyond the bound */

    /* Of an engine that shares its sequence. */
    bool up, leads;
    uint64_t term;        /* of the newest entry of the log that was read */
    uint64_t entries;     /* of the log that are held in memory */
    uint64_t appended;    /* messages that the engine has taken from this process */
    int64_t append_ns;    /* how long the last batch of them took */
    uint64_t mended;      /* entries added again to a log that had lost them */
    uint64_t fenced;      /* times that another process had taken over unnoticed */
    uint64_t lost;        /* times that messages may have been missed */
    uint64_t redelivered; /* packets that the broker sent once more, known by the log */
    uint64_t takeovers;   /* terms that this process began */
    bool differs;         /* the process that takes messages in has other routes */
};

/* What an engine tells the gateway. Thread: from start() until close() has returned, one call at a time: the engine's
 * own thread, or the caller of append(). Each call may wait, until the workers have room for what it brings. */
struct gw_engine_sink {
    void *context;
    /* The next message, with its epoch and number. seq is above every one that message() or lost() named before in
     * this epoch. Everything is borrowed. Called other than by append() for its own draft, route is GW_ROUTE_BY_NAME:
     * the routes may have been reloaded since. */
    void (*message)(void *context, const struct gw_message_spec *spec);
    /* Numbers after the last one, up to `to`, will never come, and may have been messages: clients get a gap. What
     * was lost between two messages is reported before the second. */
    void (*lost)(void *context, uint64_t to);
    /* Numbers begin anew, in another epoch: everything before it is gone. `epoch`: at most GW_ENGINE_EPOCH_MAX
     * letters and digits, borrowed. */
    void (*epoch)(void *context, const char *epoch);

    /* The rest is called only by engines that share their sequence (struct gw_engine_shared), on a thread of theirs,
     * also while one of those above waits. Neither waits.
     * lead: from now on this process takes messages in (`term`), or none (0). What it holds of the broker's is void
     * with each call.
     * safe: gw_engine_shared's safe() or room() has changed. */
    void (*lead)(void *context, uint64_t term);
    void (*safe)(void *context);
    /* Do messages come in, by whichever process? `since`: wall clock, ms since 1970. `by_engine`: it is the engine
     * that is away. */
    void (*upstream)(void *context, bool up, int64_t since, bool by_engine);
};

/* What an engine offers that shares its sequence with other processes: one of them at a time takes messages in from
 * the broker, in a session that the broker keeps, and acknowledges none before the engine has it. Thread: the MQTT
 * thread; none of them waits. */
struct gw_engine_shared {
    /* This process's name among the others. Thread: any. */
    const char *(*node)(struct gw_engine_store *store);
    /* A number for the routes of this process: where another process has other ones, that is logged. Thread: main. */
    void (*configure)(struct gw_engine_store *store, uint64_t digest);
    /* A connection to the broker begins, for this term of sink.lead(). append() refuses whatever belongs to another
     * one. */
    void (*join)(struct gw_engine_store *store, uint64_t term);
    /* Around the drafts of a packet, which are kept all or not at all. `mid`: its packet identifier, 0 at QoS 0;
     * `hash`: of topic and payload. */
    void (*begin)(struct gw_engine_store *store, uint16_t mid, uint64_t hash);
    void (*commit)(struct gw_engine_store *store);
    /* No more packets are at hand: what was committed should go now. NULL: commit() sees to it. */
    void (*flush)(struct gw_engine_store *store);
    /* Is there room for more? If not, the broker's socket is not read. */
    bool (*room)(struct gw_engine_store *store);
    /* Packets committed so far, and how many of them are safe: those may be acknowledged. */
    uint64_t (*taken)(struct gw_engine_store *store);
    uint64_t (*safe)(struct gw_engine_store *store);
    /* Is this packet, which the broker sends once more, among the messages already, by whichever gateway? */
    bool (*known)(struct gw_engine_store *store, uint16_t mid, uint64_t hash);
    /* The connection to the broker is there, or is not: every process hears of it. */
    void (*upstream)(struct gw_engine_store *store, bool up);
    /* Puts or takes; done() comes within two seconds, or four where a connection has to be made first. Thread: any,
     * until close(). */
    void (*ask)(struct gw_engine_store *store, struct gw_engine_ask *ask);
};

/* A part of the past that a hub does not hold any more, and that an engine may: the messages numbered above `after`
 * up to `to`, on the channels that one of the filters matches. The hub's; good until done() is called. */
struct gw_engine_history {
    uint64_t after, to;
    const struct gw_slice *filters;
    size_t filter_count;
    uint32_t messages; /* that many are enough, */
    size_t bytes;      /* ... and so are messages of that many bytes */
    /* One of them, in the order of their numbers; everything is borrowed. False: it is enough. */
    bool (*message)(struct gw_engine_history *history, const struct gw_message_spec *spec);
    /* That was all of them up to `reached`, but for those up to `lost` (0: none), which may be missing: clients get a
     * gap. For what is above `reached` the hub asks again. Neither waits. Thread: any, but one at a time. */
    void (*done)(struct gw_engine_history *history, uint64_t reached, uint64_t lost);
};

/* A question about the numbers of one channel over time (series.h). The hub's; good until done() is called. */
struct gw_engine_series {
    struct gw_engine_series *next; /* the engine's */
    const char *channel;
    size_t len;
    uint64_t hash;     /* gw_hash(channel) */
    const char *field; /* JSON pointer */
    int64_t every_ms;  /* windows of this step; 0: none, only gaps are wanted */
    int64_t from, to;  /* that begin in [from, to), ms since 1970 */
    uint64_t need;     /* messages up to here must be in them: the hub has no others */
    /* One window, in the order of time; and a time in which messages may have been missed. */
    void (*window)(struct gw_engine_series *series, const struct gw_window *window);
    void (*gap)(struct gw_engine_series *series, int64_t from, int64_t to);
    /* That was all. The channel's messages up to `seq` (0: none) are in the windows, and no later ones; that one came
     * at `ts`. Before `since` nothing was rolled up (INT64_MAX: there is nothing of this field). Must not wait.
     * Thread: any, but one at a time. */
    void (*done)(struct gw_engine_series *series, enum gw_err err, uint64_t seq, int64_t ts, int64_t since);
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

    /* A session wants messages that its hub does not hold. GW_OK: done() will be called, once, now or later, before
     * close() returns. Otherwise it will not, and the client gets a gap, as it does where done() is not called within
     * history_ms. A hub asks for GW_FETCHES at a time at most (hub/session/fetch.h). NULL: hubs hold what there is.
     * Must not wait. Thread: any worker's. */
    GW_MUST_CHECK enum gw_err (*history)(struct gw_engine_store *store, struct gw_engine_history *history);
    uint32_t history_ms;

    /* A client wants a chart. GW_OK: done() will be called, once, before close() returns. A hub asks for some at
     * a time at most (hub/series/series.h). NULL: the engine rolls nothing up. Must not wait. Thread: any
     * worker's. */
    GW_MUST_CHECK enum gw_err (*series)(struct gw_engine_store *store, struct gw_engine_series *series);

    /* Writes everything and frees the store; no append() may run. in_order: start() was called, and every message has
     * gone through the hub; `forgotten` is the hub's then. Thread: main. */
    void (*close)(struct gw_engine_store *store, bool in_order, uint64_t forgotten);

    /* NULL: this process takes messages in by itself, and they are safe when append() returns. */
    const struct gw_engine_shared *shared;

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
