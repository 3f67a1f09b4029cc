/* join.c: what subscriptions to windows need from before, and how they get what is new.
 *
 * A subscription that begins in the past, or was too slow, joins: for one channel after the other a series is made
 * out of the history (series.c) in windows of its length. Those that are over go into the session's queue; the open
 * one becomes the window that all share, unless it is there already. A series ends with the newest message, in the
 * same turn in which its windows are queued, so nothing comes between it and what is live. */
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/hub.h"
#include "gateway/session_log.h"
#include "gateway/topic.h"
#include "hub/channel/channel.h"
#include "hub/channel/history.h"
#include "hub/hub_private.h"
#include "hub/series/series.h"
#include "hub/session/queue.h"
#include "hub/session/subscription.h"
#include "hub/windows/windows.h"

/* Channels that one subscription looks at in a turn. */
#define TURN_CHANNELS 512
/* When too many charts are being made; and after the disk did not answer, so many times. */
#define AGAIN_MS  20
#define FAILED_MS 500
#define TRIES     3
/* By so much clocks may differ, or be set, and a window before that counts all the same. */
#define CLOCKS_MS 60000
/* Messages behind its cursor that a subscription looks at for those that belong to earlier windows. */
#define LATE_MESSAGES 4096

static bool sub_is_single(const struct gw_window_sub *sub)
{
    return sub->session->window_count == 1 && !sub->set->filter->wildcard;
}

/* What is still to be joined by the session is behind this number. */
static uint64_t session_joins_from(const struct gw_session *session)
{
    uint64_t from = UINT64_MAX;
    for (const struct gw_window_sub *sub = session->windows; sub; sub = sub->next) {
        if (sub->joining && sub->cursor < from)
            from = sub->cursor;
    }
    return from;
}

static void sub_put(struct gw_window_sub *sub, struct gw_message *msg)
{
    struct gw_session *session = sub->session;
    struct gw_item item = {.type = GW_ITEM_MESSAGE, .u.message = msg};
    gw_session_put(session, &item, msg->text.len);
    GW_STAT_ADD(&session->hub->stats, deliveries, 1);
    gw_session_mark_dirty(session);
}

/* --- joining ---------------------------------------------------------------------------------------------------- */

/* Not at once: its transport has not answered yet. */
void gw_window_sub_join(struct gw_window_sub *sub, int64_t from, uint64_t cursor)
{
    struct gw_hub *hub = sub->session->hub;
    gw_series_cancel(sub->series);
    sub->series = NULL;
    if (!sub->joining) {
        sub->session->window_joins++;
        sub->set->live--;
    }
    sub->joining = true;
    sub->from = from;
    sub->resume = INT64_MIN;
    sub->cursor = cursor;
    sub->slot = 0;
    sub->tries = 0;
    if (!sub->waiting)
        gw_timer_set(hub->timers, &sub->timer, hub->now_ms);
}

static void sub_is_live(struct gw_window_sub *sub)
{
    struct gw_window_set *set = sub->set;
    if (!set->live++)
        set->whole_from = gw_window_begin(sub->session->hub->wall_ms, set->shape->every_ms);
}

static void sub_joined(struct gw_window_sub *sub)
{
    sub->joining = false;
    sub->session->window_joins--;
    sub_is_live(sub);
    sub->missing = UINT64_MAX;
    sub->after = 0;
    gw_session_mark_dirty(sub->session); /* it may wait for just that */
}

static void sub_next_channel(struct gw_window_sub *sub)
{
    sub->slot++;
    sub->resume = INT64_MIN;
    sub->tries = 0;
}

/* The channel that is next, from sub->slot on; NULL: there is none, or not in this turn (*left is 0). */
static struct gw_channel *sub_channel(struct gw_window_sub *sub, uint32_t *left)
{
    const struct gw_hub *hub = sub->session->hub;
    const struct gw_filter *filter = sub->set->filter;
    if (!filter->wildcard)
        return sub->slot ? NULL : gw_channel_find(hub, filter->text, filter->len, gw_hash(filter->text, filter->len));
    for (; sub->slot < hub->channels.slot_count && *left; sub->slot++, --*left) {
        struct gw_channel *channel = gw_channel_at(hub, sub->slot);
        if (channel && gw_topic_matches(filter->text, filter->len, channel->name, channel->len))
            return channel;
    }
    return NULL;
}

/* What came last is usually what came latest, unless the clock was set or gateways have different ones. */
static bool sub_has_to_join(const struct gw_window_sub *sub, const struct gw_channel *channel)
{
    return channel->last_seq > sub->after && !(channel->last && channel->last->ts < sub->from - CLOCKS_MS) &&
           gw_windows_shows(sub->session->grants, channel->name, channel->len, sub->set->shape->field);
}

static void sub_gap(struct gw_window_sub *sub, struct gw_channel *channel)
{
    struct gw_session *session = sub->session;
    char from[64], to[64];
    gw_channel_expire(session->hub, channel);
    uint64_t gone = gw_channel_missing(channel);
    if (gone <= sub->missing)
        return;
    gw_hub_format_cursor(session->hub, sub->missing, from);
    gw_hub_format_cursor(session->hub, gone, to);
    struct gw_item item = {.type = GW_ITEM_GAP,
                           .u.gap = gw_gap_create(channel->name, channel->len, from, to, "history")};
    gw_session_put(session, &item, 128);
    GW_STAT_ADD(&session->hub->stats, gaps, 1);
    GW_STAT_ADD(&session->hub->stats, gaps_history, 1);
    gw_session_mark_dirty(session);
}

/* Windows that are over go into the queue. False: it is full. */
static bool sub_take(struct gw_window_sub *sub, const struct gw_channel *channel,
                     const struct gw_series_result *result)
{
    struct gw_session *session = sub->session;
    struct gw_shape *shape = sub->set->shape;
    size_t gap = 0;
    for (size_t i = 0; i < result->count; i++) {
        const struct gw_window *window = &result->windows[i];
        while (gap < result->gap_count && result->gaps[gap].to <= window->t)
            gap++;
        bool partial = gap < result->gap_count && result->gaps[gap].from < window->t + shape->every_ms;
        if (!window->count || window->last_seq <= sub->after || gw_windows_adopt(shape, channel, window, partial))
            continue;
        if (!gw_session_has_room(session)) {
            sub->resume = window->t;
            return false;
        }
        bool single = sub_is_single(sub);
        if (single && window->last_seq > sub->cursor)
            sub->cursor = window->last_seq;
        uint64_t cursor = single ? sub->cursor : session_joins_from(session);
        GW_STAT_ADD(&session->hub->stats, windows, 1);
        sub_put(sub, gw_window_message(shape, channel->name, channel->len, window, partial, cursor));
    }
    return true;
}

static void sub_step(struct gw_window_sub *sub);

static void sub_made(void *context, enum gw_err err, const struct gw_series_result *result)
{
    struct gw_window_sub *sub = context;
    struct gw_hub *hub = sub->session->hub;
    sub->series = NULL;
    if (err != GW_OK && ++sub->tries < TRIES) {
        gw_timer_set(hub->timers, &sub->timer, hub->now_ms + FAILED_MS);
        return;
    }
    struct gw_channel *channel =
        gw_channel_find(hub, sub->name.data, sub->name.len, gw_hash(sub->name.data, sub->name.len));
    if (channel && sub->missing != UINT64_MAX && sub->resume == INT64_MIN)
        sub_gap(sub, channel);
    if (channel && err == GW_OK && !sub_take(sub, channel, result)) {
        sub->waiting = true;
        return;
    }
    sub_next_channel(sub);
    sub_step(sub);
}

struct late {
    int64_t from;
    unsigned left;
};

static bool late_visit(void *context, struct gw_message *msg)
{
    struct late *late = context;
    late->from = msg->ts < late->from ? msg->ts : late->from;
    return --late->left;
}

/* A message behind the cursor may belong to a window before that of the cursor: it was late. */
static int64_t sub_from(const struct gw_window_sub *sub, const struct gw_channel *channel)
{
    const struct gw_hub *hub = sub->session->hub;
    int64_t every_ms = sub->set->shape->every_ms;
    struct late late = {.from = sub->from, .left = LATE_MESSAGES};
    if (sub->resume != INT64_MIN)
        return sub->resume;
    gw_channel_history_read(channel, sub->cursor, late_visit, &late);
    int64_t farthest = gw_window_begin(hub->wall_ms, every_ms) - GW_WINDOWS_FARTHEST * every_ms;
    return gw_window_begin(late.from < farthest ? farthest : late.from, every_ms);
}

static void sub_step(struct gw_window_sub *sub)
{
    struct gw_hub *hub = sub->session->hub;
    uint32_t left = TURN_CHANNELS;
    struct gw_channel *channel;
    if (sub->session->kicked)
        return;
    while ((channel = sub_channel(sub, &left)) && !sub_has_to_join(sub, channel))
        sub_next_channel(sub);
    if (!channel && !left) {
        gw_timer_set(hub->timers, &sub->timer, hub->now_ms);
    } else if (!channel) {
        if (!sub->set->filter->wildcard)
            sub->slot = 1;
        sub_joined(sub);
    } else {
        gw_buf_clear(&sub->name);
        gw_buf_add(&sub->name, channel->name, channel->len);
        const struct gw_shape *shape = sub->set->shape;
        int64_t from = sub_from(sub, channel);
        const struct gw_series_ask ask = {
            .channel = sub->name.data,
            .len = sub->name.len,
            .field = shape->field,
            .from = from,
            .to = (from > hub->wall_ms ? from : hub->wall_ms) + 1,
            .points = 1,
            .step = shape->every_ms,
        };
        sub->series = gw_series_begin(hub, &ask, sub_made, sub);
        if (!sub->series)
            gw_timer_set(hub->timers, &sub->timer, hub->now_ms + AGAIN_MS);
    }
}

void gw_window_sub_on_timer(struct gw_timer *timer)
{
    struct gw_window_sub *sub = (struct gw_window_sub *)timer;
    if (sub->joining && !sub->series && !sub->waiting)
        sub_step(sub);
}

void gw_windows_drained(struct gw_session *session)
{
    for (struct gw_window_sub *sub = session->windows; sub; sub = sub->next) {
        if (!sub->waiting)
            continue;
        sub->waiting = false;
        gw_timer_set(session->hub->timers, &sub->timer, session->hub->now_ms);
    }
}

/* --- live ------------------------------------------------------------------------------------------------------- */

/* Has it joined that channel? */
static bool sub_has(const struct gw_window_sub *sub, const struct gw_channel *channel)
{
    if (!sub->joining)
        return true;
    return channel && sub->slot > (sub->set->filter->wildcard ? channel->slot : 0);
}

/* A window of a channel that is still to be joined, or is being joined. It was late if that begins after it. */
static void sub_goes_back(struct gw_window_sub *sub, const struct gw_channel *channel, int64_t t)
{
    struct gw_hub *hub = sub->session->hub;
    bool begun = sub->resume != INT64_MIN && channel && sub->name.len == channel->len &&
                 !memcmp(sub->name.data, channel->name, channel->len);
    if (!begun) {
        if (t < sub->from)
            gw_window_sub_join(sub, t, sub->cursor);
    } else if (t < sub->resume) {
        sub->resume = t;
        gw_series_cancel(sub->series);
        sub->series = NULL;
        if (!sub->waiting)
            gw_timer_set(hub->timers, &sub->timer, hub->now_ms);
    }
}

void gw_window_deliver(struct gw_window_sub *sub, const struct gw_channel *channel, struct gw_message *msg,
                       const struct gw_window *window)
{
    struct gw_session *session = sub->session;
    struct gw_hub *hub = session->hub;
    if (session->kicked)
        return;
    if (!sub_has(sub, channel)) {
        sub_goes_back(sub, channel, window->t);
        return;
    }
    session->window_stamp = hub->windows.stamp;
    if (!gw_session_has_room(session)) {
        GW_STAT_ADD(&hub->stats, overflows, 1);
        GW_SESSION_LOG_ONCE_A_SECOND(session, GW_LOG_WARN, "the client reads too slowly: %zu bytes wait for it",
                                     session->queued_bytes);
        sub->waiting = true;
        sub->missing = UINT64_MAX;
        session->window_falls++;
        if (sub->joining) /* it goes back to this window, or stays further back */
            gw_window_sub_join(sub, sub->from < window->t ? sub->from : window->t, sub->cursor);
        else
            gw_window_sub_join(sub, window->t, msg->seq - 1);
        return;
    }
    if (session->window_joins)
        sub_put(sub, gw_message_at(msg, hub->epoch, session_joins_from(session)));
    else
        sub_put(sub, gw_message_ref(msg));
}

void gw_windows_lost(struct gw_session *session, uint64_t before)
{
    session->window_falls++;
    for (struct gw_window_sub *sub = session->windows; sub; sub = sub->next) {
        int64_t from = gw_window_begin(session->hub->wall_ms, sub->set->shape->every_ms);
        if (sub->joining) { /* it goes on with what it is at */
            sub->missing = sub->missing < before ? sub->missing : before;
            continue;
        }
        sub->missing = before;
        gw_window_sub_join(sub, from, before);
    }
}

void gw_windows_again(struct gw_session *session, const struct gw_message *msg)
{
    session->window_falls++;
    for (struct gw_window_sub *sub = session->windows; sub; sub = sub->next) {
        int64_t from = msg->ts - sub->set->shape->every_ms;
        if (!gw_topic_matches(sub->set->filter->text, sub->set->filter->len, msg->channel.data, msg->channel.len))
            continue;
        if (!sub->joining || sub->from > from)
            gw_window_sub_join(sub, gw_window_begin(from, sub->set->shape->every_ms), msg->seq - 1);
    }
}

uint64_t gw_windows_place(const struct gw_session *session)
{
    uint64_t place = session_joins_from(session);
    if (place != UINT64_MAX)
        return place;
    place = session->hub->head;
    for (const struct gw_window_sub *sub = session->windows; sub; sub = sub->next) {
        const struct gw_filter *filter = sub->set->filter;
        uint64_t sent = filter->wildcard ? place : gw_windows_sent(sub->set->shape, filter->text, filter->len);
        place = sent < place ? sent : place;
    }
    return place;
}
