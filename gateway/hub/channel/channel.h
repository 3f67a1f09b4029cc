/* channel.h: the channels of a hub: last values, histories, what was lost of them (channel.c), and the filters that
 * match them (ties.c). Thread: the loop's. */
#ifndef GW_HUB_CHANNEL_CHANNEL_H
#define GW_HUB_CHANNEL_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/engine.h"
#include "gateway/history.h"
#include "gateway/message.h"
#include "gateway/table.h"
#include "hub/channel/order.h"

struct gw_filter;
struct gw_grants;
struct gw_hub;
struct gw_projection;
struct gw_topic_tree;

/* What somebody gets of a channel, remembered for those who asked lately. */
#define GW_VIEWS 4
struct gw_view {
    struct gw_grants *grants;         /* a reference, so that the address stays theirs */
    struct gw_projection *projection; /* theirs; NULL: all of it */
    bool allowed;
};

/* What was lost of a channel. Most have lost nothing, and have none of this. */
struct gw_channel_losses {
    uint64_t lost; /* messages up to here may be missing, whatever the engine says: the last process was killed */
    uint64_t kept_evicted; /* what the store knows of engine->evicted() */
    uint64_t to;           /* its newest loss that is in gw_channels.losses ends here ... */
    uint64_t key;          /* ... and has this key */
};

/* There may be a million of them. */
struct gw_channel {
    struct gw_table_item item;        /* first member */
    struct gw_message *last;          /* NULL: none yet, or cleared */
    uint64_t last_seq;                /* of the newest message, a clearing one included */
    uint64_t before_last;             /* of the one before it */
    struct gw_channel_losses *losses; /* NULL: all zeros; gw_channel_losses() */
    const struct gw_history_engine *engine;
    struct gw_history *history; /* NULL: it would hold `last` alone, hub/channel/history.h */
    struct gw_filter **filters; /* those that match the name, if filters_at is the hub's: gw_channel_filters() */
    uint32_t filter_count, filter_allocated;
    uint32_t slot;                         /* its place in gw_channels.slots */
    uint32_t policy_at;                    /* gw_channels.policy_at when its route was looked up */
    uint64_t filters_at;                   /* gw_hub.filters_at when they were collected */
    uint64_t number;                       /* never used again, for pauses */
    int64_t interval_ms;                   /* of the route's rate policy; 0: every message counts */
    struct gw_view *views;                 /* of GW_VIEWS; NULL until somebody with grants asks */
    uint64_t visited;                      /* mark of the last gw_channel walk that met it */
    struct gw_channel *older, *newer;      /* all channels, by last message */
    uint32_t older_history, newer_history; /* those that keep history, by last message: slot + 1; 0: none */
    uint32_t route;    /* index into hub->routes; whose policy holds; GW_ROUTE_BY_NAME: none makes it any more */
    uint8_t next_view; /* to be replaced */
    bool stored;       /* the broker keeps a value of it, so far as is known */
    bool in_history;
    bool rolled; /* the store was told of a rollup, or has one from before */
    uint16_t len;
    char name[]; /* NUL-terminated */
};

struct gw_channel_list {
    struct gw_channel *oldest, *newest;
};

struct gw_channels {
    struct gw_table table;       /* by hash of the name */
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
    struct gw_message **states; /* what was told of the channel at each slot, hub/states.c; NULL: nothing */
    uint32_t state_allocated;   /* slots in it; 0: none was ever told of a state */
    struct gw_order messages;   /* key: sequence number of a message that a history holds or that is a last value, or,
                                 * with GW_SLOT_STATE in its slot, of a state */
    struct gw_order losses;     /* key: gw_loss_key(); one for each channel that has lost messages */
    uint32_t policy_at;         /* counts reloads */
    uint32_t policy_slot;       /* channels in slots before it have met the newest reload */
};

/* In gw_channels.messages: it is the state of the channel at the slot without it. */
#define GW_SLOT_STATE (1u << 31)

/* --- states.c --- */

/* What was told last of the channel's state, borrowed; NULL: nothing, so it is live as far as its route says. */
static inline struct gw_message *gw_channel_state(const struct gw_channels *channels,
                                                  const struct gw_channel *channel)
{
    return channel->slot < channels->state_allocated ? channels->states[channel->slot] : NULL;
}
/* It has none any more. */
void gw_channel_forget_state(struct gw_channels *channels, const struct gw_channel *channel);
/* Keeps it, in the place of the one before; takes a reference of its own. */
void gw_channel_keep_state(struct gw_channels *channels, const struct gw_channel *channel, struct gw_message *msg);
/* Tells who watches states of the channel, if there is anything to watch. */
void gw_channel_found(struct gw_hub *hub, const struct gw_channel *channel, enum gw_state told);
/* A state comes in: to the channel, if there is one of that name, and to its sessions. */
void gw_hub_on_state(struct gw_hub *hub, struct gw_message *msg);

/* --- channel.c --- */

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
/* A channel as the store knew it, without messages yet; and one of them. */
void gw_channel_restore(struct gw_hub *hub, const struct gw_engine_channel *kept, uint32_t route, uint64_t lost);
void gw_channel_restore_message(struct gw_hub *hub, const struct gw_engine_channel *kept, struct gw_message *msg);
/* After the last of them. */
void gw_channels_restored(struct gw_hub *hub);
/* Every channel is forgotten, and so is that there were any. */
void gw_channels_begin_anew(struct gw_hub *hub);
/* New limits after a reload. */
void gw_channels_relimit(struct gw_hub *hub);
/* Goes on with what a reload left to do. */
void gw_channels_work(struct gw_hub *hub);

/* --- losses.c --- */

/* Newest sequence number that its history no longer has. */
uint64_t gw_channel_evicted(const struct gw_channel *channel);
/* ... or that were in it and are not for some other reason. */
uint64_t gw_channel_missing(const struct gw_channel *channel);
static inline struct gw_channel_losses gw_channel_losses(const struct gw_channel *channel)
{
    return channel->losses ? *channel->losses : (struct gw_channel_losses){0};
}
/* To be changed. */
struct gw_channel_losses *gw_channel_note_losses(struct gw_channel *channel);
/* To be called after whatever may have made the channel lose messages. The key is never below the number of what was
 * lost, so whoever is past a key has nothing to fear from it. */
void gw_channel_note_loss(struct gw_hub *hub, struct gw_channel *channel);
/* For gw_order_init(): is it still the channel's newest loss? */
bool gw_channel_has_loss(const void *context, uint64_t key, uint32_t slot);
/* Numbers up to `to` that have not come will never come, whichever channel they were for. */
void gw_channels_lost(struct gw_hub *hub, uint64_t to);
/* Losses that may concern somebody at that position have keys above this. */
#define GW_LOSS_BITS 20
static inline uint64_t gw_loss_key(uint64_t position)
{
    return position << GW_LOSS_BITS | ((1u << GW_LOSS_BITS) - 1);
}

/* --- ties.c --- */

/* Visits the channels that the filter matches, until *steps names have been looked at; false: there may be more. */
typedef bool (*gw_channel_visit)(void *context, void *channel);
bool gw_channels_match(struct gw_hub *hub, const struct gw_filter *filter, size_t *steps, gw_channel_visit visit,
                       void *context);
/* Its filters are those that match it now. */
void gw_channel_filters(struct gw_hub *hub, struct gw_channel *channel);
/* A filter comes or goes: ties it to the channels that it matches. */
void gw_channels_attach(struct gw_hub *hub, struct gw_filter *filter);
void gw_channels_detach(struct gw_hub *hub, struct gw_filter *filter);

#endif
