/* subscribe.c: what a session subscribes to: filters that sessions share, and where each subscription begins. */
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/auth.h"
#include "gateway/hub.h"
#include "gateway/session_log.h"
#include "gateway/topic.h"
#include "hub/access.h"
#include "hub/channel/channel.h"
#include "hub/channel/since.h"
#include "hub/channel/views.h"
#include "hub/hub_private.h"
#include "hub/moments.h"
#include "hub/session/fetch.h"
#include "hub/session/pace.h"
#include "hub/session/presence.h"
#include "hub/session/queue.h"
#include "hub/session/round.h"
#include "hub/session/subscription.h"
#include "hub/slice.h"
#include "hub/windows/windows.h"
#include "message/cursor.h"
#include "route/routes.h"
#include "topic/topic_tree.h"

struct gw_filter *gw_filter_get(struct gw_hub *hub, const char *text, size_t len)
{
    void **place = gw_topic_tree_insert(hub->filters, text, len);
    struct gw_filter *filter = *place;
    if (filter)
        return filter;
    filter = gw_calloc(1, sizeof *filter);
    filter->text = gw_strndup(text, len);
    filter->len = len;
    filter->wildcard = gw_topic_has_wildcard(text, len);
    *place = filter;
    gw_channels_attach(hub, filter);
    return filter;
}

static void filter_add(struct gw_filter *filter, struct gw_sub *sub)
{
    GW_GROW(filter->subs, filter->count, filter->allocated, 1);
    sub->filter = filter;
    sub->index = filter->count;
    filter->subs[filter->count++] = sub;
}

void gw_sub_free(struct gw_hub *hub, struct gw_sub *sub)
{
    struct gw_filter *filter = sub->filter;
    struct gw_sub *moved = filter->subs[--filter->count];
    filter->subs[sub->index] = moved;
    moved->index = sub->index;
    free(sub->epoch_from);
    free(sub);
    gw_filter_release(hub, filter);
}

void gw_filter_release(struct gw_hub *hub, struct gw_filter *filter)
{
    if (filter->count || filter->windows)
        return;
    gw_channels_detach(hub, filter);
    gw_topic_tree_remove(hub->filters, filter->text, filter->len);
    free(filter->subs);
    free(filter->text);
    free(filter);
}

static struct gw_sub *session_find(const struct gw_session *session, const char *text, size_t len, uint32_t *at)
{
    for (uint32_t i = 0; i < session->sub_count; i++) {
        const struct gw_filter *filter = session->subs[i]->filter;
        if (filter->len == len && !memcmp(filter->text, text, len)) {
            if (at)
                *at = i;
            return session->subs[i];
        }
    }
    return NULL;
}

static struct gw_sub *session_add(struct gw_session *session, const char *text, size_t len)
{
    struct gw_sub *sub = gw_calloc(1, sizeof *sub);
    sub->session = session;
    filter_add(gw_filter_get(session->hub, text, len), sub);
    GW_GROW(session->subs, session->sub_count, session->sub_allocated, 1);
    session->subs[session->sub_count++] = sub;
    return sub;
}

struct subscription {
    struct gw_session *session;
    struct gw_sub *sub;
    uint32_t values;
    bool lost;
    bool now; /* it begins with what comes: nothing to count */
    bool all; /* every message after `after` is wanted */
    uint64_t after;
};

/* Has another subscription brought the channel's last value? The same rule as in catchup.c. */
static bool session_has_last(const struct gw_session *session, const struct gw_sub *except,
                             const struct gw_channel *channel)
{
    for (uint32_t i = 0; i < session->sub_count; i++) {
        const struct gw_sub *sub = session->subs[i];
        if (sub != except && channel->last->seq > sub->from && channel->last->seq <= sub->position &&
            gw_topic_matches(sub->filter->text, sub->filter->len, channel->name, channel->len))
            return true;
    }
    return false;
}

static bool subscribe_count_channel(void *context, void *value)
{
    struct subscription *count = context;
    struct gw_channel *channel = value;
    if (!gw_channel_visible(channel, count->session->grants))
        return true;
    int64_t interval = gw_session_interval(count->session, channel);
    if (interval)
        count->session->paced = true;
    if (count->now)
        return true;
    gw_channel_expire(count->session->hub, channel);
    if (count->sub->fresh_to) {
        if (channel->last && !gw_message_is_expired(channel->last, count->session->hub->wall_ms) &&
            !session_has_last(count->session, count->sub, channel))
            count->values++;
    }
    if (count->all && !(interval && channel->last) && gw_channel_evicted(channel) > count->after)
        count->lost = true;
    return true;
}

/* What a subscription misses is among what channels have lost since its position. False: that is too much to look
 * at. */
static bool subscribe_count_losses(struct subscription *count)
{
    struct gw_hub *hub = count->session->hub;
    const struct gw_filter *filter = count->sub->filter;
    const struct gw_order *losses = &hub->channels.losses;
    struct gw_order_place place = gw_order_after(losses, gw_loss_key(count->after));
    uint64_t key;
    uint32_t slot;
    for (uint32_t left = hub->slices.direct; gw_order_next(losses, &place, &key, &slot); left--) {
        const struct gw_channel *channel = gw_channel_at(hub, slot);
        if (!left)
            return false;
        if (channel && gw_channel_losses(channel).key == key &&
            gw_topic_matches(filter->text, filter->len, channel->name, channel->len))
            count->lost |= !(gw_session_interval(count->session, channel) && channel->last) &&
                           gw_channel_evicted(channel) > count->after;
    }
    return true;
}

/* Exact where the filter matches few channels. Where it matches many, `snapshot` is the number of all channels, which
 * is never too small, and what may be missing counts as lost. */
static void subscribe_look(struct subscription *count)
{
    struct gw_hub *hub = count->session->hub;
    const struct gw_sub *sub = count->sub;
    bool wildcard = sub->filter->wildcard;
    size_t steps = hub->slices.direct;
    if (wildcard && !sub->fresh_to &&
        gw_order_count_after(&hub->channels.messages, sub->from, hub->slices.near + 1) <= hub->slices.near) {
        count->session->paced |= gw_walk_longest_interval(count->session) > 0;
        count->lost = !subscribe_count_losses(count) || count->lost;
        return;
    }
    bool all = gw_channels_match(hub, sub->filter, &steps, subscribe_count_channel, count);
    gw_slice_take(hub, (uint32_t)(hub->slices.direct - steps));
    if (all)
        return;
    count->session->paced |= gw_walk_longest_interval(count->session) > 0;
    count->values = (uint32_t)hub->channels.table.count;
    if (count->all)
        count->lost = !subscribe_count_losses(count) || count->lost;
}

enum gw_err gw_session_subscribe(struct gw_session *session, const char *text, size_t len,
                                 const struct gw_start *asked, struct gw_subscribed *out)
{
    struct gw_hub *hub = session->hub;
    GW_ASSERT_LOOP(hub);
    if (asked->aggregate)
        return gw_windows_subscribe(session, text, len, asked, out);
    struct gw_start place = *asked;
    const struct gw_start *start = &place;
    out->why = NULL;
    char cursor_text[64];
    if (!gw_topic_filter_valid(text, len))
        return GW_ERR_BAD_REQUEST;
    enum gw_err allowed = gw_session_check(session, GW_RIGHT_SUBSCRIBE, text, len);
    if (allowed != GW_OK) {
        GW_STAT_ADD(&hub->stats, forbidden, 1);
        return allowed;
    }
    uint64_t seq = hub->head;
    bool settled = start->at == GW_START_SINCE; /* nothing was held back from a client that was not there */
    if (start->at == GW_START_SINCE) {
        place.at = GW_START_CURSOR;
        place.cursor_len = gw_hub_format_cursor(hub, gw_hub_since(hub, text, len, start->since_ms), cursor_text);
        place.cursor = cursor_text;
    }
    enum gw_cursor_check check = GW_CURSOR_OK;
    bool from_cursor = start->at == GW_START_CURSOR || start->at == GW_START_LAST_AFTER;
    if (from_cursor) {
        struct gw_cursor cursor;
        check = gw_hub_check_cursor(hub, start->cursor, start->cursor_len, &seq);
        settled = settled || (check == GW_CURSOR_OK && gw_cursor_parse(&cursor, start->cursor, start->cursor_len) &&
                              cursor.settled);
        if (check == GW_CURSOR_BAD)
            return GW_ERR_BAD_REQUEST;
    }
    /* Whoever may see the present of a channel but not its past resumes as after a loss of the history. */
    bool past = check == GW_CURSOR_OK && gw_session_check(session, GW_RIGHT_HISTORY, text, len) != GW_OK;
    if (past && from_cursor && seq < hub->head)
        check = GW_CURSOR_OTHER_EPOCH;
    if (!gw_routes_channel_possible(hub->routes, text, len))
        return GW_ERR_UNKNOWN_CHANNEL;
    struct gw_sub *sub = session_find(session, text, len, NULL);
    if (!sub && session->sub_count + session->window_count >= hub->config->limits.subscriptions) {
        GW_STAT_ADD(&hub->stats, subscriptions_refused, 1);
        GW_SESSION_LOG_ONCE_A_SECOND(session, GW_LOG_WARN, "subscription refused: limits.subscriptions (%u) reached",
                                     hub->config->limits.subscriptions);
        return GW_ERR_LIMIT;
    }

    /* The other subscriptions are where a live session is: at the head. */
    if (!session->lagging)
        gw_session_lag_from(session, hub->head, "history");
    if (!sub) {
        sub = session_add(session, text, len);
        if (hub->presences)
            gw_presence_subscribed(hub->presences, session, text, len);
    }
    session->walking = false; /* the new one may lead to few channels */
    session->unfetched = false;
    gw_fetch_drop(session);          /* without what the new one is to have */
    gw_session_forget_told(session); /* it was told of what the others miss */
    sub->fresh_to = sub->forgotten_told = 0;
    sub->epoch_told = false;
    free(sub->epoch_from);
    sub->epoch_from = check == GW_CURSOR_OTHER_EPOCH ? gw_strndup(start->cursor, start->cursor_len) : NULL;
    sub->epoch_reason = past ? "history" : "epoch";
    if (start->at == GW_START_LAST || start->at == GW_START_LAST_AFTER || sub->epoch_from) {
        sub->from = sub->position = 0;
        sub->fresh_to = start->at == GW_START_LAST_AFTER && !sub->epoch_from && seq < hub->head ? seq : hub->head;
    } else {
        sub->from = sub->position = start->at == GW_START_NOW ? hub->head : seq;
    }
    if (sub->position < session->position)
        session->position = sub->position;
    bool resumed = from_cursor && !sub->epoch_from;
    sub->interval_ms = start->interval_ms;
    sub->doubt_ns = resumed && !settled ? gw_moment_of(&hub->moments, seq) : INT64_MAX;
    session->settled |= settled;
    session->paced |= sub->interval_ms > 0;

    struct subscription count = {.session = session, .sub = sub, .now = start->at == GW_START_NOW};
    count.after = sub->from > sub->fresh_to ? sub->from : sub->fresh_to;
    count.all = !count.now && (resumed || !sub->fresh_to);
    subscribe_look(&count);
    out->recovered = resumed && !count.lost && (hub->channels.forgotten <= count.after);
    out->fresh_to = sub->fresh_to;
    out->snapshot = sub->fresh_to ? count.values : 0;
    gw_hub_format_cursor(hub, resumed ? seq : hub->head, out->cursor);
    GW_SESSION_LOG(session, GW_LOG_DEBUG, "subscribes to '%.*s' from %s", (int)len, text, out->cursor);
    return GW_OK;
}

bool gw_session_unsubscribe(struct gw_session *session, const char *text, size_t len)
{
    GW_ASSERT_LOOP(session->hub);
    uint32_t at;
    struct gw_sub *sub = session_find(session, text, len, &at);
    if (!sub)
        return false;
    session->subs[at] = session->subs[--session->sub_count];
    GW_SESSION_LOG(session, GW_LOG_DEBUG, "unsubscribes from '%.*s'", (int)len, text);
    if (session->hub->presences)
        gw_presence_unsubscribed(session->hub->presences, session, text, len);
    gw_sub_free(session->hub, sub);
    return true;
}
