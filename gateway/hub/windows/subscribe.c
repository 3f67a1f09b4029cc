/* subscribe.c: subscriptions to windows begin and end: who may, and from where on. */
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/auth.h"
#include "gateway/hub.h"
#include "gateway/identity.h"
#include "gateway/list.h"
#include "gateway/session_log.h"
#include "gateway/topic.h"
#include "hub/access.h"
#include "hub/channel/channel.h"
#include "hub/channel/since.h"
#include "hub/hub_private.h"
#include "hub/series/series.h"
#include "hub/session/queue.h"
#include "hub/session/subscription.h"
#include "hub/windows/windows.h"
#include "message/cursor.h"
#include "route/routes.h"

static struct gw_window_sub *session_find(const struct gw_session *session, const char *text, size_t len,
                                          const struct gw_aggregate *aggregate)
{
    for (struct gw_window_sub *sub = session->windows; sub; sub = sub->next) {
        const struct gw_filter *filter = sub->set->filter;
        const struct gw_shape *shape = sub->set->shape;
        if (filter->len == len && !memcmp(filter->text, text, len) &&
            (!aggregate || (shape->every_ms == aggregate->every_ms && !strcmp(shape->field, aggregate->field))))
            return sub;
    }
    return NULL;
}

static struct gw_window_sub *session_add(struct gw_session *session, struct gw_window_set *set)
{
    struct gw_window_sub *sub = gw_calloc(1, sizeof *sub);
    sub->session = session;
    sub->timer.fire = gw_window_sub_on_timer;
    gw_window_set_add(set, sub);
    set->live++;
    GW_LIST_ADD(session->windows, sub, next, link);
    session->window_count++;
    return sub;
}

void gw_window_sub_free(struct gw_window_sub *sub)
{
    struct gw_session *session = sub->session;
    gw_series_cancel(sub->series);
    gw_timer_cancel(session->hub->timers, &sub->timer);
    if (sub->joining)
        session->window_joins--;
    else
        sub->set->live--;
    gw_window_set_remove(session->hub, sub);
    GW_LIST_REMOVE(sub, next, link);
    session->window_count--;
    gw_buf_fini(&sub->name);
    free(sub);
}

static enum gw_err windows_check(struct gw_session *session, const char *text, size_t len,
                                 const struct gw_start *start, struct gw_subscribed *out)
{
    struct gw_hub *hub = session->hub;
    out->why = NULL;
    if (!gw_topic_filter_valid(text, len))
        return GW_ERR_BAD_REQUEST;
    enum gw_err err = gw_session_check(session, GW_RIGHT_SUBSCRIBE, text, len);
    if (err == GW_OK && (err = gw_session_check(session, GW_RIGHT_HISTORY, text, len)) != GW_OK)
        out->why = "windows are made of the past too, and your role has no right to that (history)";
    if (err == GW_OK && !gw_windows_shows(session->grants, text, len, start->aggregate->field)) {
        out->why = "your role sees only some fields of this channel, and this is none of them";
        err = GW_ERR_FORBIDDEN;
    }
    if (err != GW_OK) {
        GW_STAT_ADD(&hub->stats, forbidden, 1);
        return err;
    }
    if (!gw_routes_channel_possible(hub->routes, text, len))
        return GW_ERR_UNKNOWN_CHANNEL;
    if (session_find(session, text, len, start->aggregate) ||
        session->sub_count + session->window_count < hub->config->limits.subscriptions)
        return GW_OK;
    GW_STAT_ADD(&hub->stats, subscriptions_refused, 1);
    GW_SESSION_LOG_ONCE_A_SECOND(session, GW_LOG_WARN, "subscription refused: limits.subscriptions (%u) reached",
                                 hub->config->limits.subscriptions);
    return GW_ERR_LIMIT;
}

/* Where it begins. */
struct place {
    uint64_t cursor; /* nothing that it is to have is at or before that */
    uint64_t after;
    uint64_t missing;
    int64_t from;
    bool epoch; /* the cursor is of another one */
};

static enum gw_err windows_place(struct gw_hub *hub, const char *text, size_t len, const struct gw_start *start,
                                 struct place *place)
{
    int64_t every_ms = start->aggregate->every_ms, at_ms = hub->wall_ms;
    *place = (struct place){.cursor = hub->head, .missing = UINT64_MAX};
    if (start->at == GW_START_SINCE) {
        at_ms = start->since_ms;
        place->cursor = gw_hub_since(hub, text, len, at_ms);
        place->missing = place->cursor;
    } else if (start->at == GW_START_CURSOR || start->at == GW_START_LAST_AFTER) {
        struct gw_cursor cursor;
        uint64_t seq;
        enum gw_cursor_check check = gw_hub_check_cursor(hub, start->cursor, start->cursor_len, &seq);
        if (check == GW_CURSOR_BAD)
            return GW_ERR_BAD_REQUEST;
        place->epoch = check == GW_CURSOR_OTHER_EPOCH;
        if (!place->epoch) {
            place->cursor = place->missing = seq;
            at_ms = gw_hub_time_at(hub, seq);
            if (gw_cursor_parse(&cursor, start->cursor, start->cursor_len) && cursor.settled)
                place->after = seq;
        }
    }
    if (at_ms > hub->wall_ms)
        at_ms = hub->wall_ms;
    if (place->missing != UINT64_MAX && start->at != GW_START_SINCE && at_ms != INT64_MIN)
        at_ms -= 2 * gw_windows_grace(hub); /* one that ended then may not have been sent yet */
    place->from = at_ms == INT64_MIN ? at_ms : gw_window_begin(at_ms, every_ms);
    int64_t farthest = gw_window_begin(hub->wall_ms, every_ms) - GW_WINDOWS_FARTHEST * every_ms;
    if (place->from < farthest)
        place->from = farthest;
    return GW_OK;
}

static void session_epoch_gap(struct gw_session *session, const char *text, size_t len, const struct gw_start *start)
{
    char to[64], *from = gw_strndup(start->cursor, start->cursor_len);
    gw_hub_format_cursor(session->hub, session->hub->head, to);
    struct gw_item item = {.type = GW_ITEM_GAP, .u.gap = gw_gap_create(text, len, from, to, "epoch")};
    gw_session_put(session, &item, 128);
    GW_STAT_ADD(&session->hub->stats, gaps, 1);
    GW_STAT_ADD(&session->hub->stats, gaps_epoch, 1);
    gw_session_mark_dirty(session);
    free(from);
}

enum gw_err gw_windows_subscribe(struct gw_session *session, const char *text, size_t len,
                                 const struct gw_start *start, struct gw_subscribed *out)
{
    struct gw_hub *hub = session->hub;
    struct place place;
    enum gw_err err = windows_check(session, text, len, start, out);
    if (err == GW_OK)
        err = windows_place(hub, text, len, start, &place);
    if (err != GW_OK)
        return err;
    struct gw_window_sub *sub = session_find(session, text, len, start->aggregate);
    if (!sub) {
        struct gw_window_set *set = gw_window_set_get(hub, text, len, start->aggregate);
        if (!set) {
            GW_STAT_ADD(&hub->stats, subscriptions_refused, 1);
            GW_SESSION_LOG_ONCE_A_SECOND(session, GW_LOG_WARN, "subscription refused: limits.aggregates (%u) reached",
                                         hub->config->limits.aggregates);
            out->why = "too many different aggregates are subscribed to (limits.aggregates)";
            return GW_ERR_LIMIT;
        }
        sub = session_add(session, set);
    }
    sub->after = place.after;
    sub->missing = place.missing;
    sub->waiting = false;
    gw_window_sub_join(sub, place.from, place.cursor);
    out->recovered = place.missing != UINT64_MAX && hub->channels.forgotten <= place.cursor;
    const struct gw_channel *channel =
        sub->set->filter->wildcard ? NULL : gw_channel_find(hub, text, len, gw_hash(text, len));
    if (channel && gw_channel_missing(channel) > place.cursor)
        out->recovered = false;
    out->snapshot = 0;
    out->fresh_to = 0;
    gw_hub_format_cursor(hub, place.cursor, out->cursor);
    GW_SESSION_LOG(session, GW_LOG_DEBUG, "subscribes to windows of '%.*s' from %s", (int)len, text, out->cursor);
    if (place.epoch)
        session_epoch_gap(session, text, len, start);
    return GW_OK;
}

bool gw_session_unsubscribe_from(struct gw_session *session, const char *text, size_t len,
                                 const struct gw_aggregate *aggregate)
{
    GW_ASSERT_LOOP(session->hub);
    struct gw_window_sub *sub = aggregate ? session_find(session, text, len, aggregate) : NULL;
    if (!aggregate)
        return gw_session_unsubscribe(session, text, len);
    if (sub) {
        GW_SESSION_LOG(session, GW_LOG_DEBUG, "unsubscribes from windows of '%.*s'", (int)len, text);
        gw_window_sub_free(sub);
    }
    return sub;
}

void gw_windows_drop(struct gw_session *session)
{
    while (session->windows)
        gw_window_sub_free(session->windows);
}

bool gw_windows_allowed(const struct gw_window_sub *sub)
{
    const struct gw_session *session = sub->session;
    const struct gw_filter *filter = sub->set->filter;
    return gw_session_check(session, GW_RIGHT_SUBSCRIBE, filter->text, filter->len) == GW_OK &&
           gw_session_check(session, GW_RIGHT_HISTORY, filter->text, filter->len) == GW_OK &&
           gw_windows_shows(session->grants, filter->text, filter->len, sub->set->shape->field);
}
