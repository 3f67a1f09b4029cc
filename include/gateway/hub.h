/* hub.h: one worker's view of everything: channels, their histories, and the sessions on them.
 *
 * Append, fan-out and subscribe-with-resume happen on the worker's thread only, so they are atomic without locks.
 * Thread: the worker's loop, unless a function says otherwise; the others assert it. */
#ifndef GATEWAY_HUB_H
#define GATEWAY_HUB_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/config.h"
#include "gateway/engine.h"
#include "gateway/histogram.h"
#include "gateway/history.h"
#include "gateway/mail.h"
#include "gateway/message.h"
#include "gateway/session.h"
#include "gateway/upstream.h"

struct gw_timers;
struct gw_event;
struct gw_upstream_state;
struct gw_auth;
struct gw_grants;
struct gw_routes;

/* How the publishes and requests of clients ended: one of these, or the enum gw_err of a failure. */
enum gw_outcome {
    GW_OUTCOME_PUBLISHED = GW_OK,       /* acknowledged by the broker */
    GW_OUTCOME_ACCEPTED = GW_ERR_COUNT, /* QoS 0: handed to the network */
    GW_OUTCOME_ANSWERED,                /* a request got its answer */
    GW_OUTCOME_ABANDONED,               /* the client left before its receipt or answer came */
    GW_OUTCOME_COUNT
};

/* The sessions of one transport. */
struct gw_stats_transport {
    _Atomic(const char *) name; /* static storage; NULL: unused, and so are those after it */
    _Atomic uint64_t now;
    _Atomic uint64_t opened; /* since the start */
};

/* Written by the worker alone, read by any thread (for /metrics): relaxed atomics. */
struct gw_stats {
    _Atomic uint64_t messages;      /* entered this hub */
    _Atomic uint64_t repeats;       /* retained messages that only repeat the last value */
    _Atomic uint64_t unchanged;     /* policy on_change: no news */
    _Atomic uint64_t states;        /* changes of channels' states */
    _Atomic uint64_t windows;       /* of subscriptions with `aggregate`, made: once for all who get them */
    _Atomic uint64_t windows_early; /* ... before their end, for limits.windows */
    _Atomic uint64_t windows_open;  /* now */
    _Atomic uint64_t deliveries;    /* queued for a session */
    _Atomic uint64_t gaps;          /* told */
    _Atomic uint64_t overflows;     /* a session's queue was full */
    _Atomic uint64_t conflated;     /* replaced by a newer value before it was sent */
    _Atomic uint64_t kicked;        /* sessions ended by the hub */
    _Atomic uint64_t published;     /* settled by the broker's acknowledgement, or sent at QoS 0 */
    _Atomic uint64_t publish_errors;
    _Atomic uint64_t publish_late;                /* acknowledgements that nobody waited for any more */
    _Atomic uint64_t publish_repeats;             /* not published: an idempotency key says that they were before */
    _Atomic uint64_t confirmed, confirm_timeouts; /* publishes that asked to be confirmed, by how they ended */
    _Atomic uint64_t confirms;                    /* ... that wait, now */
    _Atomic uint64_t responses;                   /* answers to requests */
    _Atomic uint64_t responses_late;              /* ... that nobody waited for any more */
    _Atomic uint64_t channels_evicted;
    _Atomic uint64_t history_evicted;         /* channels whose history was dropped for limits.history */
    _Atomic uint64_t fetches, fetches_failed; /* parts of the past that an engine was asked for */
    _Atomic uint64_t forbidden;               /* subscriptions, publishes and reads beyond the grants */
    _Atomic uint64_t auth_failures;           /* credentials that were refused */
    _Atomic uint64_t rate_limited;            /* frames and publishes beyond limits.message_rate and publish_rate */
    _Atomic uint64_t subscriptions_refused;
    _Atomic uint64_t channels;            /* now */
    _Atomic uint64_t sessions;            /* now */
    _Atomic uint64_t history_bytes;       /* now */
    _Atomic uint64_t connections;         /* now; by the web side */
    _Atomic uint64_t connections_refused; /* in all; of which: */
    _Atomic uint64_t connections_refused_address;
    _Atomic uint64_t connections_refused_rate;
    _Atomic uint64_t connections_refused_memory;
    _Atomic uint64_t requests;
    _Atomic uint64_t requests_bad;
    _Atomic uint64_t bytes_out;
    _Atomic uint64_t bytes_in;
    _Atomic uint64_t gaps_history, gaps_epoch, gaps_overflow; /* gaps, by reason */
    _Atomic uint64_t slices;                                  /* of sessions that catch up, in all */
    _Atomic uint64_t longest_turn_ns;                         /* of the worker's loop, since the start */
    _Atomic uint64_t queued_sessions; /* whose queue is not empty after a flush; once a second */
    _Atomic uint64_t queued_bytes;    /* in all of those queues */
    _Atomic uint64_t queued_largest;  /* ... and in the fullest of them */
    _Atomic uint64_t outcomes[GW_OUTCOME_COUNT];
    struct gw_stats_transport transports[8];
    struct gw_histogram latency; /* gw_hub_flush() says of what */
};

#define GW_STAT_ADD(stats, field, n)                                                                                 \
    atomic_store_explicit(&(stats)->field, atomic_load_explicit(&(stats)->field, memory_order_relaxed) + (n),        \
                          memory_order_relaxed)
#define GW_STAT_SET(stats, field, n) atomic_store_explicit(&(stats)->field, (n), memory_order_relaxed)

/* A turn of the worker's loop took so long. */
static inline void gw_stats_turn(struct gw_stats *stats, int64_t took_ns)
{
    if ((uint64_t)took_ns > atomic_load_explicit(&stats->longest_turn_ns, memory_order_relaxed))
        GW_STAT_SET(stats, longest_turn_ns, (uint64_t)took_ns);
}

/* Who watches the states of channels. */
struct gw_state_watch {
    void *context;
    /* A channel is there that may have to be watched from now on. `told`: what clients were told of its state;
     * GW_STATE_NONE: who knows. Thread: any. */
    void (*found)(void *context, const struct gw_message *last, enum gw_state told);
};

/* What became of publishes with an idempotency key, for all hubs together. */
struct gw_repeats;
struct gw_route_stats;
struct gw_repeats *gw_repeats_create(void);
/* NULL is fine. After the hubs. */
void gw_repeats_destroy(struct gw_repeats *repeats);

struct gw_hub_setup {
    uint32_t worker; /* whose inbox gets the results of publishes */
    const char *epoch;
    struct gw_config *config; /* the hub takes references of its own */
    struct gw_routes *routes;
    struct gw_auth *auth; /* NULL: everybody may do everything */
    struct gw_upstream upstream;
    struct gw_state_watch watch; /* the first worker tells it; found NULL: nobody watches */
    struct gw_mail mail;         /* to the other workers */
    /* With an engine that shares its sequence, else NULL: it keeps what any gateway may take back (shared.h). */
    const struct gw_engine_shared *sharing;
    struct gw_engine_store *sharing_store; /* ... of it */
    struct gw_timers *timers;              /* the worker's, outlives the hub */
    struct gw_repeats *repeats;            /* of all workers, outlives the hubs; NULL: no idempotency keys */
    struct gw_route_stats *route_stats;    /* likewise: by route, how confirmed publishes end; NULL: not counted */
};

/* Thread: any, before the worker starts. */
struct gw_hub *gw_hub_create(const struct gw_hub_setup *setup);
/* Every session must be closed. Thread: any, after the worker has ended. */
void gw_hub_destroy(struct gw_hub *hub);

/* Called at the start of each turn of the loop. */
void gw_hub_tick(struct gw_hub *hub, int64_t monotonic_ms, int64_t wall_ms);

/* One event from the inbox; takes over its references. Flushes by itself when a batch grows beyond half a session's
 * queue. */
void gw_hub_handle(struct gw_hub *hub, struct gw_event *event);
/* Calls ready() of every session that got something since the last time. Then notes, once for each message that was
 * queued live for at least one session, the time from its arrival (born_ns, after the codec) until now: by then every
 * socket that could take it has it. */
void gw_hub_flush(struct gw_hub *hub);

/* Is there work that must not wait for the next event? Then the loop comes back with gw_hub_flush() without resting.
 */
bool gw_hub_busy(const struct gw_hub *hub);

int64_t gw_hub_now(const struct gw_hub *hub);  /* monotonic, ms */
int64_t gw_hub_wall(const struct gw_hub *hub); /* ms since 1970 */
struct gw_timers *gw_hub_timers(struct gw_hub *hub);
unsigned gw_hub_worker(const struct gw_hub *hub);
const struct gw_config *gw_hub_config(const struct gw_hub *hub);
const struct gw_upstream_state *gw_hub_upstream(const struct gw_hub *hub);
struct gw_stats *gw_hub_stats(struct gw_hub *hub); /* the pointer: any thread */
/* limits.message_rate: may the client that has this bucket send one more frame or packet? Counts it if not. */
bool gw_hub_within_rate(struct gw_hub *hub, struct gw_bucket *bucket);
uint64_t gw_hub_pending(const struct gw_hub *hub); /* publishes not settled yet */

/* The cursor of the newest message this worker has seen. */
size_t gw_hub_cursor(const struct gw_hub *hub, char out[64]);

/* Ends every session with kick(why). */
void gw_hub_kick_all(struct gw_hub *hub, enum gw_err why);

/* No session is open. */
bool gw_hub_empty(const struct gw_hub *hub);

/* Who lets clients in; NULL: nobody has to. */
struct gw_auth *gw_hub_auth(const struct gw_hub *hub);

/* The questions below are asked on behalf of somebody: `grants` NULL: of one who may do everything. They answer as if
 * what the grants don't reach did not exist. */

/* The channel's last value, borrowed; NULL if it has none. */
struct gw_message *gw_hub_last(struct gw_hub *hub, const struct gw_grants *grants, const char *channel, size_t len);

/* Appends what is known of the state of the channel with this last value, as members of a JSON object:
 * `,"since":MS,"seen":MS,"state":"stale"`; nothing where its route says nothing of it. */
void gw_hub_add_state(const struct gw_hub *hub, const struct gw_message *last, struct gw_buf *out);

/* What was told last of the state of the channel of this message; GW_STATE_NONE: nothing. */
enum gw_state gw_hub_state(const struct gw_hub *hub, const struct gw_message *msg);

/* Is there a route for it? */
bool gw_hub_channel_possible(const struct gw_hub *hub, const char *filter, size_t len);
/* What its route says that its payloads are; NULL: nothing. Borrowed as gw_hub_routes(). */
const char *gw_hub_content_type(const struct gw_hub *hub, const char *channel, size_t len);
bool gw_hub_channel_publishable(const struct gw_hub *hub, const struct gw_grants *grants, const char *channel,
                                size_t len);

/* May they have the channel's payloads as they are? GW_ERR_FORBIDDEN, which is counted: no; *why says why, or is
 * NULL. */
GW_MUST_CHECK enum gw_err gw_hub_check_payloads(struct gw_hub *hub, const struct gw_grants *grants,
                                                const char *channel, size_t len, const char **why);

/* Could it be a response topic (struct gw_along)? */
bool gw_hub_response_possible(const struct gw_hub *hub, const struct gw_grants *grants, const char *channel,
                              size_t len);

/* May they publish anything at all: is there a grant, and a route that takes it? */
bool gw_hub_may_publish(const struct gw_hub *hub, const struct gw_grants *grants);

/* The route table in force, borrowed until the next gw_hub_handle(). */
const struct gw_routes *gw_hub_routes(const struct gw_hub *hub);

/* Visits what the history holds after `after`, oldest first. *evicted: the newest sequence number already gone, or 0.
 */
void gw_hub_history(struct gw_hub *hub, const struct gw_grants *grants, const char *channel, size_t len,
                    uint64_t after, gw_history_visit visit, void *context, uint64_t *evicted);

/* Last values of the channels that `filter` matches, in no particular order. False: they are too many for one turn
 * of the loop, and only some were visited. */
bool gw_hub_list(struct gw_hub *hub, const struct gw_grants *grants, const char *filter, size_t len,
                 gw_history_visit visit, void *context);
/* The same in slices, of `most` channels each: *slot is 0 at first, and then what the last slice left there. True:
 * that was the last. A channel is visited once at most; one that is new or forgotten meanwhile may be or not. */
bool gw_hub_list_slice(struct gw_hub *hub, const struct gw_grants *grants, const char *filter, size_t len,
                       uint32_t *slot, uint32_t most, gw_history_visit visit, void *context);

/* What was kept of the last process, into every worker's hub; hubs[0] tells the store of changes from then on.
 * Thread: main, before the workers start. */
struct gw_restored {
    uint64_t channels, messages;
};
GW_MUST_CHECK enum gw_err gw_hubs_restore(struct gw_hub **hubs, unsigned count, const struct gw_engine *keeper,
                                          struct gw_engine_store *store, const struct gw_engine_found *found,
                                          struct gw_restored *restored, struct gw_buf *error);
/* Tells of every channel that was restored and is to be watched; `told` of those without a state. Thread: main,
 * before the workers start. */
void gw_hub_tell_found(struct gw_hub *hub, enum gw_state told);
/* The worker's thread has ended; another one may use the hub from its next gw_hub_tick() on. */
void gw_hub_leave(struct gw_hub *hub);
/* The last thing before an orderly end, of hubs[0]: tells the store the numbers of the channels that it does not
 * keep. Returns the newest number of a channel that was forgotten whole. */
uint64_t gw_hub_keep_rest(struct gw_hub *hub);

/* What a cursor means here. */
enum gw_cursor_check { GW_CURSOR_BAD, GW_CURSOR_OTHER_EPOCH, GW_CURSOR_OK };
enum gw_cursor_check gw_hub_check_cursor(const struct gw_hub *hub, const char *text, size_t len, uint64_t *seq);
size_t gw_hub_format_cursor(const struct gw_hub *hub, uint64_t seq, char out[64]);

#endif
