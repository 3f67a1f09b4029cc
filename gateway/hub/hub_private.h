/* hub_private.h: what the files of the hub share: hub, access, channel, keep, session, giveback, subscribe, catchup,
 * pace, publish and stats. Nobody else includes it. */
#ifndef GW_HUB_HUB_PRIVATE_H
#define GW_HUB_HUB_PRIVATE_H

#include <assert.h>
#include <pthread.h>

#include "base/timer.h"
#include "gateway/auth.h"
#include "gateway/hub.h"
#include "gateway/session.h"
#include "hub/inbox.h"
#include "hub/order.h"
#include "hub/stored.h"
#include "message/cursor.h"
#include "route/routes.h"
#include "topic/topic_tree.h"

/* A distinct filter (or plain channel name) that somebody subscribes to. Shared by all its subscribers, so that a
 * channel refers to filters and not to sessions: 1,000 dashboards on `#` cost one entry a channel. */
struct gw_filter {
    char *text;
    size_t len;
    bool wildcard;
    struct gw_sub **subs;
    uint32_t count, allocated;
    uint64_t mark;         /* of the last round of a session that subscribes to it ... */
    struct gw_sub *marked; /* ... and its subscription */
};

struct gw_sub {
    struct gw_filter *filter;
    struct gw_session *session;
    uint32_t index;   /* in filter->subs */
    char *epoch_from; /* the client's cursor, of another epoch or of a past that it may not see: tell it by gaps, then
                       * the last values; else NULL */
    const char *epoch_reason; /* of these gaps */
    uint64_t from;            /* the client wants what comes after */
    uint64_t position;        /* while the session lags: (from, position] was queued or isn't wanted */
    uint64_t fresh_to;        /* up to here only last values are wanted; 0: it resumed from a cursor */
    int64_t interval_ms;      /* the client asked for at most one value a channel in this time; 0: for all */
    int64_t doubt_ns;        /* it resumed, and values that came after this may have been held; INT64_MAX: no doubt */
    uint64_t forgotten_told; /* it was told of channels that were forgotten whole up to here */
    bool epoch_told;         /* ... and of the other epoch, as a gap of the whole filter */
};

/* A gap that a lagging session was told of a channel ended here. */
struct gw_told {
    uint64_t hash; /* of the channel's name */
    uint64_t to;
};

/* What somebody gets of a channel, remembered for those who asked lately. */
#define GW_VIEWS 4
struct gw_view {
    struct gw_grants *grants;         /* a reference, so that the address stays theirs */
    struct gw_projection *projection; /* theirs; NULL: all of it */
    bool allowed;
};

/* There may be a million of them. */
struct gw_channel {
    uint64_t hash;
    struct gw_channel *hash_next;
    struct gw_message *last; /* NULL: none yet, or cleared */
    uint64_t last_seq;       /* of the newest message, a clearing one included */
    uint64_t before_last;    /* of the one before it */
    uint64_t lost; /* messages up to here may be missing, whatever the engine says: the last process was killed */
    uint64_t kept_evicted; /* what the store knows of engine->evicted() */
    const struct gw_history_engine *engine;
    struct gw_history *history; /* NULL: none kept */
    struct gw_filter **filters; /* those that match the name, if filters_at is the hub's: gw_channel_filters() */
    uint32_t filter_count, filter_allocated;
    uint32_t slot;                    /* its place in gw_channels.slots */
    uint32_t policy_at;               /* gw_channels.policy_at when its route was looked up */
    uint64_t filters_at;              /* gw_hub.filters_at when they were collected */
    uint64_t loss_to;                 /* its newest loss that is in gw_channels.losses ends here ... */
    uint64_t loss_key;                /* ... and has this key */
    uint64_t number;                  /* never used again, for pauses */
    int64_t interval_ms;              /* of the route's rate policy; 0: every message counts */
    struct gw_view *views;            /* of GW_VIEWS; NULL until somebody with grants asks */
    uint64_t visited;                 /* mark of the last gw_channel walk that met it */
    struct gw_channel *older, *newer; /* all channels, by last message */
    struct gw_channel *older_history, *newer_history; /* those that keep history, by last message */
    uint32_t route;    /* index into hub->routes; whose policy holds; GW_ROUTE_BY_NAME: none makes it any more */
    uint8_t next_view; /* to be replaced */
    bool stored;       /* the broker keeps a value of it, so far as is known */
    bool in_history;
    uint16_t len;
    char name[]; /* NUL-terminated */
};

struct gw_channel_list {
    struct gw_channel *oldest, *newest;
};

struct gw_channels {
    struct gw_channel **table; /* by hash, a power of two */
    size_t buckets, count;
    struct gw_topic_tree *names; /* name -> struct gw_channel */
    struct gw_channel_list all, with_history;
    size_t history_bytes;
    uint64_t forgotten;        /* newest sequence number of any channel that was evicted whole */
    uint64_t lost;             /* of every channel messages up to here may be missing */
    uint64_t made;             /* channels so far */
    struct gw_channel **slots; /* every channel at its slot; NULL: free */
    uint32_t slot_count, slot_allocated;
    uint32_t *free_slots; /* as many places as slots */
    uint32_t free_count;
    struct gw_order messages; /* key: sequence number of a message that a history holds or that is a last value */
    struct gw_order losses;   /* key: gw_loss_key(); one for each channel that has lost messages */
    uint32_t policy_at;       /* counts reloads */
    uint32_t policy_slot;     /* channels in slots before it have met the newest reload */
};

/* All pauses of a hub, by session and channel (pace.c). */
struct gw_pauses {
    struct gw_pause **table; /* a power of two */
    size_t buckets, count;
};

/* When which sequence number came, roughly: a ring of samples. */
#define GW_MOMENTS   512
#define GW_MOMENT_NS 50000000 /* at least so far apart */
struct gw_moments {
    struct {
        uint64_t seq;
        int64_t born_ns;
    } ring[GW_MOMENTS];
    uint64_t count;
};

/* Arrival times of the messages that were queued live since the last flush. Messages that came within GW_ARRIVAL_NS
 * of each other share an entry, with the time of the first; when all are taken, the last one takes the rest. */
#define GW_ARRIVALS   1024
#define GW_ARRIVAL_NS 20000
struct gw_arrivals {
    struct {
        int64_t born_ns;
        uint64_t messages;
    } ring[GW_ARRIVALS];
    uint32_t count;
};

/* References to messages that sessions are done with (giveback.c). */
#define GW_GIVEBACK_SLOTS 1024
struct gw_returned {
    struct gw_message *msg; /* NULL: free */
    uint32_t count;
};
struct gw_giveback {
    struct gw_returned slots[GW_GIVEBACK_SLOTS];
    uint16_t used[GW_GIVEBACK_SLOTS]; /* those that are not free */
    uint32_t used_count;
};

/* What one turn of the loop may cost (slice.c): about one unit for each channel or message that is looked at. */
struct gw_slices {
    int32_t work;                          /* units left until the next gw_hub_flush() */
    int32_t turn;                          /* what a flush gives */
    uint32_t slice;                        /* entries that one session's slice looks at, at most */
    uint32_t direct;                       /* names that are looked at before a session walks the sequence instead */
    uint32_t near;                         /* so few messages are always walked */
    uint32_t attach;                       /* names that a new filter is tied to at once */
    int64_t send_bytes;                    /* of large messages, left until the next flush */
    struct gw_session *later, **later_end; /* those that go on in the next flush */
};

struct gw_hub {
    struct gw_config *config;
    struct gw_routes *routes;
    struct gw_auth *auth;      /* NULL: everybody may do everything */
    struct gw_grants *nothing; /* of those who are not known yet */
    struct gw_upstream upstream;
    struct gw_mail mail;
    struct gw_upstream_state state;
    struct gw_timers *timers;
    struct gw_stats stats;
    char epoch[GW_EPOCH_MAX + 1];
    uint32_t worker;
    uint64_t head;                  /* newest sequence number seen */
    const struct gw_engine *keeper; /* NULL: this hub tells no engine of its messages */
    struct gw_engine_store *store;
    const struct gw_presence **presences; /* of the start, hub/presence.c; NULL: none */
    size_t unflushed;                     /* bytes of the messages since the last gw_hub_flush() */
    uint64_t mark;                        /* of the last walk over channels */
    uint64_t next_session;
    int64_t now_ms, wall_ms;
    struct gw_channels channels;
    struct gw_pauses pauses;
    struct gw_moments moments;
    struct gw_arrivals arrivals;
    struct gw_giveback giveback;
    struct gw_slices slices;
    struct gw_stored_ask *stored_ask; /* NULL: none is being answered */
    uint32_t stored_slot;             /* ... the next channel to be looked at */
    uint64_t filters_at;           /* counts filters that came or went without being tied to every channel at once */
    int64_t queues_due_ms;         /* when the sessions' queues are measured again */
    struct gw_topic_tree *filters; /* text -> struct gw_filter */
    struct gw_session *sessions;
    struct gw_session *dirty, **dirty_end;
    struct gw_pending **pending; /* by slot */
    uint32_t pending_slots, pending_count;
    uint32_t pending_generation;
    pthread_t thread;
    bool thread_known;
};

/* The loop's thread is learnt at the first tick. */
#define GW_ASSERT_LOOP(hub) assert(!(hub)->thread_known || pthread_equal(pthread_self(), (hub)->thread))

/* hub.c: the latest sampled time at or before the message of that number came; INT64_MIN if that is too long ago. */
/* Is the message no news after `last`, the channel's last value (NULL: none)? */
bool gw_hub_repeats(const struct gw_message *last, const struct gw_message *msg);
bool gw_hub_unchanged(const struct gw_routes *routes, uint32_t route, const struct gw_message *last,
                      const struct gw_message *msg);

int64_t gw_hub_moment(const struct gw_hub *hub, uint64_t seq);

/* access.c */
/* What the channel's message looks like to somebody with these grants: itself, a projection of it (borrowed from it),
 * or NULL if it is none of their business. grants NULL: itself. */
struct gw_message *gw_channel_show(const struct gw_hub *hub, struct gw_channel *channel,
                                   const struct gw_grants *grants, struct gw_message *msg);
bool gw_channel_visible(struct gw_channel *channel, const struct gw_grants *grants);
void gw_channel_forget_views(struct gw_channel *channel);
/* GW_OK, GW_ERR_FORBIDDEN, or GW_ERR_UNAUTHORIZED for somebody who is not known. */
enum gw_err gw_session_check(const struct gw_session *session, enum gw_right right, const char *filter, size_t len);
/* The session is being closed. */
void gw_session_forget_identity(struct gw_session *session);
/* After a reload: every session's identity again. */
void gw_hub_identify_again(struct gw_hub *hub);

/* channel.c */
void gw_channels_init(struct gw_channels *channels);
void gw_channels_fini(struct gw_channels *channels);
struct gw_channel *gw_channel_find(const struct gw_hub *hub, const char *name, size_t len, uint64_t hash);
/* The channel a message belongs to, made if it is new; evicts the longest silent one at limits.channels. NULL: its
 * route has to be found by name, and there is none. */
struct gw_channel *gw_channel_of(struct gw_hub *hub, const struct gw_message *msg);
/* Into last value and history. */
void gw_channel_append(struct gw_hub *hub, struct gw_channel *channel, struct gw_message *msg);
/* Applies age to its history. */
void gw_channel_expire(struct gw_hub *hub, struct gw_channel *channel);
/* Newest sequence number that its history no longer has. */
uint64_t gw_channel_evicted(const struct gw_channel *channel);
/* ... or that were in it and are not for some other reason. */
uint64_t gw_channel_missing(const struct gw_channel *channel);
/* A channel as the store knew it, without messages yet; and one of them. */
void gw_channel_restore(struct gw_hub *hub, const struct gw_engine_channel *kept, uint32_t route, uint64_t lost);
void gw_channel_restore_message(struct gw_hub *hub, const struct gw_engine_channel *kept, struct gw_message *msg);
/* After the last of them. */
void gw_channels_restored(struct gw_hub *hub);
/* Numbers up to `to` that have not come will never come, whichever channel they were for. */
void gw_channels_lost(struct gw_hub *hub, uint64_t to);
/* Every channel is forgotten, and so is that there were any. */
void gw_channels_begin_anew(struct gw_hub *hub);
/* New limits after a reload. */
void gw_channels_relimit(struct gw_hub *hub);
/* Visits the channels that the filter matches, until *steps names have been looked at; false: there may be more. */
typedef bool (*gw_channel_visit)(void *context, void *channel);
bool gw_channels_match(struct gw_hub *hub, const struct gw_filter *filter, size_t *steps, gw_channel_visit visit,
                       void *context);
/* Its filters are those that match it now. */
void gw_channel_filters(struct gw_hub *hub, struct gw_channel *channel);
/* The channel in that slot; NULL: none. */
static inline struct gw_channel *gw_channel_at(const struct gw_hub *hub, uint32_t slot)
{
    return hub->channels.slots[slot];
}
/* Losses that may concern somebody at that position have keys above this. */
#define GW_LOSS_BITS 20
static inline uint64_t gw_loss_key(uint64_t position)
{
    return position << GW_LOSS_BITS | ((1u << GW_LOSS_BITS) - 1);
}
/* Goes on with what a reload left to do. */
void gw_channels_work(struct gw_hub *hub);
/* A filter comes or goes: ties it to the channels that it matches. */
void gw_channels_attach(struct gw_hub *hub, struct gw_filter *filter);
void gw_channels_detach(struct gw_hub *hub, struct gw_filter *filter);

/* keep.c: nothing happens where the channel's history is not kept, or the hub tells no engine. */
/* The channel got this message. */
void gw_channel_keep(struct gw_hub *hub, struct gw_channel *channel, struct gw_message *msg);
/* Its history may have become shorter. */
void gw_channel_keep_bounds(struct gw_hub *hub, struct gw_channel *channel);
/* It is kept from now on; or not any more (whole: nothing knows it any more). */
void gw_channel_keep_all(struct gw_hub *hub, struct gw_channel *channel);
void gw_channel_keep_no_more(struct gw_hub *hub, struct gw_channel *channel, bool whole);

/* lost.c: GW_EVENT_LOST and GW_EVENT_EPOCH. Clients are told by gaps; those of another epoch have to come back. */
void gw_hub_lost(struct gw_hub *hub, uint64_t to);
void gw_hub_new_epoch(struct gw_hub *hub, const char *epoch);

/* session.c */
/* Queues a live message. Thread: the loop's. This is the hot path of fan-out. True: it was queued, and the caller
 * must take a reference for it before anything else happens; several together is fine. */
GW_MUST_CHECK bool gw_session_take(struct gw_session *session, struct gw_message *msg);
/* ... with the reference. */
void gw_session_deliver(struct gw_session *session, struct gw_message *msg);
/* Queues a message whatever waits; one that is late gets the cursor of the newest before it. */
void gw_session_queue(struct gw_session *session, struct gw_message *msg);
bool gw_session_has_room(const struct gw_session *session);
/* Nothing is queued live any more; every subscription stands at `position`, or where it wants to begin. `reason` of
 * gaps. */
void gw_session_lag_from(struct gw_session *session, uint64_t position, const char *reason);
void gw_session_forget_told(struct gw_session *session);
void gw_session_put(struct gw_session *session, const struct gw_item *item, size_t bytes);
/* An idle session is back to its small size, however busy it once was: once a second, as busy ones would grow again
 * at once. */
void gw_session_shrink(struct gw_session *session);
void gw_session_mark_dirty(struct gw_session *session);
void gw_session_kick(struct gw_session *session, enum gw_err why);
/* Looks at every message that waits: `show` returns what is to be sent in its place, borrowed, or NULL. */
void gw_session_review(struct gw_session *session,
                       struct gw_message *(*show)(struct gw_session *, struct gw_message *));
void gw_pace_review(struct gw_session *session, struct gw_message *(*show)(struct gw_session *, struct gw_message *));
struct gw_gap *gw_gap_create(const char *channel, size_t len, const char *from, const char *to, const char *reason);

/* giveback.c: all that is noted there. */
void gw_giveback_all(struct gw_giveback *giveback);

/* slice.c */
void gw_slices_init(struct gw_slices *slices);
/* Takes so many units. False: none were left. */
bool gw_slice_take(struct gw_hub *hub, uint32_t units);
/* Messages from this size on are handed to the kernel by bytes a turn. */
#define GW_LARGE_BYTES (16 * 1024)
/* The session is about to send so much. False: not in this turn; it is told ready() in the next one. */
bool gw_slice_send(struct gw_session *session, size_t bytes);
/* The session has more to do than its turn allows: ready() in the next flush, after those who wait already. */
void gw_session_later(struct gw_session *session);
void gw_session_not_later(struct gw_session *session);
/* A flush begins: new units. */
void gw_slices_begin(struct gw_hub *hub);
/* ready() of those who wait, as far as the units reach. */
void gw_slices_resume(struct gw_hub *hub);

/* stored.c: takes the question; goes on with it; gives it back unanswered, for the routes have changed. */
void gw_hub_stored_ask(struct gw_hub *hub, struct gw_stored_ask *ask);
void gw_hub_stored_work(struct gw_hub *hub);
void gw_hub_stored_break_off(struct gw_hub *hub);

/* subscribe.c: gives up the subscription, and its filter with the last one. */
void gw_sub_free(struct gw_hub *hub, struct gw_sub *sub);

/* pace.c */
void gw_pauses_init(struct gw_pauses *pauses);
void gw_pauses_fini(struct gw_pauses *pauses);
/* Queues a live message now or at the end of the channel's pause. */
void gw_pace_deliver(struct gw_session *session, const struct gw_channel *channel, struct gw_message *msg,
                     int64_t interval_ms);
/* The channel's last value is to be sent while catching up. True: it is held instead, for a session that begins
 * paced; false: what was held is superseded. */
bool gw_pace_catch_up(struct gw_session *session, const struct gw_channel *channel, struct gw_message *msg,
                      int64_t interval_ms);
void gw_pace_drop(struct gw_session *session);
/* The pace at which the session gets the channel: its fastest subscription's, but never faster than the route's. 0:
 * all. */
int64_t gw_session_interval(const struct gw_session *session, const struct gw_channel *channel);

/* stats.c */
void gw_stats_session_opened(struct gw_stats *stats, const char *transport);
void gw_stats_session_closed(struct gw_stats *stats, const char *transport);
void gw_stats_gap(struct gw_stats *stats, const char *reason);
/* enum gw_outcome or enum gw_err. */
void gw_stats_publish(struct gw_stats *stats, unsigned outcome);
/* A message was queued for somebody. */
void gw_stats_arrived(struct gw_arrivals *arrivals, int64_t born_ns);
/* After every flush. */
void gw_stats_flushed(struct gw_hub *hub);

/* publish.c */
/* Takes the response's payload. */
void gw_hub_respond(struct gw_hub *hub, struct gw_response *response);
void gw_hub_settle(struct gw_hub *hub, const struct gw_publish_result *result);
void gw_pending_drop(struct gw_session *session);

#endif
