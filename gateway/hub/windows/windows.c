/* windows.c: windows of numbers, out of messages as they come.
 *
 * Every open window is in a table, by channel and shape, and in the list of its shape; a timer of the shape looks for
 * those that are over. A window counts as whole if it is certain that it has had every message of its time: it was
 * opened by the first of them, or came from the history. Any other (messages that are late, a clock that was set, a
 * window that was given up at limits.windows) is made out of the history when it is over. So what is sent is what
 * /series would say, and where the history is too short for that, the window says that it is partial. */
#include "hub/windows/windows.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/auth.h"
#include "gateway/clock.h"
#include "gateway/container.h"
#include "gateway/hub.h"
#include "gateway/identity.h"
#include "gateway/list.h"
#include "gateway/log.h"
#include "gateway/topic.h"
#include "hub/channel/channel.h"
#include "hub/hub_private.h"
#include "hub/series/series.h"
#include "hub/session/subscription.h"

/* After its end a window waits so long for messages that are on their way: from this gateway's broker, or from
 * another gateway over the engine. */
#define GRACE_MS        50
#define GRACE_SHARED_MS 500
/* The clock may be set: so a shape looks at its windows at least this often. */
#define LOOK_MS 1000
/* Windows that are sent in one turn. */
#define TURN_WINDOWS 512
/* When too many charts are being made. */
#define AGAIN_MS 20

int64_t gw_windows_grace(const struct gw_hub *hub)
{
    return hub->sharing ? GRACE_SHARED_MS : GRACE_MS;
}

bool gw_windows_shows(const struct gw_grants *grants, const char *name, size_t len, const char *field)
{
    return !grants || gw_grants_shows(grants, name, len, field);
}

/* --- sending ---------------------------------------------------------------------------------------------------- */

static void window_add_member(struct gw_buf *out, const char *key, double value)
{
    gw_buf_adds(out, key);
    gw_series_add_number(out, value);
}

struct gw_message *gw_window_message(const struct gw_shape *shape, const char *name, size_t len,
                                     const struct gw_window *window, bool partial, uint64_t cursor)
{
    struct gw_buf json = {0};
    gw_buf_adds(&json, "{\"field\":");
    gw_buf_add_json_string(&json, shape->field, strlen(shape->field));
    gw_buf_printf(&json, ",\"step\":%lld,\"t\":%lld", (long long)shape->every_ms, (long long)window->t);
    window_add_member(&json, ",\"min\":", window->min);
    window_add_member(&json, ",\"max\":", window->max);
    window_add_member(&json, ",\"mean\":", gw_series_mean(window));
    window_add_member(&json, ",\"last\":", window->last);
    gw_buf_printf(&json, ",\"count\":%llu%s}", (unsigned long long)window->count, partial ? ",\"partial\":true" : "");
    struct gw_message_spec spec = {
        .channel = name,
        .channel_len = len,
        .json = json.data,
        .json_len = json.len,
        .payload = json.data,
        .payload_len = json.len,
        .epoch = shape->hub->epoch,
        .seq = cursor,
        .ts = window->t + shape->every_ms,
        .born_ns = gw_monotonic_ns(),
        .route = GW_ROUTE_BY_NAME,
        .window = gw_aggregate_id(shape->field, shape->every_ms),
    };
    struct gw_message *msg = gw_message_create(&spec);
    gw_buf_fini(&json);
    return msg;
}

static void set_send(struct gw_window_set *set, const struct gw_open_window *open, const struct gw_window *window,
                     struct gw_message *msg)
{
    const struct gw_hub *hub = set->shape->hub;
    const struct gw_channel *channel = gw_channel_find(hub, open->name, open->len, open->hash);
    const struct gw_grants *grants = NULL;
    bool shows = true;
    for (uint32_t i = 0; i < set->count; i++) {
        struct gw_window_sub *sub = set->subs[i];
        if (sub->session->window_stamp == hub->windows.stamp)
            continue;
        if (sub->session->grants != grants) {
            grants = sub->session->grants;
            shows = gw_windows_shows(grants, open->name, open->len, set->shape->field);
        }
        if (shows)
            gw_window_deliver(sub, channel, msg, window);
    }
}

/* To all who want it, each session once. */
static void window_send(struct gw_open_window *open, const struct gw_window *window, bool partial)
{
    struct gw_shape *shape = open->shape;
    struct gw_hub *hub = shape->hub;
    if (!window->count)
        return;
    hub->windows.stamp++;
    GW_STAT_ADD(&hub->stats, windows, 1);
    struct gw_message *msg = gw_window_message(shape, open->name, open->len, window, partial, window->last_seq);
    struct gw_channel *channel = gw_channel_find(hub, open->name, open->len, open->hash);
    if (channel) {
        gw_channel_filters(hub, channel);
        for (uint32_t i = 0; i < channel->filter_count; i++) {
            for (struct gw_window_set *set = channel->filters[i]->windows; set; set = set->next) {
                if (set->shape == shape)
                    set_send(set, open, window, msg);
            }
        }
    } else { /* it was forgotten meanwhile */
        for (struct gw_window_set *set = shape->sets; set; set = set->beside) {
            if (gw_topic_matches(set->filter->text, set->filter->len, open->name, open->len))
                set_send(set, open, window, msg);
        }
    }
    gw_message_unref(msg);
}

/* --- open windows ----------------------------------------------------------------------------------------------- */

static uint64_t window_hash(const struct gw_shape *shape, uint64_t channel_hash)
{
    return (channel_hash ^ (uint64_t)(uintptr_t)shape >> 4) * 0x9e3779b97f4a7c15u >> 16;
}

/* Of that channel and shape, the next one after `open`, or the first. */
struct gw_open_window *gw_open_window_next(const struct gw_shape *shape, const char *name, size_t len, uint64_t hash,
                                           struct gw_open_window *open)
{
    struct gw_table_item *item =
        open ? gw_table_next(&open->item) : gw_table_first(&shape->hub->windows.open, window_hash(shape, hash));
    for (; item; item = gw_table_next(item)) {
        struct gw_open_window *found = GW_CONTAINER_OF(item, struct gw_open_window, item);
        if (found->shape == shape && found->len == len && !memcmp(found->name, name, len))
            return found;
    }
    return NULL;
}

static struct gw_open_window *window_find(const struct gw_shape *shape, const struct gw_channel *channel, int64_t t)
{
    struct gw_open_window *open = NULL;
    do
        open = gw_open_window_next(shape, channel->name, channel->len, channel->item.hash, open);
    while (open && open->window.t != t);
    return open;
}

void gw_open_window_close(struct gw_open_window *open)
{
    struct gw_shape *shape = open->shape;
    gw_series_cancel(open->series);
    gw_table_remove(&shape->hub->windows.open, &open->item);
    GW_QUEUE_REMOVE(shape->newest, open, next, link);
    GW_STAT_SET(&shape->hub->stats, windows_open, shape->hub->windows.open.count);
    free(open);
}

static void shape_look_at(struct gw_shape *shape, int64_t due_ms)
{
    if (!shape->timer.position || shape->timer.due_ms > due_ms)
        gw_timer_set(shape->hub->timers, &shape->timer, due_ms);
}

/* --- those that are over ---------------------------------------------------------------------------------------- */

static bool result_is_partial(const struct gw_series_result *result, const struct gw_window *window)
{
    for (size_t i = 0; i < result->gap_count; i++) {
        if (result->gaps[i].from < window->t + result->step && result->gaps[i].to > window->t)
            return true;
    }
    return false;
}

static void window_made(void *context, enum gw_err err, const struct gw_series_result *result)
{
    struct gw_open_window *open = context;
    const struct gw_window *made = NULL;
    open->series = NULL;
    for (size_t i = 0; err == GW_OK && i < result->count; i++) {
        if (result->windows[i].t == open->window.t)
            made = &result->windows[i];
    }
    bool partial = !made || open->early || result_is_partial(result, made);
    if (made && (!partial || made->count >= open->window.count))
        open->window = *made;
    window_send(open, &open->window, partial);
    gw_open_window_close(open);
}

/* False: too many charts are being made. */
static bool window_make(struct gw_open_window *open)
{
    struct gw_shape *shape = open->shape;
    const struct gw_series_ask ask = {
        .channel = open->name,
        .len = open->len,
        .field = shape->field,
        .from = open->window.t,
        .to = open->window.t + shape->every_ms,
        .points = 1,
        .step = shape->every_ms,
    };
    open->series = gw_series_begin(shape->hub, &ask, window_made, open);
    return open->series;
}

/* False: it can't be made yet. */
static bool window_over(struct gw_open_window *open)
{
    struct gw_shape *shape = open->shape;
    if (open->window.t + shape->every_ms > shape->whole_from)
        shape->whole_from = open->window.t + shape->every_ms;
    if (!open->whole && !open->partial) {
        open->due_ms = shape->hub->now_ms + AGAIN_MS;
        return window_make(open);
    }
    window_send(open, &open->window, open->partial);
    gw_open_window_close(open);
    return true;
}

static struct gw_open_window *shape_idle(const struct gw_shape *shape)
{
    struct gw_open_window *open = shape->oldest;
    while (open && open->series)
        open = open->next;
    return open;
}

/* At limits.windows: the one of this shape that was opened first, or else of any, is sent as it is. What comes of its
 * time later is in another one, which is made out of the history. False: all are being made already. */
static bool windows_give_up(const struct gw_shape *shape)
{
    struct gw_hub *hub = shape->hub;
    struct gw_open_window *open = shape_idle(shape);
    for (const struct gw_shape *other = hub->windows.shapes; !open && other; other = other->next)
        open = shape_idle(other);
    if (!open)
        return false;
    GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "hub",
                         "limits.windows (%u) reached: a window of '%s' is sent before its end and will come again",
                         hub->config->limits.windows, open->name);
    GW_STAT_ADD(&hub->stats, windows_early, 1);
    open->partial |= open->whole;
    open->whole = false;
    open->early = true;
    return window_over(open);
}

static struct gw_open_window *window_open(struct gw_shape *shape, const struct gw_channel *channel, int64_t t)
{
    struct gw_hub *hub = shape->hub;
    while (hub->windows.open.count >= hub->config->limits.windows && windows_give_up(shape)) {
    }
    struct gw_open_window *open = gw_calloc(1, sizeof *open + channel->len + 1);
    open->shape = shape;
    open->window.t = t;
    open->hash = channel->item.hash;
    open->len = channel->len;
    memcpy(open->name, channel->name, channel->len);
    int64_t left_ms = t + shape->every_ms - hub->wall_ms;
    left_ms = left_ms > shape->every_ms ? shape->every_ms : left_ms < 0 ? 0 : left_ms;
    open->due_ms = hub->now_ms + left_ms + gw_windows_grace(hub);
    gw_table_add(&hub->windows.open, &open->item, window_hash(shape, open->hash));
    GW_QUEUE_ADD(shape->newest, open, next, link);
    GW_STAT_SET(&hub->stats, windows_open, hub->windows.open.count);
    shape_look_at(shape, open->due_ms < hub->now_ms + LOOK_MS ? open->due_ms : hub->now_ms + LOOK_MS);
    return open;
}

void gw_shape_on_timer(struct gw_timer *timer)
{
    struct gw_shape *shape = GW_CONTAINER_OF(timer, struct gw_shape, timer);
    struct gw_hub *hub = shape->hub;
    int64_t due_ms = hub->now_ms + LOOK_MS, grace_ms = gw_windows_grace(hub);
    uint32_t left = TURN_WINDOWS;
    bool waiting = false;
    for (struct gw_open_window *open = shape->oldest, *next; open; open = next) {
        next = open->next;
        if (open->series)
            continue;
        waiting = true;
        bool over = open->due_ms <= hub->now_ms || open->window.t + shape->every_ms + grace_ms <= hub->wall_ms;
        if (over && left) {
            left--;
            window_over(open);
        } else {
            int64_t at_ms = over ? hub->now_ms : open->due_ms;
            due_ms = at_ms < due_ms ? at_ms : due_ms;
        }
        if (over && !left) {
            due_ms = hub->now_ms;
            break;
        }
    }
    if (waiting && shape->oldest)
        shape_look_at(shape, due_ms);
}

/* --- messages --------------------------------------------------------------------------------------------------- */

static void set_see(struct gw_window_set *set, const struct gw_channel *channel, const struct gw_message *msg)
{
    struct gw_shape *shape = set->shape;
    int64_t t = gw_window_begin(msg->ts, shape->every_ms);
    struct gw_open_window *open = window_find(shape, channel, t);
    if (!open) {
        open = window_open(shape, channel, t);
        /* Somebody has all of the channel, so an earlier message would have opened it. */
        open->whole = set->live && t >= set->whole_from && t >= shape->whole_from;
    }
    if (open->seen == msg->seq || open->series)
        return;
    open->seen = msg->seq;
    double sample;
    bool any = gw_sample_of(msg->data.data, msg->data.len, shape->field, &sample);
    gw_window_add(&open->window, msg->seq, any ? &sample : NULL);
}

void gw_windows_see(struct gw_hub *hub, struct gw_channel *channel, const struct gw_message *msg)
{
    gw_channel_filters(hub, channel);
    for (uint32_t i = 0; i < channel->filter_count; i++) {
        for (struct gw_window_set *set = channel->filters[i]->windows; set; set = set->next)
            set_see(set, channel, msg);
    }
}

bool gw_windows_adopt(struct gw_shape *shape, const struct gw_channel *channel, const struct gw_window *window,
                      bool partial)
{
    const struct gw_hub *hub = shape->hub;
    struct gw_open_window *open = window_find(shape, channel, window->t);
    if (!open && window->t + shape->every_ms + gw_windows_grace(hub) <= hub->wall_ms)
        return false;
    if (open && (open->series || (partial && open->whole)))
        return true;
    if (!open)
        open = window_open(shape, channel, window->t);
    open->window = *window;
    open->seen = channel->last_seq;
    open->whole = !partial;
    open->partial = partial;
    return true;
}

uint64_t gw_windows_sent(const struct gw_shape *shape, const char *name, size_t len)
{
    uint64_t sent = shape->hub->head, hash = gw_hash(name, len);
    for (struct gw_open_window *open = NULL; (open = gw_open_window_next(shape, name, len, hash, open));) {
        if (open->window.count && open->window.last_seq <= sent)
            sent = open->window.last_seq - 1;
    }
    return sent;
}
