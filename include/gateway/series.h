/* series.h: the numbers of a channel over time: windows, and which of them a route keeps for longer than messages.
 *
 * A window is `every_ms` long and begins at a multiple of that since 1970 (UTC); a message belongs to the one in
 * which the gateway received it (msg->ts). Thread: any. */
#ifndef GATEWAY_SERIES_H
#define GATEWAY_SERIES_H

#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/buf.h"

#define GW_ROLLUP_STEPS_MAX  8
#define GW_ROLLUP_FIELDS_MAX 64
/* Of one step of one field: keep / every. */
#define GW_ROLLUP_WINDOWS_MAX 131072

struct gw_window {
    int64_t t;                  /* when it begins, ms since 1970 */
    double min, max, sum, last; /* of the samples; 0 without any */
    uint64_t last_seq;          /* the number of the message that `last` is of */
    uint64_t count;             /* samples */
    uint64_t skipped;           /* messages without one */
};

static inline bool gw_window_is_empty(const struct gw_window *window)
{
    return !window->count && !window->skipped;
}

/* When the window begins that a time belongs to. */
static inline int64_t gw_window_begin(int64_t ts, int64_t every_ms)
{
    int64_t rest = ts % every_ms;
    return ts - (rest < 0 ? rest + every_ms : rest);
}

/* A message of that number; `sample` NULL: it has none. */
void gw_window_add(struct gw_window *window, uint64_t seq, const double *sample);
/* Adds all that another one has. */
void gw_window_merge(struct gw_window *window, const struct gw_window *other);

/* What the JSON pointer leads to in valid JSON text, if it is a number that a double can hold, or a boolean (1, 0).
 */
bool gw_sample_of(const char *json, size_t len, const char *pointer, double *sample);

/* A number as JSON has it: the shortest that reads as the same. */
void gw_series_add_number(struct gw_buf *out, double value);

/* Where the sum is more than a double can hold, JSON has no number for it: then the middle of the range. */
static inline double gw_series_mean(const struct gw_window *window)
{
    return isfinite(window->sum) ? window->sum / (double)window->count : window->min / 2 + window->max / 2;
}

struct gw_rollup_step {
    int64_t every_ms, keep_ms;
};

/* What a route rolls up: each field in windows of each length. Immutable once it is built, and counted by references,
 * since what waits for the disk outlives a configuration. */
struct gw_rollup {
    atomic_uint refs;
    uint32_t field_count, step_count;
    char *fields[GW_ROLLUP_FIELDS_MAX];               /* JSON pointers */
    struct gw_rollup_step steps[GW_ROLLUP_STEPS_MAX]; /* the shortest first */
};

/* Empty, with one reference. */
struct gw_rollup *gw_rollup_create(void);
struct gw_rollup *gw_rollup_ref(struct gw_rollup *rollup); /* NULL is fine */
void gw_rollup_unref(struct gw_rollup *rollup);            /* NULL is fine */
bool gw_rollup_has(const struct gw_rollup *rollup, const char *field);

#endif
