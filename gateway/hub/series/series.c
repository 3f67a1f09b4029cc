/* series.c: which windows a chart gets, and from where. */
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/container.h"
#include "gateway/hub.h"
#include "hub/channel/channel.h"
#include "hub/channel/history.h"
#include "hub/hub_private.h"
#include "hub/series/private.h"
#include "route/routes.h"

/* How long the engine may take. */
#define ENGINE_MS 10000
/* Of one series: how often the engine is asked, and messages that are caught meanwhile. */
#define TRIES      4
#define CAUGHT_MAX 65536

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

/* --- the end ---------------------------------------------------------------------------------------------------- */

static void series_end(struct gw_series *series, enum gw_err err)
{
    struct gw_hub *hub = series->hub;
    gw_series_done done = series->done;
    gw_timer_cancel(hub->timers, &series->timer);
    hub->series_count--;
    series->done = NULL;
    series_catch_no_more(series);
    if (err == GW_OK) {
        gw_series_tidy_gaps(series);
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
    if (channel && !gw_series_read(series, channel)) {
        gw_timer_set(hub->timers, timer, hub->now_ms + 1);
        return;
    }
    bool forgotten = !channel && hub->channels.forgotten > series->at && !hub->series_engine;
    if (series->missing == INT64_MIN && (forgotten || series->lost > series->at))
        series->missing = gw_series_end_of(series);
    if (series->missing != INT64_MIN)
        gw_series_gap(series, series->missing, hub->wall_ms);
    series_end(series, GW_OK);
}

/* --- out of the engine ------------------------------------------------------------------------------------------ */

static void series_on_window(struct gw_engine_series *question, const struct gw_window *window)
{
    struct gw_series *series = GW_CONTAINER_OF(question, struct gw_series, question);
    struct gw_window *own = gw_series_window(series, window->t);
    if (own)
        gw_window_merge(own, window);
}

static void series_on_gap(struct gw_engine_series *question, int64_t from, int64_t to)
{
    gw_series_gap(GW_CONTAINER_OF(question, struct gw_series, question), from, to);
}

static void series_on_done(struct gw_engine_series *question, enum gw_err err, uint64_t seq, int64_t ts,
                           int64_t since)
{
    struct gw_series *series = GW_CONTAINER_OF(question, struct gw_series, question);
    series->err = err;
    series->at = seq;
    series->at_ts = ts;
    if (since != INT64_MAX)
        gw_series_gap(series, INT64_MIN, since);
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

/* The same for windows of a given length, which those of the rollup have to fill exactly. */
static const struct gw_rollup_step *series_choose_exact(const struct gw_series *series,
                                                        const struct gw_rollup *rollup, int64_t every_ms)
{
    const struct gw_rollup_step *best = NULL;
    if (series_is_covered(series))
        return NULL;
    for (uint32_t i = 0; i < rollup->step_count; i++) {
        const struct gw_rollup_step *step = &rollup->steps[i];
        if (every_ms % step->every_ms == 0 && (!best || step->keep_ms > best->keep_ms))
            best = step;
    }
    return best;
}

/* Fills step, from and to. Returns the length of the windows that the engine is asked for; 0: none. */
static int64_t series_plan(struct gw_series *series, const struct gw_cfg_route *route,
                           const struct gw_series_ask *ask)
{
    const struct gw_rollup *rollup =
        route && route->rollup && gw_rollup_has(route->rollup, series->field) ? route->rollup : NULL;
    int64_t range = series->to - series->from;
    int64_t wanted = ask->step ? ask->step : (range + ask->points - 1) / ask->points;
    const struct gw_rollup_step *step = !rollup     ? NULL
                                        : ask->step ? series_choose_exact(series, rollup, wanted)
                                                    : series_choose(series, rollup, wanted);
    series->step = step ? (wanted + step->every_ms - 1) / step->every_ms * step->every_ms : wanted;
    series->from = gw_window_begin(series->from, series->step);
    series->to = gw_window_begin(series->to + series->step - 1, series->step);
    if (step) /* older windows are gone */
        gw_series_gap(series, INT64_MIN, gw_window_begin(series->hub->wall_ms - step->keep_ms, step->every_ms));
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
    int64_t every_ms = series_plan(series, route, ask);
    series->count = series->allocated = (size_t)((series->to - series->from) / series->step);
    series->windows = gw_calloc(series->count, sizeof *series->windows);
    for (size_t i = 0; i < series->count; i++)
        series->windows[i].t = series->from + (int64_t)i * series->step;
    bool kept = route && route->history_engine->kept && hub->series_engine;
    if (!kept && !hub->sharing) /* the history of another process is gone */
        gw_series_gap(series, INT64_MIN, hub->started_ms);
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
