/* history.h: the history of a channel. One that has had a single message, as most of a million retained ones, has no
 * instance of its engine (channel->history is NULL): its last value is all of it. Thread: the loop's. */
#ifndef GW_HUB_CHANNEL_HISTORY_H
#define GW_HUB_CHANNEL_HISTORY_H

#include "hub/channel/channel.h"

struct gw_cfg_route;

/* Of a new channel, whose messages up to `evicted` are gone. */
void gw_channel_history_begin(struct gw_channel *channel, const struct gw_cfg_route *policy, uint64_t evicted);
/* A route's bounds, or its other engine, after a reload. */
void gw_channel_history_limit(struct gw_hub *hub, struct gw_channel *channel, const struct gw_cfg_route *policy);
/* To be called before the message becomes the last value. */
void gw_channel_history_append(struct gw_hub *hub, struct gw_channel *channel, struct gw_message *msg);
void gw_channel_history_expire(struct gw_hub *hub, struct gw_channel *channel);
/* Everything goes. */
void gw_channel_history_drop(struct gw_hub *hub, struct gw_channel *channel);
void gw_channel_history_read(const struct gw_channel *channel, uint64_t after, gw_history_visit visit, void *context);
size_t gw_channel_history_count(const struct gw_channel *channel);
size_t gw_channel_history_bytes(const struct gw_channel *channel);

static inline uint64_t gw_channel_history_evicted(const struct gw_channel *channel)
{
    return channel->history ? channel->engine->evicted(channel->history) : 0;
}

#endif
