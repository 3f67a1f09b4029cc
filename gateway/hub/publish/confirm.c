/* confirm.c: publishes that wait until their device's state shows them (decision 0024).
 *
 * What counts is what the channel's messages show after the broker has acknowledged the publish: it sends everything
 * on one connection in order, so that such a message reached it after the command did. Some brokers acknowledge late.
 * So a message from before counts too, where the state was another one when the publish was handed over, and as long
 * as no later message says otherwise. Stored values never count: nobody knows how old they are. */
#include "hub/publish/confirm.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/codec.h"
#include "gateway/hub.h"
#include "gateway/list.h"
#include "hub/channel/views.h"
#include "hub/hub_private.h"
#include "hub/publish/pending.h"
#include "route/route_stats.h"
#include "route/routes.h"
#include "topic/pattern.h"

struct gw_confirm {
    struct gw_hub *hub;
    struct gw_pending *pending;      /* NULL until it begins */
    struct gw_confirm *next, **link; /* of its bucket */
    struct gw_buf channel;           /* that shows the state */
    uint64_t hash;                   /* of its name */
    struct gw_wanted wanted;
    struct gw_routes *routes; /* a reference: the route is theirs */
    const struct gw_cfg_route *route;
    bool acknowledged;
    bool was_shown;  /* before the publish was handed over: nothing counts until it is acknowledged */
    char cursor[64]; /* of the message that showed it; empty: none has */
};

/* --- life ------------------------------------------------------------------------------------------------------- */

static void confirm_note_channel(void *context, const struct gw_routed *routed)
{
    struct gw_buf *channel = context;
    if (!channel->len && routed->channel)
        gw_buf_add(channel, routed->channel, routed->channel_len);
}

/* The channel of the topic that shows the state. */
static enum gw_err confirm_find_channel(const struct gw_hub *hub, const struct gw_publish_target *target,
                                        struct gw_buf *channel, const char **why)
{
    struct gw_buf topic = {0};
    if (gw_pattern_expand(target->confirm, &target->captures, &topic))
        gw_routes_match(hub->routes, topic.data, topic.len, confirm_note_channel, channel);
    gw_buf_fini(&topic);
    *why = channel->len ? NULL : "no route makes messages of the topic that shows the state (publish.confirm.topic)";
    return channel->len ? GW_OK : GW_ERR_UNSUPPORTED;
}

/* What was sent as the channel's messages would have it, so that `"21"` of a client is 21 where the codec says so. */
static enum gw_err confirm_read(const struct gw_codec *codec, struct gw_slice payload, struct gw_buf *scratch,
                                struct gw_slice *out)
{
    struct gw_decoded decoded = {.json = "null", .len = 4};
    enum gw_err err = payload.len ? codec->decode(payload.data, payload.len, scratch, &decoded) : GW_OK;
    *out = (struct gw_slice){decoded.json, decoded.len};
    return err;
}

/* `+10` is no number, and TOGGLE no JSON: a command need not look like a state, which `auto` does not mind. */
static bool confirm_read_command(struct gw_slice payload, struct gw_buf *scratch, struct gw_slice *out)
{
    gw_buf_clear(scratch);
    return confirm_read(gw_codecs[0], payload, scratch, out) == GW_OK;
}

static enum gw_err confirm_want(struct gw_confirm *confirm, const struct gw_publish_target *target,
                                struct gw_slice data, bool json, struct gw_slice payload, const char **why)
{
    const struct gw_hub *hub = confirm->hub;
    const struct gw_cfg_route *shows =
        target->confirm ? gw_routes_of_channel(hub->routes, confirm->channel.data, confirm->channel.len)
                        : target->route;
    const struct gw_wanted_rules rules = {&target->route->confirm_fields, &target->route->confirm_change,
                                          &target->route->confirm_any, target->route->confirm_tolerance, payload};
    bool transformed = target->transform && !target->confirm, read = true;
    struct gw_buf scratch = {0};
    struct gw_slice value = data;
    if (!transformed || !json)
        read = confirm_read(shows ? shows->codec : target->codec, transformed ? data : payload, &scratch, &value) ==
               GW_OK;
    *why = "the codec of the channel that shows the state can't read it";
    const char *refused = *why;
    bool good = read || confirm_read_command(transformed ? data : payload, &scratch, &value);
    good = good && gw_wanted_init(&confirm->wanted, value, &rules, why);
    gw_buf_fini(&scratch);
    if (good && !read && !gw_wanted_is_command(&confirm->wanted)) {
        *why = refused;
        good = false;
    }
    return good ? GW_OK : GW_ERR_BAD_PAYLOAD;
}

enum gw_err gw_confirm_create(struct gw_hub *hub, const struct gw_publish_target *target, struct gw_slice channel,
                              struct gw_slice data, bool json, struct gw_slice payload, struct gw_confirm **out,
                              const char **why)
{
    *out = NULL;
    *why = "the route of this channel confirms nothing (publish.confirm in the configuration expected)";
    if (!target->route->confirm)
        return GW_ERR_UNSUPPORTED;
    *why = "too many publishes wait to be confirmed (limits.confirms)";
    if (hub->confirms.count >= hub->config->limits.confirms)
        return GW_ERR_OVERLOADED;
    *why = NULL;
    struct gw_confirm *confirm = gw_calloc(1, sizeof *confirm);
    confirm->hub = hub;
    confirm->routes = gw_routes_ref(hub->routes);
    confirm->route = target->route;
    enum gw_err err = GW_OK;
    if (target->confirm)
        err = confirm_find_channel(hub, target, &confirm->channel, why);
    else
        gw_buf_add(&confirm->channel, channel.data, channel.len);
    if (err == GW_OK)
        err = confirm_want(confirm, target, data, json, payload, why);
    if (err != GW_OK) {
        gw_confirm_free(confirm);
        return err;
    }
    confirm->hash = gw_hash(confirm->channel.data, confirm->channel.len);
    *out = confirm;
    return GW_OK;
}

static struct gw_message *confirm_last(const struct gw_confirm *confirm, struct gw_channel **channel)
{
    *channel = gw_channel_find(confirm->hub, confirm->channel.data, confirm->channel.len, confirm->hash);
    struct gw_message *last = *channel ? (*channel)->last : NULL;
    return last && !gw_message_is_expired(last, confirm->hub->wall_ms) ? last : NULL;
}

void gw_confirm_begin(struct gw_confirm *confirm, struct gw_pending *pending, bool acknowledged)
{
    struct gw_confirms *confirms = &confirm->hub->confirms;
    struct gw_channel *channel;
    const struct gw_message *last = confirm_last(confirm, &channel);
    confirm->pending = pending;
    confirm->acknowledged = acknowledged;
    if (last)
        gw_wanted_before(&confirm->wanted, last->data);
    confirm->was_shown = last && gw_wanted_see(&confirm->wanted, last->data);
    gw_wanted_forget(&confirm->wanted);
    GW_LIST_ADD(confirms->buckets[confirm->hash % GW_CONFIRM_BUCKETS], confirm, next, link);
    confirms->count++;
    GW_STAT_SET(&confirm->hub->stats, confirms, confirms->count);
}

void gw_confirm_free(struct gw_confirm *confirm)
{
    if (!confirm)
        return;
    if (confirm->pending) {
        struct gw_hub *hub = confirm->hub;
        GW_LIST_REMOVE(confirm, next, link);
        hub->confirms.count--;
        GW_STAT_SET(&hub->stats, confirms, hub->confirms.count);
    }
    gw_wanted_fini(&confirm->wanted);
    gw_buf_fini(&confirm->channel);
    gw_routes_unref(confirm->routes);
    free(confirm);
}

/* --- what it waits for ------------------------------------------------------------------------------------------ */

bool gw_confirm_acknowledged(struct gw_confirm *confirm)
{
    confirm->acknowledged = true;
    if (confirm->cursor[0])
        return true;
    gw_wanted_forget(&confirm->wanted);
    return false;
}

int64_t gw_confirm_within_ms(const struct gw_confirm *confirm)
{
    return confirm->route->confirm_within_ms;
}

/* True: it is confirmed. */
static bool confirm_see(struct gw_confirm *confirm, const struct gw_message *msg)
{
    if (!confirm->acknowledged && confirm->was_shown)
        return false;
    if (msg->clear)
        gw_wanted_forget(&confirm->wanted);
    confirm->cursor[0] = '\0';
    if (!gw_wanted_see(&confirm->wanted, msg->data))
        return false;
    struct gw_slice cursor = gw_message_cursor(msg);
    if (cursor.len < sizeof confirm->cursor) {
        memcpy(confirm->cursor, cursor.data, cursor.len);
        confirm->cursor[cursor.len] = '\0';
    }
    return confirm->acknowledged;
}

/* Clients hear of it after all have been asked: one may close its session, and take others along. */
void gw_confirms_see(struct gw_hub *hub, const struct gw_message *msg)
{
    struct gw_confirm *next, *done = NULL;
    for (struct gw_confirm *at = hub->confirms.buckets[msg->hash % GW_CONFIRM_BUCKETS]; at; at = next) {
        next = at->next;
        if (at->hash != msg->hash || at->channel.len != msg->channel.len ||
            memcmp(at->channel.data, msg->channel.data, msg->channel.len) != 0 || !confirm_see(at, msg))
            continue;
        GW_LIST_REMOVE(at, next, link);
        GW_LIST_ADD(done, at, next, link);
    }
    while (done)
        gw_pending_confirm(done->pending, true);
}

struct gw_confirmed gw_confirm_outcome(struct gw_confirm *confirm, struct gw_session *session, bool confirmed)
{
    struct gw_hub *hub = confirm->hub;
    if (confirmed)
        GW_STAT_ADD(&hub->stats, confirmed, 1);
    else
        GW_STAT_ADD(&hub->stats, confirm_timeouts, 1);
    if (hub->route_stats)
        gw_route_stats_confirm(hub->route_stats, confirm->route, confirmed);
    if (confirmed)
        return (struct gw_confirmed){.confirmed = true, .cursor = {confirm->cursor, strlen(confirm->cursor)}};
    struct gw_channel *channel;
    struct gw_message *last = session ? confirm_last(confirm, &channel) : NULL;
    if (last)
        last = gw_channel_show(confirm->hub, channel, session->grants, last);
    if (!last)
        return (struct gw_confirmed){.confirmed = false};
    return (struct gw_confirmed){.cursor = gw_message_cursor(last), .data = last->data};
}
