/* read.c: a chart's windows out of a history, its gaps. */
#include <stdlib.h>

#include "gateway/alloc.h"
#include "gateway/clock.h"
#include "hub/channel/history.h"
#include "hub/hub_private.h"
#include "hub/series/private.h"

/* How long a slice may take, and after how many messages it looks at the clock again. */
#define SLICE_NS    1000000
#define SLICE_CHECK 64
/* Messages that come while a series is made may need windows beyond those that were asked for: for as long as the
 * disk may take to answer, where windows are a millisecond long. */
#define WINDOWS_MAX ((size_t)2 * GW_SERIES_POINTS_MAX)

struct gw_window *gw_series_window(struct gw_series *series, int64_t ts)
{
    if (ts < series->from || (ts >= series->to && !series->live))
        return NULL;
    size_t index = (size_t)((ts - series->from) / series->step);
    if (index >= WINDOWS_MAX)
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

void gw_series_gap(struct gw_series *series, int64_t from, int64_t to)
{
    GW_GROW(series->gaps, series->gap_count, series->gap_allocated, 8);
    series->gaps[series->gap_count++] = (struct gw_series_gap){from, to};
}

static int gap_compare(const void *left, const void *right)
{
    const struct gw_series_gap *a = left, *b = right;
    return a->from < b->from ? -1 : a->from > b->from;
}

void gw_series_tidy_gaps(struct gw_series *series)
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

int64_t gw_series_end_of(const struct gw_series *series)
{
    return series->at_ts > series->from ? series->at_ts : series->from;
}

static void series_take(struct gw_series *series, const struct gw_message *msg)
{
    double sample;
    if (series->missing == INT64_MIN && series->at < series->lost && msg->seq > series->lost)
        series->missing = gw_series_end_of(series);
    if (series->missing != INT64_MIN)
        gw_series_gap(series, series->missing, msg->ts);
    series->missing = INT64_MIN;
    series->at = msg->seq;
    series->at_ts = msg->ts;
    struct gw_window *window = gw_series_window(series, msg->ts);
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
        series->missing = gw_series_end_of(series);
}

bool gw_series_read(struct gw_series *series, struct gw_channel *channel)
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
