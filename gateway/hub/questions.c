/* questions.c: what transports ask the hub: the time, the configuration, what is at the broker, and what a client may
 * see and do. */
#include <string.h>

#include "gateway/auth.h"
#include "gateway/hub.h"
#include "gateway/topic.h"
#include "hub/channel/channel.h"
#include "hub/channel/history.h"
#include "hub/channel/views.h"
#include "hub/hub_private.h"
#include "hub/session/subscription.h"
#include "message/cursor.h"
#include "route/routes.h"

int64_t gw_hub_now(const struct gw_hub *hub)
{
    return hub->now_ms;
}

int64_t gw_hub_wall(const struct gw_hub *hub)
{
    return hub->wall_ms;
}

struct gw_timers *gw_hub_timers(struct gw_hub *hub)
{
    return hub->timers;
}

void gw_hub_send(struct gw_hub *hub, unsigned worker, struct gw_letter *letter)
{
    GW_ASSERT_LOOP(hub);
    hub->mail.send(hub->mail.context, worker, letter);
}

unsigned gw_hub_worker(const struct gw_hub *hub)
{
    return hub->worker;
}

const struct gw_config *gw_hub_config(const struct gw_hub *hub)
{
    return hub->config;
}

bool gw_hub_within_rate(struct gw_hub *hub, struct gw_bucket *bucket)
{
    if (gw_bucket_take(bucket, hub->config->limits.message_rate, hub->now_ms))
        return true;
    GW_STAT_ADD(&hub->stats, rate_limited, 1);
    return false;
}

const struct gw_upstream_state *gw_hub_upstream(const struct gw_hub *hub)
{
    return &hub->state;
}

struct gw_stats *gw_hub_stats(struct gw_hub *hub)
{
    return &hub->stats;
}

uint64_t gw_hub_pending(const struct gw_hub *hub)
{
    return hub->pending_count;
}

size_t gw_hub_format_cursor(const struct gw_hub *hub, uint64_t seq, char out[64])
{
    _Static_assert(GW_CURSOR_MAX <= 64, "cursors fit the buffers of the interface");
    return gw_cursor_format(out, hub->epoch, seq);
}

size_t gw_hub_cursor(const struct gw_hub *hub, char out[64])
{
    return gw_hub_format_cursor(hub, hub->head, out);
}

enum gw_cursor_check gw_hub_check_cursor(const struct gw_hub *hub, const char *text, size_t len, uint64_t *seq)
{
    struct gw_cursor cursor;
    if (!gw_cursor_parse(&cursor, text, len))
        return GW_CURSOR_BAD;
    if (strcmp(cursor.epoch, hub->epoch) != 0)
        return GW_CURSOR_OTHER_EPOCH;
    *seq = cursor.seq;
    return GW_CURSOR_OK;
}

struct gw_auth *gw_hub_auth(const struct gw_hub *hub)
{
    return hub->auth;
}

struct gw_message *gw_hub_last(struct gw_hub *hub, const struct gw_grants *grants, const char *channel, size_t len)
{
    GW_ASSERT_LOOP(hub);
    struct gw_channel *found = gw_channel_find(hub, channel, len, gw_hash(channel, len));
    return found && found->last && !gw_message_is_expired(found->last, hub->wall_ms)
               ? gw_channel_show(hub, found, grants, found->last)
               : NULL;
}

bool gw_hub_channel_possible(const struct gw_hub *hub, const char *filter, size_t len)
{
    return gw_routes_channel_possible(hub->routes, filter, len);
}

const char *gw_hub_content_type(const struct gw_hub *hub, const char *channel, size_t len)
{
    const struct gw_cfg_route *route = gw_routes_of_channel(hub->routes, channel, len);
    return route ? route->content_type : NULL;
}

bool gw_hub_channel_publishable(const struct gw_hub *hub, const struct gw_grants *grants, const char *channel,
                                size_t len)
{
    if (!gw_grants_contain(grants, GW_RIGHT_PUBLISH, channel, len))
        return false;
    struct gw_publish_target target = {0};
    enum gw_err err = gw_routes_publish_target(hub->routes, channel, len, &target);
    gw_buf_fini(&target.topic);
    return err == GW_OK;
}

enum gw_err gw_hub_check_payloads(struct gw_hub *hub, const struct gw_grants *grants, const char *channel, size_t len,
                                  const char **why)
{
    bool sees = gw_grants_contain(grants, GW_RIGHT_SUBSCRIBE, channel, len);
    *why = NULL;
    if (sees && gw_grants_whole(grants, channel, len))
        return GW_OK;
    if (sees)
        *why = "your role sees only some fields of this channel, and a payload has all of them";
    GW_STAT_ADD(&hub->stats, forbidden, 1);
    return GW_ERR_FORBIDDEN;
}

static void hub_note_publish(void *context, enum gw_right right, const char *filter, bool projected)
{
    (void)filter;
    (void)projected;
    if (right == GW_RIGHT_PUBLISH)
        *(bool *)context = true;
}

bool gw_hub_may_publish(const struct gw_hub *hub, const struct gw_grants *grants)
{
    bool granted = !grants;
    if (grants)
        gw_grants_list(grants, hub_note_publish, &granted);
    for (size_t i = 0; granted && i < hub->config->route_count; i++) {
        if (hub->config->routes[i].publish)
            return true;
    }
    return false;
}

const struct gw_routes *gw_hub_routes(const struct gw_hub *hub)
{
    return hub->routes;
}

/* Hands on what the grants show of each message. */
struct shown_context {
    const struct gw_hub *hub;
    struct gw_channel *channel;
    const struct gw_grants *grants;
    gw_history_visit visit;
    void *context;
};

static bool hub_show(void *context, struct gw_message *msg)
{
    const struct shown_context *shown = context;
    if (gw_message_is_expired(msg, shown->hub->wall_ms))
        return true;
    struct gw_message *form = gw_channel_show(shown->hub, shown->channel, shown->grants, msg);
    return !form || shown->visit(shown->context, form);
}

void gw_hub_history(struct gw_hub *hub, const struct gw_grants *grants, const char *channel, size_t len,
                    uint64_t after, gw_history_visit visit, void *context, uint64_t *evicted)
{
    GW_ASSERT_LOOP(hub);
    *evicted = 0;
    struct gw_channel *found = gw_channel_find(hub, channel, len, gw_hash(channel, len));
    if (!found)
        *evicted = hub->channels.forgotten;
    if (!found || !gw_channel_visible(found, grants))
        return;
    gw_channel_expire(hub, found);
    *evicted = gw_channel_missing(found);
    struct shown_context shown = {hub, found, grants, visit, context};
    gw_channel_history_read(found, after, hub_show, &shown);
}

static bool hub_list_channel(void *context, void *value)
{
    struct shown_context *list = context;
    list->channel = value;
    return !list->channel->last || hub_show(list, list->channel->last);
}

bool gw_hub_list(struct gw_hub *hub, const struct gw_grants *grants, const char *filter, size_t len,
                 gw_history_visit visit, void *context)
{
    GW_ASSERT_LOOP(hub);
    struct gw_filter matched = {
        .text = (char *)(uintptr_t)filter,
        .len = len,
        .wildcard = gw_topic_has_wildcard(filter, len),
    };
    struct shown_context list = {.hub = hub, .grants = grants, .visit = visit, .context = context};
    size_t steps = hub->slices.direct;
    return gw_channels_match(hub, &matched, &steps, hub_list_channel, &list);
}

bool gw_hub_list_slice(struct gw_hub *hub, const struct gw_grants *grants, const char *filter, size_t len,
                       uint32_t *slot, uint32_t most, gw_history_visit visit, void *context)
{
    GW_ASSERT_LOOP(hub);
    struct shown_context list = {.hub = hub, .grants = grants, .visit = visit, .context = context};
    for (; most && *slot < hub->channels.slot_count; most--) {
        struct gw_channel *channel = gw_channel_at(hub, (*slot)++);
        if (channel && gw_topic_matches(filter, len, channel->name, channel->len))
            hub_list_channel(&list, channel);
    }
    return *slot >= hub->channels.slot_count;
}
