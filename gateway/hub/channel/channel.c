/* channel.c: the table of channels of one worker, with their last values, histories and the filters that match them.
 */
#include "hub/channel/channel.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/hub.h"
#include "gateway/log.h"
#include "hub/channel/history.h"
#include "hub/channel/views.h"
#include "hub/hub_private.h"
#include "hub/keep.h"
#include "hub/slice.h"
#include "route/routes.h"
#include "topic/topic_tree.h"

/* Of a reload, for each channel: looking up its route. */
#define RELOAD_UNITS 8

/* --- what is in order ------------------------------------------------------------------------------------------- */

/* A new channel in an old slot began with `evicted` at or above every number of the one before it. */
static bool channel_has_message(const void *context, uint64_t seq, uint32_t slot)
{
    const struct gw_channels *channels = context;
    const struct gw_channel *channel = channels->slots[slot & ~GW_SLOT_STATE];
    if (slot & GW_SLOT_STATE) {
        const struct gw_message *state = channel ? gw_channel_state(channels, channel) : NULL;
        return state && state->seq == seq;
    }
    return channel && (seq > gw_channel_history_evicted(channel) || (channel->last && channel->last->seq == seq));
}

static void channel_take_slot(struct gw_channels *channels, struct gw_channel *channel)
{
    if (!channels->free_count && channels->slot_count == channels->slot_allocated) {
        channels->slot_allocated = channels->slot_allocated ? channels->slot_allocated * 2 : 256;
        channels->slots = gw_reallocarray(channels->slots, channels->slot_allocated, sizeof(struct gw_channel *));
        channels->free_slots =
            gw_reallocarray(channels->free_slots, channels->slot_allocated, sizeof *channels->free_slots);
    }
    channel->slot = channels->free_count ? channels->free_slots[--channels->free_count] : channels->slot_count++;
    channels->slots[channel->slot] = channel;
}

void gw_channels_init(struct gw_channels *channels)
{
    *channels = (struct gw_channels){.names = gw_topic_tree_create()};
    gw_order_init(&channels->messages, channel_has_message, channels);
    gw_order_init(&channels->losses, gw_channel_has_loss, channels);
}

static void channel_unlink(struct gw_channel_list *list, struct gw_channel *channel)
{
    *(channel->older ? &channel->older->newer : &list->oldest) = channel->newer;
    *(channel->newer ? &channel->newer->older : &list->newest) = channel->older;
    channel->older = channel->newer = NULL;
}

static void channel_link_newest(struct gw_channel_list *list, struct gw_channel *channel)
{
    channel->older = list->newest;
    channel->newer = NULL;
    *(list->newest ? &list->newest->newer : &list->oldest) = channel;
    list->newest = channel;
}

static struct gw_channel *history_neighbour(const struct gw_channels *channels, uint32_t place)
{
    return place ? channels->slots[place - 1] : NULL;
}

static void history_unlink(struct gw_channels *channels, struct gw_channel *channel)
{
    if (!channel->in_history)
        return;
    struct gw_channel *older = history_neighbour(channels, channel->older_history);
    struct gw_channel *newer = history_neighbour(channels, channel->newer_history);
    if (older)
        older->newer_history = channel->newer_history;
    else
        channels->with_history.oldest = newer;
    if (newer)
        newer->older_history = channel->older_history;
    else
        channels->with_history.newest = older;
    channel->older_history = channel->newer_history = 0;
    channel->in_history = false;
}

static void history_link_newest(struct gw_channels *channels, struct gw_channel *channel)
{
    history_unlink(channels, channel);
    struct gw_channel_list *list = &channels->with_history;
    channel->older_history = list->newest ? list->newest->slot + 1 : 0;
    if (list->newest)
        list->newest->newer_history = channel->slot + 1;
    else
        list->oldest = channel;
    list->newest = channel;
    channel->in_history = true;
}

static void channel_free(struct gw_channel *channel)
{
    if (channel->history)
        channel->engine->close(channel->history);
    gw_message_unref(channel->last);
    gw_channel_forget_views(channel);
    free(channel->filters);
    free(channel->losses);
    free(channel);
}

void gw_channels_fini(struct gw_channels *channels)
{
    gw_table_empty(&channels->table);
    for (struct gw_channel *channel = channels->all.oldest, *next; channel; channel = next) {
        next = channel->newer;
        gw_channel_forget_state(channels, channel);
        channel_free(channel);
    }
    free(channels->slots);
    free(channels->free_slots);
    free(channels->states);
    gw_order_fini(&channels->messages);
    gw_order_fini(&channels->losses);
    gw_topic_tree_destroy(channels->names);
}

struct gw_channel *gw_channel_find(const struct gw_hub *hub, const char *name, size_t len, uint64_t hash)
{
    struct gw_table_item *item = gw_table_first(&hub->channels.table, hash);
    for (; item; item = gw_table_next(item)) {
        struct gw_channel *channel = (struct gw_channel *)item;
        if (channel->len == len && !memcmp(channel->name, name, len))
            return channel;
    }
    return NULL;
}

/* Removes the channel with everything that is known of it. A client that resumes from before is told so by a gap,
 * because `forgotten` is then past its cursor. */
static void channel_evict(struct gw_hub *hub, struct gw_channel *channel)
{
    struct gw_channels *channels = &hub->channels;
    if (channel->last_seq > channels->forgotten)
        channels->forgotten = channel->last_seq;
    gw_channel_keep_no_more(hub, channel, true);
    gw_channel_forget_state(channels, channel);
    channels->history_bytes -= gw_channel_history_bytes(channel);
    history_unlink(channels, channel);
    channel_unlink(&channels->all, channel);
    gw_topic_tree_remove(channels->names, channel->name, channel->len);
    gw_table_remove(&channels->table, &channel->item);
    channels->slots[channel->slot] = NULL;
    channels->free_slots[channels->free_count++] = channel->slot;
    channel_free(channel);
    GW_STAT_ADD(&hub->stats, channels_evicted, 1);
}

static void channel_apply_route(struct gw_hub *hub, struct gw_channel *channel, uint32_t route)
{
    const struct gw_cfg_route *policy = gw_routes_get(hub->routes, route);
    channel->route = route;
    channel->policy_at = hub->channels.policy_at;
    channel->interval_ms = policy->rate == GW_RATE_ALL ? 0 : policy->rate_interval_ms;
    gw_channel_history_limit(hub, channel, policy);
    if (channel->last_seq) /* or else it has just been made */
        gw_channel_keep_rollup(hub, channel);
    gw_channel_note_loss(hub, channel);
}

/* `evicted`: its messages up to here, if there were any, are gone. */
static struct gw_channel *channel_make(struct gw_hub *hub, const struct gw_slice *name, uint64_t hash, uint32_t route,
                                       uint64_t evicted)
{
    struct gw_channels *channels = &hub->channels;
    if (channels->table.count >= hub->config->limits.channels) {
        GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "hub", "limits.channels (%u) reached: forgetting '%s', silent the longest",
                             hub->config->limits.channels, channels->all.oldest->name);
        channel_evict(hub, channels->all.oldest);
    }
    const struct gw_cfg_route *policy = gw_routes_get(hub->routes, route);
    struct gw_channel *channel = gw_calloc(1, offsetof(struct gw_channel, name) + name->len + 1);
    memcpy(channel->name, name->data, name->len);
    channel->len = (uint16_t)name->len;
    channel->number = ++channels->made;
    if (channels->lost || evicted)
        *gw_channel_note_losses(channel) =
            (struct gw_channel_losses){.lost = channels->lost, .kept_evicted = evicted};
    gw_table_add(&channels->table, &channel->item, hash);
    *gw_topic_tree_insert(channels->names, channel->name, channel->len) = channel;
    channel_link_newest(&channels->all, channel);
    channel_take_slot(channels, channel);
    gw_channel_history_begin(channel, policy, evicted);
    channel_apply_route(hub, channel, route);
    gw_channel_filters(hub, channel);
    GW_STAT_SET(&hub->stats, channels, channels->table.count);
    return channel;
}

/* GW_ROUTE_BY_NAME: there is none. */
static uint32_t channel_route(const struct gw_hub *hub, const char *name, size_t len)
{
    const struct gw_cfg_route *route = gw_routes_of_channel(hub->routes, name, len);
    return route ? (uint32_t)(route - gw_routes_get(hub->routes, 0)) : GW_ROUTE_BY_NAME;
}

static void channel_meet_reload(struct gw_hub *hub, struct gw_channel *channel)
{
    channel->policy_at = hub->channels.policy_at;
    uint32_t route = channel_route(hub, channel->name, channel->len);
    if (route == GW_ROUTE_BY_NAME) {
        channel->route = route; /* nothing feeds it any more; it ages as it was */
        return;
    }
    channel_apply_route(hub, channel, route);
    gw_channel_found(hub, channel, GW_STATE_LIVE);
    if (!gw_channel_history_count(channel))
        history_unlink(&hub->channels, channel);
}

static struct gw_channel *channel_by_name(struct gw_hub *hub, struct gw_channel *channel,
                                          const struct gw_message *msg)
{
    if (channel && channel->policy_at != hub->channels.policy_at)
        channel_meet_reload(hub, channel);
    uint32_t route = channel ? channel->route : channel_route(hub, msg->channel.data, msg->channel.len);
    if (route == GW_ROUTE_BY_NAME)
        return NULL;
    return channel ? channel : channel_make(hub, &msg->channel, msg->hash, route, hub->channels.forgotten);
}

struct gw_channel *gw_channel_of(struct gw_hub *hub, const struct gw_message *msg)
{
    struct gw_channel *channel = gw_channel_find(hub, msg->channel.data, msg->channel.len, msg->hash);
    if (msg->route == GW_ROUTE_BY_NAME)
        return channel_by_name(hub, channel, msg);
    /* It may be one that was forgotten: what it had until then is gone. */
    if (!channel)
        return channel_make(hub, &msg->channel, msg->hash, msg->route, hub->channels.forgotten);
    if (channel->route != msg->route || channel->policy_at != hub->channels.policy_at)
        channel_apply_route(hub, channel, msg->route);
    return channel;
}

/* limits.history: the histories of the channels that have been silent the longest go first. */
static void channels_bound_history(struct gw_hub *hub)
{
    struct gw_channels *channels = &hub->channels;
    while (channels->history_bytes > hub->config->limits.history_bytes && channels->with_history.oldest) {
        struct gw_channel *channel = channels->with_history.oldest;
        GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "hub", "limits.history (%zu bytes) reached: dropping the history of '%s'",
                             hub->config->limits.history_bytes, channel->name);
        gw_channel_history_drop(hub, channel);
        gw_channel_keep_bounds(hub, channel);
        history_unlink(channels, channel);
        gw_channel_note_loss(hub, channel);
        GW_STAT_ADD(&hub->stats, history_evicted, 1);
    }
}

void gw_channel_append(struct gw_hub *hub, struct gw_channel *channel, struct gw_message *msg)
{
    struct gw_channels *channels = &hub->channels;
    gw_channel_history_append(hub, channel, msg);
    gw_message_unref(channel->last);
    channel->last = msg->clear ? NULL : gw_message_ref(msg);
    if (msg->clear)
        gw_channel_forget_state(channels, channel);
    channel->stored = !msg->clear && (channel->stored || msg->stored);
    channel->before_last = channel->last_seq;
    channel->last_seq = msg->seq;
    channel_unlink(&channels->all, channel);
    channel_link_newest(&channels->all, channel);

    if (gw_channel_history_count(channel))
        history_link_newest(channels, channel);
    else
        history_unlink(channels, channel);
    gw_channel_keep(hub, channel, msg);
    gw_order_add(&channels->messages, msg->seq, channel->slot);
    gw_channel_note_loss(hub, channel);
    channels_bound_history(hub);
    GW_STAT_SET(&hub->stats, history_bytes, channels->history_bytes);
}

void gw_channel_expire(struct gw_hub *hub, struct gw_channel *channel)
{
    gw_channel_history_expire(hub, channel);
    if (!gw_channel_history_count(channel))
        history_unlink(&hub->channels, channel);
    gw_channel_keep_bounds(hub, channel);
    gw_channel_note_loss(hub, channel);
}

void gw_channel_restore(struct gw_hub *hub, const struct gw_engine_channel *kept, uint32_t route, uint64_t lost)
{
    /* Of one that nobody kept all is gone, its last value too. */
    struct gw_slice name = {kept->name, kept->len};
    struct gw_channel *channel =
        channel_make(hub, &name, kept->hash, route, kept->kept ? kept->evicted : kept->last_seq);
    if (!kept->kept)
        gw_channel_note_losses(channel)->kept_evicted = UINT64_MAX; /* if it is kept now, the store must be told */
    /* As if the number that may have been lost had been a message of this channel, which it may have been. */
    channel->last_seq = kept->last_seq > lost ? kept->last_seq : lost;
    channel->before_last = kept->last_seq > lost ? kept->before_last : lost;
    channel->rolled = kept->rolled;
}

void gw_channel_restore_message(struct gw_hub *hub, const struct gw_engine_channel *kept, struct gw_message *msg)
{
    struct gw_channels *channels = &hub->channels;
    struct gw_channel *channel = gw_channel_find(hub, kept->name, kept->len, kept->hash);
    if (msg->seq > kept->evicted) /* or else it is there as the last value only */
        gw_channel_history_append(hub, channel, msg);
    if (msg->seq == kept->last) {
        channel->last = gw_message_ref(msg);
        channel->stored = msg->stored;
    }
    if (msg->seq <= kept->evicted)
        return;
    if (gw_channel_history_count(channel))
        history_link_newest(channels, channel);
    else
        history_unlink(channels, channel);
    channels_bound_history(hub);
}

void gw_channels_begin_anew(struct gw_hub *hub)
{
    struct gw_channels *channels = &hub->channels;
    while (channels->all.oldest)
        channel_evict(hub, channels->all.oldest);
    gw_order_fini(&channels->messages);
    gw_order_fini(&channels->losses);
    gw_order_init(&channels->messages, channel_has_message, channels);
    gw_order_init(&channels->losses, gw_channel_has_loss, channels);
    channels->forgotten = channels->lost = 0;
    GW_STAT_SET(&hub->stats, channels, channels->table.count);
    GW_STAT_SET(&hub->stats, history_bytes, channels->history_bytes);
}

/* Channels are looked at by slot, so that it does not matter which come and go meanwhile; one that gets a message
 * before its turn comes meets the reload then (gw_channel_of()). */
void gw_channels_relimit(struct gw_hub *hub)
{
    hub->channels.policy_at++;
    hub->channels.policy_slot = 0;
    gw_channels_work(hub);
}

void gw_channels_work(struct gw_hub *hub)
{
    struct gw_channels *channels = &hub->channels;
    if (channels->policy_slot >= channels->slot_count && channels->table.count <= hub->config->limits.channels)
        return;
    while (channels->policy_slot < channels->slot_count && gw_slice_take(hub, RELOAD_UNITS)) {
        struct gw_channel *channel = channels->slots[channels->policy_slot++];
        if (channel && channel->policy_at != channels->policy_at)
            channel_meet_reload(hub, channel);
    }
    while (channels->table.count > hub->config->limits.channels && gw_slice_take(hub, RELOAD_UNITS))
        channel_evict(hub, channels->all.oldest);
    channels_bound_history(hub);
    GW_STAT_SET(&hub->stats, channels, channels->table.count);
}
