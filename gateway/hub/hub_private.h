/* hub_private.h: the state of a hub, for the files of hub/. Each subject has a header of its own. */
#ifndef GW_HUB_HUB_PRIVATE_H
#define GW_HUB_HUB_PRIVATE_H

#include <assert.h>
#include <pthread.h>

#include "gateway/auth.h"
#include "gateway/hub.h"
#include "gateway/timer.h"
#include "gateway/upstream.h"
#include "hub/channel/channel.h"
#include "hub/moments.h"
#include "hub/publish/confirm.h"
#include "hub/session/fetch.h"
#include "hub/session/giveback.h"
#include "hub/session/pace.h"
#include "hub/slice.h"
#include "hub/stats.h"
#include "hub/windows/windows.h"
#include "message/cursor.h"

struct gw_hub {
    struct gw_config *config;
    struct gw_routes *routes;
    struct gw_auth *auth;      /* NULL: everybody may do everything */
    struct gw_grants *nothing; /* of those who are not known yet */
    struct gw_upstream upstream;
    struct gw_mail mail;
    struct gw_state_watch watch;
    const struct gw_engine_shared *sharing; /* NULL: this gateway is alone */
    struct gw_engine_store *sharing_store;
    struct gw_upstream_state state;
    struct gw_timers *timers;
    struct gw_stats stats;
    char epoch[GW_EPOCH_MAX + 1];
    uint32_t worker;
    uint64_t head;                  /* newest sequence number seen */
    const struct gw_engine *keeper; /* NULL: this hub tells no engine of its messages */
    struct gw_engine_store *store;
    const struct gw_presence **presences; /* of the start, hub/session/presence.c; NULL: none */
    size_t unflushed;                     /* bytes of the messages since the last gw_hub_flush() */
    uint64_t mark;                        /* of the last walk over channels */
    uint64_t next_session;
    int64_t now_ms, wall_ms;
    struct gw_channels channels;
    struct gw_table pauses; /* hub/session/pace.c */
    struct gw_moments moments;
    struct gw_arrivals arrivals;
    struct gw_giveback giveback;
    struct gw_slices slices;
    struct gw_fetches fetches;
    const struct gw_engine *series_engine; /* NULL: it rolls nothing up */
    struct gw_engine_store *series_store;
    struct gw_series *series_catching; /* charts that need what comes in now */
    uint32_t series_count;             /* charts that are being made */
    int64_t started_ms;                /* wall clock */
    struct gw_stored_ask *stored_ask;  /* NULL: none is being answered */
    uint32_t stored_slot;              /* ... the next channel to be looked at */
    uint64_t filters_at;           /* counts filters that came or went without being tied to every channel at once */
    int64_t queues_due_ms;         /* when the sessions' queues are measured again */
    struct gw_topic_tree *filters; /* text -> struct gw_filter */
    struct gw_session *sessions;
    struct gw_session *dirty, **dirty_end;
    struct gw_pending **pending; /* by slot */
    uint32_t pending_slots, pending_count;
    uint32_t pending_generation;
    struct gw_confirms confirms;
    struct gw_windows windows;
    struct gw_repeats *repeats;         /* of all workers; NULL: no idempotency keys */
    struct gw_route_stats *route_stats; /* likewise; NULL: none */
    pthread_t thread;
    bool thread_known;
};

/* The loop's thread is learnt at the first tick. */
#define GW_ASSERT_LOOP(hub) assert(!(hub)->thread_known || pthread_equal(pthread_self(), (hub)->thread))

/* hub.c: is the message no news after `last`, the channel's last value (NULL: none)? */
bool gw_hub_repeats(const struct gw_message *last, const struct gw_message *msg);
bool gw_hub_unchanged(const struct gw_routes *routes, uint32_t route, const struct gw_message *last,
                      const struct gw_message *msg);

/* The channel in that slot; NULL: none. */
static inline struct gw_channel *gw_channel_at(const struct gw_hub *hub, uint32_t slot)
{
    return hub->channels.slots[slot];
}

#endif
