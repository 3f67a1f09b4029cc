/* states.c: what was told of the channels' states, and who hears of it.
 *
 * The newest state of a channel is kept beside its last value, in no history. It has its place in the sequence, so
 * that whoever catches up gets it there (round.c); one that has been replaced is not missing. */
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/hub.h"
#include "hub/channel/channel.h"
#include "hub/channel/views.h"
#include "hub/hub_private.h"
#include "hub/session/queue.h"
#include "hub/session/subscription.h"
#include "route/routes.h"

void gw_channel_forget_state(struct gw_channels *channels, const struct gw_channel *channel)
{
    if (channel->slot >= channels->state_allocated)
        return;
    gw_message_unref(channels->states[channel->slot]);
    channels->states[channel->slot] = NULL;
}

void gw_channel_keep_state(struct gw_channels *channels, const struct gw_channel *channel, struct gw_message *msg)
{
    if (channel->slot >= channels->state_allocated) {
        uint32_t before = channels->state_allocated;
        channels->state_allocated = channels->slot_allocated;
        channels->states = gw_reallocarray(channels->states, channels->state_allocated, sizeof(struct gw_message *));
        memset(channels->states + before, 0, (channels->state_allocated - before) * sizeof(struct gw_message *));
    }
    gw_channel_forget_state(channels, channel);
    channels->states[channel->slot] = gw_message_ref(msg);
}

static void state_fan_out(struct gw_hub *hub, struct gw_channel *channel, struct gw_message *msg)
{
    gw_channel_filters(hub, channel);
    for (uint32_t i = 0; i < channel->filter_count; i++) {
        const struct gw_filter *filter = channel->filters[i];
        for (uint32_t j = 0; j < filter->count; j++) {
            const struct gw_sub *sub = filter->subs[j];
            struct gw_session *session = sub->session;
            if (session->stamp == msg->seq || msg->seq <= sub->from || !session->ops->states)
                continue;
            if (gw_channel_visible(channel, session->grants))
                gw_session_deliver(session, msg);
        }
    }
}

void gw_hub_on_state(struct gw_hub *hub, struct gw_message *msg)
{
    struct gw_channels *channels = &hub->channels;
    struct gw_channel *channel = gw_channel_find(hub, msg->channel.data, msg->channel.len, msg->hash);
    hub->head = msg->seq;
    if (!channel || !channel->last)
        return; /* it was forgotten, or cleared while the state was on its way */
    hub->unflushed += msg->text.len;
    gw_channel_keep_state(channels, channel, msg);
    gw_order_add(&channels->messages, msg->seq, channel->slot | GW_SLOT_STATE);
    GW_STAT_ADD(&hub->stats, states, 1);
    state_fan_out(hub, channel, msg);
}

static bool channel_is_watched(const struct gw_hub *hub, const struct gw_channel *channel)
{
    const struct gw_cfg_route *route = gw_routes_get(hub->routes, channel->route);
    return route && (route->stale_ms || route->available_topic);
}

void gw_channel_found(struct gw_hub *hub, const struct gw_channel *channel, enum gw_state told)
{
    const struct gw_message *state = gw_channel_state(&hub->channels, channel);
    if (hub->worker || !hub->watch.found || !channel->last || !channel_is_watched(hub, channel))
        return;
    hub->watch.found(hub->watch.context, channel->last, state ? (enum gw_state)state->state : told);
}

void gw_hub_tell_found(struct gw_hub *hub, enum gw_state told)
{
    for (uint32_t slot = 0; slot < hub->channels.slot_count; slot++) {
        const struct gw_channel *channel = gw_channel_at(hub, slot);
        if (channel)
            gw_channel_found(hub, channel, told);
    }
}

enum gw_state gw_hub_state(const struct gw_hub *hub, const struct gw_message *msg)
{
    const struct gw_channel *channel = gw_channel_find(hub, msg->channel.data, msg->channel.len, msg->hash);
    const struct gw_message *state = channel ? gw_channel_state(&hub->channels, channel) : NULL;
    return state ? (enum gw_state)state->state : GW_STATE_NONE;
}

void gw_hub_add_state(const struct gw_hub *hub, const struct gw_message *last, struct gw_buf *out)
{
    const struct gw_channel *channel = gw_channel_find(hub, last->channel.data, last->channel.len, last->hash);
    const struct gw_message *state = channel ? gw_channel_state(&hub->channels, channel) : NULL;
    if (state) {
        struct gw_slice members = gw_message_status(state);
        gw_buf_add(out, members.data, members.len);
    } else if (channel && channel_is_watched(hub, channel)) {
        gw_buf_adds(out, ",\"state\":\"live\"");
    }
}
