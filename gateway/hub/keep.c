/* keep.c: what of a hub outlives the process: filling it at start, telling the store of changes, the end.
 *
 * After a stop in order the hub is what it was, but for the histories of channels whose engine keeps nothing: of
 * those it knows the numbers, so that whoever resumes from before is told of a gap. After any other end every channel
 * may have lost its newest messages: `lost` is the highest number that may have been given, and everything up to it
 * counts as missing, whatever is still there to be seen. */
#include "hub/keep.h"

#include <string.h>

#include "codec/json_pointer.h"
#include "gateway/clock.h"
#include "gateway/hub.h"
#include "hub/channel/channel.h"
#include "hub/channel/history.h"
#include "hub/hub_private.h"
#include "hub/series/series.h"
#include "hub/session/fetch.h"
#include "route/routes.h"

static bool channel_kept(const struct gw_hub *hub, const struct gw_channel *channel)
{
    return hub->keeper && channel->engine->kept;
}

static struct gw_engine_channel channel_numbers(const struct gw_hub *hub, const struct gw_channel *channel)
{
    return (struct gw_engine_channel){
        .name = channel->name,
        .len = channel->len,
        .hash = channel->item.hash,
        .last_seq = channel->last_seq,
        .before_last = channel->before_last,
        .last = channel->last ? channel->last->seq : 0,
        .evicted = gw_channel_history_evicted(channel),
        .kept = channel_kept(hub, channel),
    };
}

void gw_channel_keep(struct gw_hub *hub, struct gw_channel *channel, struct gw_message *msg)
{
    if (!channel_kept(hub, channel))
        return;
    struct gw_engine_channel numbers = channel_numbers(hub, channel);
    if (channel->route != GW_ROUTE_BY_NAME)
        numbers.rollup = gw_routes_get(hub->routes, channel->route)->rollup;
    channel->rolled |= numbers.rollup != NULL;
    if (gw_channel_losses(channel).kept_evicted != numbers.evicted)
        gw_channel_note_losses(channel)->kept_evicted = numbers.evicted;
    hub->keeper->keep(hub->store, &numbers, msg);
}

void gw_channel_keep_bounds(struct gw_hub *hub, struct gw_channel *channel)
{
    if (!channel_kept(hub, channel) || gw_channel_history_evicted(channel) == gw_channel_losses(channel).kept_evicted)
        return;
    struct gw_engine_channel numbers = channel_numbers(hub, channel);
    gw_channel_note_losses(channel)->kept_evicted = numbers.evicted;
    hub->keeper->update(hub->store, &numbers);
}

void gw_channel_keep_rollup(struct gw_hub *hub, struct gw_channel *channel)
{
    if (!channel_kept(hub, channel) || !hub->keeper->update)
        return;
    struct gw_rollup *rollup = gw_routes_get(hub->routes, channel->route)->rollup;
    if (!rollup && !channel->rolled)
        return;
    channel->rolled = rollup != NULL;
    struct gw_engine_channel numbers = channel_numbers(hub, channel);
    numbers.rollup = rollup;
    numbers.settle = true;
    gw_channel_note_losses(channel)->kept_evicted = numbers.evicted;
    hub->keeper->update(hub->store, &numbers);
}

struct keep_all {
    struct gw_hub *hub;
    struct gw_channel *channel;
    bool last;
};

static bool keep_message(void *context, struct gw_message *msg)
{
    struct keep_all *all = context;
    gw_channel_keep(all->hub, all->channel, msg);
    all->last |= msg == all->channel->last;
    return true;
}

void gw_channel_keep_all(struct gw_hub *hub, struct gw_channel *channel)
{
    if (!channel_kept(hub, channel))
        return;
    struct keep_all all = {hub, channel, false};
    gw_channel_history_read(channel, 0, keep_message, &all);
    if (channel->last && !all.last)
        gw_channel_keep(hub, channel, channel->last);
}

void gw_channel_keep_no_more(struct gw_hub *hub, struct gw_channel *channel, bool whole)
{
    if (!channel_kept(hub, channel))
        return;
    struct gw_engine_channel numbers = channel_numbers(hub, channel);
    hub->keeper->forget(hub->store, &numbers, whole);
}

/* --- start ------------------------------------------------------------------------------------------------------ */

struct keep_load {
    struct gw_hub **hubs;
    unsigned count;
    const struct gw_engine *keeper;
    struct gw_engine_store *store;
    uint64_t lost;
    struct gw_engine_channel now; /* whose messages come */
    const struct gw_cfg_route *route;
    uint32_t route_index;
    struct gw_message *before; /* the one before it that was taken; NULL: none */
    struct gw_restored *restored;
};

static void keep_load_channel(void *context, const struct gw_engine_channel *channel)
{
    struct keep_load *load = context;
    load->now = *channel;
    gw_message_unref(load->before);
    load->before = NULL;
    const struct gw_routes *routes = load->hubs[0]->routes;
    load->route = gw_routes_of_channel(routes, channel->name, channel->len);
    load->route_index = 0;
    while (load->route && gw_routes_get(routes, load->route_index) != load->route)
        load->route_index++;
    bool elsewhere = !load->route || !load->route->history_engine->kept;
    if (channel->kept && elsewhere && load->keeper->forget)
        load->keeper->forget(load->store, channel, !load->route);
    for (unsigned i = 0; i < load->count; i++) {
        struct gw_hub *hub = load->hubs[i];
        if (load->route)
            gw_channel_restore(hub, channel, load->route_index, load->lost);
        else if (channel->last_seq > hub->channels.forgotten)
            hub->channels.forgotten = channel->last_seq;
    }
    load->restored->channels += load->route && channel->kept;
}

/* An engine that shares its sequence holds what came in: also what hubs leave out when it comes live. */
static bool keep_is_no_news(const struct keep_load *load, const struct gw_message *msg)
{
    return load->keeper->shared && load->before &&
           (gw_hub_repeats(load->before, msg) ||
            gw_hub_unchanged(load->hubs[0]->routes, load->route_index, load->before, msg));
}

/* After the last channel: those that are there and have a value may have one. */
static void keep_load_state(struct keep_load *load, const struct gw_message_spec *spec)
{
    struct gw_message *msg = gw_message_create(spec);
    for (unsigned i = 0; i < load->count; i++) {
        struct gw_hub *hub = load->hubs[i];
        const struct gw_channel *channel = gw_channel_find(hub, msg->channel.data, msg->channel.len, msg->hash);
        if (channel && channel->last)
            gw_channel_keep_state(&hub->channels, channel, msg);
    }
    gw_message_unref(msg);
}

static void keep_load_message(void *context, const struct gw_message_spec *spec)
{
    struct keep_load *load = context;
    if (spec->state) {
        keep_load_state(load, spec);
        return;
    }
    if (!load->route)
        return;
    struct gw_message_spec own = *spec;
    own.route = load->route_index;
    const char *pointer = load->route->rate_pointer;
    if (load->route->rate == GW_RATE_ON_CHANGE && !own.clear &&
        !gw_json_pointer(own.json, own.json_len, pointer ? pointer : "", &own.watched))
        own.watched = (struct gw_slice){0};
    struct gw_message *msg = gw_message_create(&own);
    if (keep_is_no_news(load, msg)) {
        struct gw_engine_channel only = load->now;
        only.last = load->before->seq;
        only.evicted = UINT64_MAX;
        for (unsigned i = 0; i < load->count && msg->seq == load->now.last; i++)
            gw_channel_restore_message(load->hubs[i], &only, load->before);
        gw_message_unref(msg);
        return;
    }
    for (unsigned i = 0; i < load->count; i++)
        gw_channel_restore_message(load->hubs[i], &load->now, msg);
    load->restored->messages++;
    gw_message_unref(load->before);
    load->before = msg;
}

enum gw_err gw_hubs_restore(struct gw_hub **hubs, unsigned count, const struct gw_engine *keeper,
                            struct gw_engine_store *store, const struct gw_engine_found *found,
                            struct gw_restored *restored, struct gw_buf *error)
{
    *restored = (struct gw_restored){0};
    struct keep_load load = {
        .hubs = hubs, .count = count, .keeper = keeper, .store = store, .lost = found->lost, .restored = restored};
    const struct gw_engine_load visits = {&load, keep_load_channel, keep_load_message};
    for (unsigned i = 0; i < count; i++) {
        hubs[i]->wall_ms = gw_wall_ms(); /* of the ages; the first tick is yet to come */
        hubs[i]->head = found->seq;
        hubs[i]->channels.forgotten = found->forgotten > found->lost ? found->forgotten : found->lost;
        hubs[i]->channels.lost = found->lost;
    }
    for (unsigned i = 0; i < count; i++)
        gw_hub_series_init(hubs[i], keeper, store);
    for (unsigned i = 0; i < count; i++)
        gw_fetches_init(hubs[i], keeper, store);
    if (keeper->keep) {
        hubs[0]->keeper = keeper;
        hubs[0]->store = store;
    }
    enum gw_err err = keeper->load ? keeper->load(store, &visits, error) : GW_OK;
    gw_message_unref(load.before);
    for (unsigned i = 0; i < count && err == GW_OK; i++)
        gw_channels_restored(hubs[i]);
    return err;
}

void gw_hub_leave(struct gw_hub *hub)
{
    hub->thread_known = false;
}

uint64_t gw_hub_keep_rest(struct gw_hub *hub)
{
    GW_ASSERT_LOOP(hub);
    for (struct gw_channel *channel = hub->channels.all.oldest; channel && hub->keeper; channel = channel->newer) {
        if (channel_kept(hub, channel))
            continue;
        struct gw_engine_channel numbers = channel_numbers(hub, channel);
        hub->keeper->update(hub->store, &numbers);
    }
    return hub->channels.forgotten;
}
