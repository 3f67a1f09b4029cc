#include "hub/series.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/clock.h"
#include "gateway/container.h"
#include "gateway/hub.h"
#include "hub/channel.h"
#include "hub/history.h"
#include "hub/hub_private.h"
#include "route/routes.h"

/* A slice ends after so long; the clock is looked at once in so many messages. */
#define SLICE_NS    1000000
#define SLICE_CHECK 64
/* The engine has so long. */
#define ENGINE_MS 10000
/* Of one series: how often the engine is asked, and messages that are caught meanwhile. */
#define TRIES      4
#define CAUGHT_MAX 65536

/* Two have it: the hub, and whoever carries the question: the engine, then the mail. */
struct gw_series {
    struct gw_letter letter;
    struct gw_engine_series question;
    atomic_uint refs;
    struct gw_mail mail;
    unsigned worker;
    char *channel, *field;
    int64_t from, to, step;
    /* The carrier's while it is on its way: */
    struct gw_window *windows;
    size_t count, allocated;
    struct gw_series_gap *gaps;
    size_t gap_count, gap_allocated;
    enum gw_err err;
    uint64_t at;     /* messages up to here are in */
    int64_t at_ts;   /* ... when the last of them came; 0: there is none */
    uint64_t lost;   /* any message up to here may be missing, whatever is there; 0: none */
    int64_t missing; /* from then on messages are missing, until the next one; INT64_MIN: none are */
    /* The hub's: */
    struct gw_hub *hub;
    struct gw_timer timer;
    size_t own_gaps;   /* that the engine has not told */
    bool asking, live; /* live: what comes while it is made belongs to it */
    int64_t slice_end_ns;
    uint32_t visits;
    /* Where the engine's windows end before the history begins, it is asked again, and what comes is caught. */
    unsigned tries;
    uint64_t need; /* then: the engine has to have up to here */
    struct gw_message **caught;
    size_t caught_count, caught_allocated;
    struct gw_series *next, **link; /* of those that catch; link NULL: it does not */
    gw_series_done done;            /* NULL: cancelled */
    void *context;
};

static void series_unref(struct gw_series *series)
{
    if (atomic_fetch_sub(&series->refs, 1) != 1)
        return;
    for (size_t i = 0; i < series->caught_count; i++)
        gw_message_unref(series->caught[i]);
    free(series->caught);
    free(series->windows);
    free(series->gaps);
    free(series->channel);
    free(series->field);
    free(series);
}

static void series_catch_no_more(struct gw_series *series)
{
    if (!series->link)
        return;
    *series->link = series->next;
    if (series->next)
        series->next->link = series->link;
    series->link = NULL;
}

void gw_series_catch(struct gw_hub *hub, struct gw_message *msg)
{
    for (struct gw_series *series = hub->series_catching; series; series = series->next) {
        if (strcmp(series->channel, msg->channel.data) != 0 || series->caught_count == CAUGHT_MAX)
            continue;
        GW_GROW(series->caught, series->caught_count, series->caught_allocated, 64);
        series->caught[series->caught_count++] = gw_message_ref(msg);
    }
}

/* Of a time that belongs to the series, or NULL. */
static struct gw_window *series_window(struct gw_series *series, int64_t ts)
{
    if (ts < series->from || (ts >= series->to && !series->live))
        return NULL;
    size_t index = (size_t)((ts - series->from) / series->step);
    if (index >= series->count && index > series->count + 1)
        return NULL; /* the clock was set */
    while (series->count <= index) {
        GW_GROW(series->windows, series->count, series->allocated, 16);
        series->windows[series->count] =
            (struct gw_window){.t = series->from + (int64_t)series->count * series->step};
        series->count++;
        series->to = series->from + (int64_t)series->count * series->step;
    }
    return &series->windows[index];
}

static void series_gap(struct gw_series *series, int64_t from, int64_t to)
{
    GW_GROW(series->gaps, series->gap_count, series->gap_allocated, 8);
    series->gaps[series->gap_count++] = (struct gw_series_gap){from, to};
}

/* --- the end ---------------------------------------------------------------------------------------------------- */

static int gap_compare(const void *left, const void *right)
{
    const struct gw_series_gap *a = left, *b = right;
    return a->from < b->from ? -1 : a->from > b->from;
}

/* Inside the series, in order, joined. */
static void series_tidy_gaps(struct gw_series *series)
{
    if (series->gap_count)
        qsort(series->gaps, series->gap_count, sizeof *series->gaps, gap_compare);
    size_t kept = 0;
    for (size_t i = 0; i < series->gap_count; i++) {
        struct gw_series_gap gap = series->gaps[i];
        gap.from = gap.from < series->from ? series->from : gap.from;
        gap.to = gap.to > series->to ? series->to : gap.to;
        if (gap.from >= gap.to)
            continue;
        struct gw_series_gap *last = kept ? &series->gaps[kept - 1] : NULL;
        if (last && gap.from <= last->to)
            last->to = gap.to > last->to ? gap.to : last->to;
        else
            series->gaps[kept++] = gap;
    }
    series->gap_count = kept;
}

static void series_end(struct gw_series *series, enum gw_err err)
{
    struct gw_hub *hub = series->hub;
    gw_series_done done = series->done;
    gw_timer_cancel(hub->timers, &series->timer);
    hub->series_count--;
    series->done = NULL;
    series_catch_no_more(series);
    if (err == GW_OK) {
        series_tidy_gaps(series);
        struct gw_series_result result = {
            .from = series->from,
            .to = series->to,
            .step = series->step,
            .windows = series->windows,
            .count = series->count,
            .gaps = series->gaps,
            .gap_count = series->gap_count,
            .seq = series->at > hub->head ? series->at : hub->head,
        };
        for (size_t i = 0; i < series->count; i++)
            result.skipped += series->windows[i].skipped;
        done(series->context, err, &result);
    } else {
        done(series->context, err, NULL);
    }
    series_unref(series);
}

/* --- out of the history ----------------------------------------------------------------------------------------- */

/* The end of what it has. */
static int64_t series_from(const struct gw_series *series)
{
    return series->at_ts > series->from ? series->at_ts : series->from;
}

static void series_take(struct gw_series *series, const struct gw_message *msg)
{
    double sample;
    if (series->missing == INT64_MIN && series->at < series->lost && msg->seq > series->lost)
        series->missing = series_from(series);
    if (series->missing != INT64_MIN)
        series_gap(series, series->missing, msg->ts);
    series->missing = INT64_MIN;
    series->at = msg->seq;
    series->at_ts = msg->ts;
    struct gw_window *window = series_window(series, msg->ts);
    if (window)
        gw_window_add(window, msg->seq,
                      gw_sample_of(msg->data.data, msg->data.len, series->field, &sample) ? &sample : NULL);
}

static bool series_visit(void *context, struct gw_message *msg)
{
    struct gw_series *series = context;
    series_take(series, msg);
    return ++series->visits % SLICE_CHECK || gw_monotonic_ns() < series->slice_end_ns;
}

/* The history begins behind what the series has. */
static void series_note_missing(struct gw_series *series, const struct gw_channel *channel)
{
    uint64_t gone = gw_channel_history_evicted(channel);
    bool aged = channel->history && channel->engine->evicted_ts &&
                channel->engine->evicted_ts(channel->history) < series->from;
    if (channel->last && gone >= channel->last->seq)
        gone = channel->before_last;
    if (!series->hub->series_engine) /* or else it knows the times of what it has lost */
        series->lost = gw_channel_losses(channel).lost;
    if (!aged && gone > series->at && series->missing == INT64_MIN)
        series->missing = series_from(series);
}

/* True: nothing is left. */
static bool series_read(struct gw_series *series, struct gw_channel *channel)
{
    struct gw_hub *hub = series->hub;
    gw_channel_expire(hub, channel);
    uint64_t gone = gw_channel_history_evicted(channel);
    for (size_t i = 0; i < series->caught_count && series->caught[i]->seq <= gone; i++) {
        if (series->caught[i]->seq > series->at)
            series_take(series, series->caught[i]);
    }
    series_note_missing(series, channel);
    series->slice_end_ns = gw_monotonic_ns() + SLICE_NS;
    series->visits = 0;
    uint64_t before;
    do {
        before = series->at;
        gw_channel_history_read(channel, series->at, series_visit, series);
    } while (series->at != before && gw_monotonic_ns() < series->slice_end_ns);
    if (series->at != before)
        return false;
    if (channel->last && channel->last->seq > series->at) /* that the history threw away, but the hub holds */
        series_take(series, channel->last);
    return true;
}

static void series_slice(struct gw_timer *timer)
{
    struct gw_series *series = GW_CONTAINER_OF(timer, struct gw_series, timer);
    struct gw_hub *hub = series->hub;
    if (series->asking) { /* no answer in time; it may still come */
        series_end(series, GW_ERR_OVERLOADED);
        return;
    }
    size_t len = strlen(series->channel);
    struct gw_channel *channel = gw_channel_find(hub, series->channel, len, gw_hash(series->channel, len));
    if (channel && !series_read(series, channel)) {
        gw_timer_set(hub->timers, timer, hub->now_ms + 1);
        return;
    }
    bool forgotten = !channel && hub->channels.forgotten > series->at && !hub->series_engine;
    if (series->missing == INT64_MIN && (forgotten || series->lost > series->at))
        series->missing = series_from(series);
    if (series->missing != INT64_MIN)
        series_gap(series, series->missing, hub->wall_ms);
    series_end(series, GW_OK);
}

/* --- out of the engine ------------------------------------------------------------------------------------------ */

static void series_on_window(struct gw_engine_series *question, const struct gw_window *window)
{
    struct gw_series *series = GW_CONTAINER_OF(question, struct gw_series, question);
    struct gw_window *own = series_window(series, window->t);
    if (own)
        gw_window_merge(own, window);
}

static void series_on_gap(struct gw_engine_series *question, int64_t from, int64_t to)
{
    series_gap(GW_CONTAINER_OF(question, struct gw_series, question), from, to);
}

static void series_on_done(struct gw_engine_series *question, enum gw_err err, uint64_t seq, int64_t ts,
                           int64_t since)
{
    struct gw_series *series = GW_CONTAINER_OF(question, struct gw_series, question);
    series->err = err;
    series->at = seq;
    series->at_ts = ts;
    if (since != INT64_MAX)
        series_gap(series, INT64_MIN, since);
    series->mail.send(series->mail.context, series->worker, &series->letter);
}

static void series_dropped(struct gw_letter *letter)
{
    series_unref(GW_CONTAINER_OF(letter, struct gw_series, letter));
}

/* --- the plan --------------------------------------------------------------------------------------------------- */

/* Does the history reach back to the beginning of the series? */
static bool series_is_covered(const struct gw_series *series)
{
    size_t len = strlen(series->channel);
    const struct gw_channel *channel =
        gw_channel_find(series->hub, series->channel, len, gw_hash(series->channel, len));
    if (!channel)
        return false;
    uint64_t gone = gw_channel_history_evicted(channel);
    return !gone || (channel->history && channel->engine->evicted_ts &&
                     channel->engine->evicted_ts(channel->history) < series->from);
}

/* The longest windows that are short enough, of those that are kept for long enough; or the next best. NULL: none,
 * since the messages themselves do. */
static const struct gw_rollup_step *series_choose(const struct gw_series *series, const struct gw_rollup *rollup,
                                                  int64_t wanted)
{
    const struct gw_rollup_step *best = NULL;
    int64_t oldest = series->hub->wall_ms - series->from;
    if (wanted < rollup->steps[0].every_ms && series_is_covered(series))
        return NULL;
    for (uint32_t i = 0; i < rollup->step_count; i++) {
        const struct gw_rollup_step *step = &rollup->steps[i];
        bool reaches = step->keep_ms >= oldest, reached = best && best->keep_ms >= oldest;
        if (!best || (reaches && (!reached || step->every_ms <= wanted)) ||
            (!reached && step->keep_ms > best->keep_ms))
            best = step;
    }
    return best;
}

/* Fills step, from and to. Returns the length of the windows that the engine is asked for; 0: none. */
static int64_t series_plan(struct gw_series *series, const struct gw_cfg_route *route, uint32_t points)
{
    const struct gw_rollup *rollup = route ? route->rollup : NULL;
    int64_t range = series->to - series->from, wanted = (range + points - 1) / points;
    const struct gw_rollup_step *step =
        rollup && gw_rollup_has(rollup, series->field) ? series_choose(series, rollup, wanted) : NULL;
    series->step = step ? (wanted + step->every_ms - 1) / step->every_ms * step->every_ms : wanted;
    series->from = gw_window_begin(series->from, series->step);
    series->to = gw_window_begin(series->to + series->step - 1, series->step);
    if (step) /* older windows are gone */
        series_gap(series, INT64_MIN, gw_window_begin(series->hub->wall_ms - step->keep_ms, step->every_ms));
    return step ? step->every_ms : 0;
}

static uint64_t series_need(const struct gw_series *series)
{
    size_t len = strlen(series->channel);
    const struct gw_channel *channel =
        gw_channel_find(series->hub, series->channel, len, gw_hash(series->channel, len));
    return channel ? gw_channel_history_evicted(channel) : 0;
}

static void series_deliver(struct gw_letter *letter, struct gw_hub *hub);

static void series_ask(struct gw_series *series, int64_t every_ms)
{
    struct gw_hub *hub = series->hub;
    size_t len = strlen(series->channel);
    series->question = (struct gw_engine_series){
        .channel = series->channel,
        .len = len,
        .hash = gw_hash(series->channel, len),
        .field = series->field,
        .every_ms = every_ms,
        .from = series->from,
        .to = series->to,
        .need = series->link ? series->need : series_need(series),
        .window = series_on_window,
        .gap = series_on_gap,
        .done = series_on_done,
    };
    series->letter = (struct gw_letter){.deliver = series_deliver, .drop = series_dropped};
    atomic_fetch_add(&series->refs, 1);
    series->asking = true;
    gw_timer_set(hub->timers, &series->timer, hub->now_ms + ENGINE_MS);
    if (hub->series_engine->series(hub->series_store, &series->question) == GW_OK)
        return;
    series_unref(series);
    series->asking = false;
    gw_timer_set(hub->timers, &series->timer, hub->now_ms);
}

/* Once more, from the beginning. */
static void series_ask_again(struct gw_series *series, const struct gw_channel *channel)
{
    struct gw_hub *hub = series->hub;
    for (size_t i = 0; i < series->count; i++)
        series->windows[i] = (struct gw_window){.t = series->windows[i].t};
    series->gap_count = series->own_gaps;
    series->at = 0;
    series->at_ts = 0;
    if (!series->link) {
        series->need = channel->last_seq;
        series->next = hub->series_catching;
        if (series->next)
            series->next->link = &series->next;
        series->link = &hub->series_catching;
        hub->series_catching = series;
    }
    series_ask(series, series->question.every_ms);
}

static void series_deliver(struct gw_letter *letter, struct gw_hub *hub)
{
    struct gw_series *series = GW_CONTAINER_OF(letter, struct gw_series, letter);
    size_t len = strlen(series->channel);
    const struct gw_channel *channel =
        series->done ? gw_channel_find(hub, series->channel, len, gw_hash(series->channel, len)) : NULL;
    uint64_t wanted = !channel ? 0 : series->link ? series->need : gw_channel_history_evicted(channel);
    series->asking = false;
    if (series->done && series->err != GW_OK)
        series_end(series, series->err);
    else if (channel && series->question.every_ms && series->at < wanted && ++series->tries < TRIES)
        series_ask_again(series, channel);
    else if (series->done)
        gw_timer_set(hub->timers, &series->timer, hub->now_ms);
    series_unref(series);
}

struct gw_series *gw_series_begin(struct gw_hub *hub, const struct gw_series_ask *ask, gw_series_done done,
                                  void *context)
{
    GW_ASSERT_LOOP(hub);
    if (hub->series_count >= GW_SERIES_MAX)
        return NULL;
    hub->series_count++;
    struct gw_series *series = gw_calloc(1, sizeof *series);
    atomic_init(&series->refs, 1);
    series->mail = hub->mail;
    series->worker = hub->worker;
    series->hub = hub;
    series->channel = gw_strndup(ask->channel, ask->len);
    series->field = gw_strdup(ask->field);
    series->from = ask->from;
    series->to = ask->to;
    series->live = ask->to >= hub->wall_ms;
    series->missing = INT64_MIN;
    series->done = done;
    series->context = context;
    series->timer.fire = series_slice;
    const struct gw_cfg_route *route = gw_routes_of_channel(hub->routes, ask->channel, ask->len);
    int64_t every_ms = series_plan(series, route, ask->points);
    series->count = series->allocated = (size_t)((series->to - series->from) / series->step);
    series->windows = gw_calloc(series->count, sizeof *series->windows);
    for (size_t i = 0; i < series->count; i++)
        series->windows[i].t = series->from + (int64_t)i * series->step;
    bool kept = route && route->history_engine->kept && hub->series_engine;
    if (!kept && !hub->sharing) /* the history of another process is gone */
        series_gap(series, INT64_MIN, hub->started_ms);
    series->own_gaps = series->gap_count;
    if (kept)
        series_ask(series, every_ms);
    else
        gw_timer_set(hub->timers, &series->timer, hub->now_ms);
    return series;
}

void gw_series_cancel(struct gw_series *series)
{
    if (!series || !series->done)
        return;
    series->done = NULL;
    gw_timer_cancel(series->hub->timers, &series->timer);
    series->hub->series_count--;
    series_catch_no_more(series);
    series_unref(series);
}

void gw_hub_series_init(struct gw_hub *hub, const struct gw_engine *engine, struct gw_engine_store *store)
{
    hub->series_engine = engine->series ? engine : NULL;
    hub->series_store = store;
    hub->started_ms = hub->wall_ms;
}
