/* session.h: one connected web client, whatever its transport.
 *
 * A transport embeds struct gw_session in its own struct and gives it a table of operations; that is all the hub
 * knows of a client. Everything for the client goes through the session's queue in one order: messages and gaps from
 * the hub, and the transport's own answers. The transport takes items out with gw_session_next() as fast as its
 * socket takes them.
 *
 * A session whose queue is full is *lagging*: the hub no longer queues for it but remembers how far it got, and
 * gw_session_next() goes on from the channels' histories once the queue is empty. So a slow reader costs nobody
 * anything, holds at most `limits.queue` bytes, and loses something only if the history is gone as well; then it
 * gets a gap. Resuming from a cursor and the last values of a new subscription are the same mechanism: a session
 * that lags from the cursor on (hub/session/catchup.c).
 *
 * Thread: the loop of the hub that the session belongs to, for everything here. */
#ifndef GATEWAY_SESSION_H
#define GATEWAY_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "gateway/bucket.h"
#include "gateway/buf.h"
#include "gateway/error.h"
#include "gateway/message.h"
#include "gateway/properties.h"

struct gw_hub;
struct gw_session;
struct gw_sub;
struct gw_pending;
struct gw_told;
struct gw_fetch;
struct gw_pause;
struct gw_identity;
struct gw_grants;
struct gw_expiry;
struct gw_upstream_state;
struct gw_window_sub;

struct gw_gap {
    char *channel;
    char *from; /* cursors */
    char *to;
    const char *reason; /* "history", "epoch", "overflow" */
};

/* In one block, for free(). `reason` is borrowed for ever. */
struct gw_gap *gw_gap_create(const char *channel, size_t len, const char *from, const char *to, const char *reason);

enum gw_item_type { GW_ITEM_MESSAGE, GW_ITEM_GAP, GW_ITEM_TEXT };

/* What gw_session_next() hands over: the caller owns the reference and calls gw_item_release(). */
struct gw_item {
    enum gw_item_type type;
    union {
        struct gw_message *message;
        struct gw_gap *gap;
        struct gw_buf *text; /* the transport's own bytes, pushed by gw_session_push() */
    } u;
};

void gw_item_release(struct gw_item *item);
/* The same for many: a message's reference is given back at the end of the hub's turn (gw_hub_flush()). */
void gw_session_release(struct gw_session *session, struct gw_item *item);
/* Replaces the item's content by a text; takes the content of *text. */
void gw_item_set_text(struct gw_item *item, struct gw_buf *text);

/* What a publish has come to that asked to be confirmed. Valid during the call. */
struct gw_confirmed {
    bool confirmed;         /* the channel has shown what was sent */
    struct gw_slice cursor; /* of the message that showed it, or of the value that is there in its place */
    struct gw_slice data;   /* that value, JSON text; data NULL: there is none, or the client may not see it */
};

struct gw_session_ops {
    /* What /metrics calls its kind, a constant: the transport's name. NULL: "other". */
    const char *transport;

    /* There is something in the queue. Called once after a batch of messages, never from inside gw_session_next().
     * The transport drains now or when its socket allows. It may end in gw_session_close(). */
    void (*ready)(struct gw_session *session);

    /* A publish was settled. `reference` is what gw_session_publish() was given, the hub's, freed after the call.
     * err GW_OK: acknowledged by the broker. `reason`: MQTT 5 reason code of a refusal, else 0. */
    void (*published)(struct gw_session *session, const char *reference, enum gw_err err, int reason);

    /* A request was answered; `json` is the hub's. Its failure comes through published(). NULL if the transport makes
     * none. */
    void (*response)(struct gw_session *session, const char *reference, struct gw_slice json);

    /* A publish that asked for it (gw_command.confirm) has been confirmed, or was not in time; what went wrong before
     * comes through published(). NULL if the transport asks for none. */
    void (*confirmed)(struct gw_session *session, const char *reference, const struct gw_confirmed *confirmed);

    /* The connection to the broker came or went. NULL if the transport doesn't tell. */
    void (*upstream)(struct gw_session *session, const struct gw_upstream_state *state);

    /* The client may no longer have this subscription, which is gone already. NULL if the transport can't tell: then
     * the session is ended with GW_ERR_FORBIDDEN. It must not close the session. */
    void (*revoked)(struct gw_session *session, const char *filter, size_t len);

    /* The client's token expires at this time (wall clock, ms since 1970); then the session is ended with
     * GW_ERR_EXPIRED. NULL if the transport doesn't tell. */
    void (*expiring)(struct gw_session *session, int64_t expires_ms);

    /* The hub ends this session, for the reason `why`. The transport closes its connection; it must call
     * gw_session_close() before the session's memory goes away, now or later. Called at most once; nothing else is
     * called afterwards. */
    void (*kick)(struct gw_session *session, enum gw_err why);

    /* The transport takes messages that tell of a channel's state (message->state), and tells them from values. Where
     * it doesn't, its sessions get none. */
    bool states;

    /* It also tells when the broker has a publish that is still to be confirmed: published() comes before
     * confirmed(). */
    bool stages;
};

/* Filled by gw_session_open(). Transports may read what is marked with (r), and nothing else: the rest is the hub's.
 */
struct gw_session {
    const struct gw_session_ops *ops; /* (r) */
    struct gw_hub *hub;               /* (r) */
    uint64_t id;                      /* (r) */
    struct gw_identity *identity;     /* (r) NULL: not known, or the gateway has no auth: */
    const struct gw_grants *grants;   /* what it may do; NULL: everything */
    struct gw_expiry *expiry;         /* hub/access.c; NULL: its identity never expires */
    struct gw_item *items;            /* ring of `allocated`, a power of two; NULL while never used */
    uint32_t first, count, allocated;
    size_t queued_bytes;
    struct gw_sub **subs;
    uint32_t sub_count; /* (r) subscriptions */
    uint32_t sub_allocated;
    uint32_t pending_count;     /* (r) publishes and requests that wait for the broker */
    struct gw_bucket publishes; /* limits.publish_rate */
    uint64_t stamp;             /* last message queued live, so that overlapping filters deliver once */
    uint64_t position;          /* while lagging: everything up to here was queued or isn't wanted */
    const char *lag_reason;     /* for gaps: "history" or "overflow" */
    uint64_t newest;            /* highest sequence number that was ever queued */
    struct gw_pause *pauses;    /* hub/session/pace.c */
    uint32_t pause_count;
    int64_t pace_from_ms; /* its first values wait for an interval from here; 0: they go at once */
    uint64_t losses; /* while lagging: gaps were told for what channels lost up to this key (hub/session/walk.c) */
    struct gw_told *told; /* while lagging: how far gaps were told, by channel; a hash table */
    uint32_t told_count, told_allocated;
    struct gw_fetch *fetch; /* while lagging: a past that the engine brings (hub/session/fetch.c); NULL: none */
    uint64_t fetch_to;      /* ... up to which it has to be asked; 0: it need not */
    struct gw_window_sub *windows; /* hub/windows/windows.h */
    uint32_t window_count;         /* (r) subscriptions to windows */
    uint32_t window_joins;         /* ... that are still brought up to now */
    uint32_t window_falls;         /* (r) how often it has to have windows again that had been due */
    uint64_t window_stamp;         /* of the last window that was queued live */
    struct gw_pending *pending;
    struct gw_session *next, **link;             /* the hub's list of all sessions */
    struct gw_session *next_dirty;               /* the hub's list of those to tell ready() */
    struct gw_session *next_later, **later_link; /* ... and of those to tell in the next turn; NULL: it is not */
    bool lagging;                                /* (r) */
    bool open;                                   /* (r) */
    bool kicked;                                 /* (r) */
    bool dirty;
    bool walking;   /* it goes through the sequence, not through its channels (hub/session/walk.c) */
    bool fetching;  /* it waits for the engine */
    bool unfetched; /* ... which gave nothing: what is missing is told */
    bool paced;     /* it has met a channel that is not sent in full */
    bool settled;   /* the client's cursor said that nothing was held back */
};

void gw_session_open(struct gw_session *session, struct gw_hub *hub, const struct gw_session_ops *ops);
/* Fine if it is not open. The hub holds no reference afterwards; the queue is emptied. Not from inside ready(),
 * unless ready() then returns at once. */
void gw_session_close(struct gw_session *session);

/* Its first values on channels with an interval wait for the interval, counted from this time (gw_hub_now()): for a
 * client that may just have had a value over another session. Before its first subscription. */
void gw_session_pace_from(struct gw_session *session, int64_t now_ms);

/* Who the client is from now on. NULL: nobody, which may do nothing where the gateway has auth: (a session begins
 * so). Takes a reference of its own. Subscriptions beyond the new grants end by revoked(), and what waits for the
 * session is looked through again. False: the session was ended on the way, and its transport may have freed it. */
bool gw_session_identify(struct gw_session *session, struct gw_identity *identity);

/* The client says hello, where the gateway has auth: who it is by a new token, or without one (NULL) who it is
 * already; a reference for the caller, who passes a new one to gw_session_identify(). A refusal is counted and
 * logged; *why may say what was wrong. */
GW_MUST_CHECK enum gw_err gw_session_hello(const struct gw_session *session, const char *token, size_t len,
                                           struct gw_identity **out, const char **why);

/* Where a subscription begins. */
enum gw_start_at {
    GW_START_LAST,      /* with the last values */
    GW_START_NOW,       /* with what comes */
    GW_START_CURSOR,    /* with what came after a cursor */
    GW_START_SINCE,     /* with what came at a time or later */
    GW_START_LAST_AFTER /* with the last values as of a cursor, and then everything after it */
};

/* What a subscription gets in place of messages: windows of numbers (docs/protocol.md, "Windows"). */
#define GW_AGGREGATE_FIELD_MAX 255
#define GW_AGGREGATE_MIN_MS    100
#define GW_AGGREGATE_MAX_MS    (24 * 3600 * 1000)
struct gw_aggregate {
    int64_t every_ms;                       /* how long they are; 0: none, messages are wanted */
    char field[GW_AGGREGATE_FIELD_MAX + 1]; /* JSON pointer to the number */
};
/* NULL if all is well, else what was expected. `field` as /series has it, `every` a duration. */
const char *gw_aggregate_of(struct gw_aggregate *out, const char *field, size_t field_len, const char *every,
                            size_t every_len);
/* The same out of `FIELD:EVERY`. */
const char *gw_aggregate_parse(struct gw_aggregate *out, const char *text, size_t len);
/* What struct gw_message has as `window` for windows of it; never 0. */
uint32_t gw_aggregate_id(const char *field, int64_t every_ms);

struct gw_start {
    enum gw_start_at at;
    const char *cursor; /* for GW_START_CURSOR and GW_START_LAST_AFTER: the client's text */
    size_t cursor_len;
    int64_t since_ms;    /* for GW_START_SINCE: wall clock, ms since 1970; gw_start_since() */
    int64_t interval_ms; /* at most one value a channel in this time, the last one always; 0: as the routes say */
    const struct gw_aggregate *aggregate; /* windows are wanted; NULL: messages. Not with interval_ms */
};

/* `since` as clients write it: -10m, milliseconds since 1970, or a time of RFC 3339. False: it is none of them. */
bool gw_start_since(const struct gw_hub *hub, const char *text, size_t len, struct gw_start *start);
#define GW_SINCE_EXPECTED                                                                                            \
    "since is a time: before now, such as -10m, in milliseconds since 1970, or such as 2026-11-28T10:00:00Z"

#define GW_INTERVAL_MAX_MS (3600 * 1000)

struct gw_subscribed {
    char cursor[64];   /* where the subscription stands before what follows */
    bool recovered;    /* a cursor was given and nothing after it is missing */
    uint32_t snapshot; /* last values that follow */
    uint64_t fresh_to; /* numbers up to this one bring last values only; 0: it resumes from a cursor */
    const char *why;   /* of an error: what was expected; NULL: nothing more is known */
};

/* Adds a subscription, or starts an existing one (the same text) anew. What there is to send is queued by the next
 * gw_session_catch_up(), so that the transport can put its own answer before it and several subscriptions come out
 * in one sequence order.
 * GW_ERR_BAD_REQUEST: no valid filter or cursor. GW_ERR_FORBIDDEN: beyond the grants, whether there is such a channel
 * or not; GW_ERR_UNAUTHORIZED: nobody may. GW_ERR_UNKNOWN_CHANNEL. GW_ERR_LIMIT: limits.subscriptions. */
GW_MUST_CHECK enum gw_err gw_session_subscribe(struct gw_session *session, const char *filter, size_t len,
                                               const struct gw_start *start, struct gw_subscribed *out);
void gw_session_catch_up(struct gw_session *session);
/* False if there was no such subscription. */
bool gw_session_unsubscribe(struct gw_session *session, const char *filter, size_t len);
/* The same of a subscription to these windows; `aggregate` NULL: to messages. */
bool gw_session_unsubscribe_from(struct gw_session *session, const char *filter, size_t len,
                                 const struct gw_aggregate *aggregate);

/* The next things to send, up to `most` and until they have `most_bytes`; 0 if there is nothing now. A lagging
 * session that has used up its part of the turn gets 0 too; ready() is called again in the next one. */
size_t gw_session_next_batch(struct gw_session *session, struct gw_item *items, size_t most, size_t most_bytes);
/* The transport can take more now: ready() is called at the end of the turn, once, however often this was. */
void gw_session_wake(struct gw_session *session);
/* One of them; false if there is nothing now. */
bool gw_session_next(struct gw_session *session, struct gw_item *item);
/* Queues the values that are held back by a rate policy, so that everything up to gw_session_cursor() is handed out.
 */
void gw_session_flush_held(struct gw_session *session);
/* Is there anything? May be true with nothing left where a lagging session turns out to have missed nothing. */
static inline bool gw_session_waiting(const struct gw_session *session)
{
    return session->count || session->lagging || session->window_joins;
}

/* Queues the transport's own bytes (takes the content of *text) and marks the session ready. They are not dropped at
 * the bound of the queue; at twice the bound the session is kicked with GW_ERR_SLOW. */
void gw_session_push(struct gw_session *session, struct gw_buf *text);

/* The cursor of everything that gw_session_next() has handed out so far. `settled`: also what rate policies held
 * back; the text says so where it makes a difference, by a leading zero of its number. */
size_t gw_session_cursor(const struct gw_session *session, bool settled, char out[64]);
/* The cursor of that and of what waits in the queue. */
size_t gw_session_place(const struct gw_session *session, char out[64]);

/* What comes along with a payload on its way to the broker; a broker that speaks MQTT 3.1.1 gets none of it. */
struct gw_along {
    struct gw_slice properties; /* a block of properties.h, whose response topic is a channel */
    bool expires;
    uint32_t expiry; /* seconds, if `expires` */
};

#define GW_KEY_MAX 255

/* A publish, or a request: a publish that asks for an answer (MQTT 5 request/response). */
struct gw_command {
    const char *channel;
    size_t channel_len;
    const char *data;
    size_t data_len;
    bool json;                    /* `data` is JSON text as in the protocol, not the payload */
    bool request;                 /* an answer is wanted */
    int64_t timeout_ms;           /* ... within this time; -1: broker.request_timeout */
    bool confirm;                 /* confirmed() is to tell when the device's state shows it */
    const struct gw_along *along; /* NULL: nothing */
    struct gw_slice key; /* of 1 to GW_KEY_MAX bytes: a repeat of the same identity with the same key on the same
                            channel is not published, and gets the same receipt; data NULL: none. Neither that nor
                            `confirm` goes with `request` */
    char *reference;     /* malloc'd; the hub's from here on, whatever happens; NULL is fine */
    /* Filled: */
    bool accepted;   /* QoS 0: it was sent, and published() is not called; with `confirm` confirmed() still comes */
    const char *why; /* on error: what was expected; static, or NULL */
};

/* Publishes; nothing of *command but its reference is kept. GW_OK: published() will be called once, of a request that
 * is answered response() in its place, unless the session is closed before.
 *
 * GW_ERR_FORBIDDEN, GW_ERR_BAD_REQUEST and GW_ERR_UNKNOWN_CHANNEL may be about the response topic in `along`: one
 * that the client may publish to itself is expected, so that no device is made to publish where the client may not,
 * and one whose messages come to the channel. GW_ERR_UNSUPPORTED: a request over MQTT 3.1.1, or the route confirms
 * nothing; then nothing was sent. */
GW_MUST_CHECK enum gw_err gw_session_publish(struct gw_session *session, struct gw_command *command);

#define GW_REQUEST_MAX_MS (300 * 1000)

/* --- items as bytes -------------------------------------------------------------------------------------------- */

#define GW_PARTS_MAX 5

/* Says what to send for an item: fills parts and returns how many. They must stay valid until the item is released;
 * an item may be replaced by a text item of the transport's own (gw_item_set_text()). A message must always give the
 * same bytes, whoever gets it: sessions that get the same messages one after the other share them. */
typedef size_t (*gw_encode)(struct gw_item *item, struct iovec parts[GW_PARTS_MAX]);

#endif
