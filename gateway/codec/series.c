/* series.c: samples out of messages, windows of them, and what a route rolls up. */
#include "gateway/series.h"

#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/json_pointer.h"
#include "gateway/alloc.h"

void gw_window_add(struct gw_window *window, uint64_t seq, const double *sample)
{
    if (!sample) {
        window->skipped++;
        return;
    }
    if (!window->count || *sample < window->min)
        window->min = *sample;
    if (!window->count || *sample > window->max)
        window->max = *sample;
    if (!window->count || seq >= window->last_seq) {
        window->last = *sample;
        window->last_seq = seq;
    }
    window->sum += *sample;
    window->count++;
}

void gw_window_merge(struct gw_window *window, const struct gw_window *other)
{
    window->skipped += other->skipped;
    if (!other->count)
        return;
    if (!window->count || other->min < window->min)
        window->min = other->min;
    if (!window->count || other->max > window->max)
        window->max = other->max;
    if (!window->count || other->last_seq >= window->last_seq) {
        window->last = other->last;
        window->last_seq = other->last_seq;
    }
    window->sum += other->sum;
    window->count += other->count;
}

bool gw_sample_of(const char *json, size_t len, const char *pointer, double *sample)
{
    struct gw_slice value;
    if (!gw_json_pointer(json, len, pointer, &value) || !value.len)
        return false;
    if (value.data[0] == 't' || value.data[0] == 'f') {
        *sample = value.data[0] == 't';
        return true;
    }
    if (value.data[0] != '-' && (value.data[0] < '0' || value.data[0] > '9'))
        return false;
    char digits[64];
    char *copy = value.len < sizeof digits ? digits : gw_malloc(value.len + 1);
    memcpy(copy, value.data, value.len);
    copy[value.len] = '\0';
    *sample = strtod(copy, NULL);
    if (copy != digits)
        free(copy);
    return *sample <= DBL_MAX && *sample >= -DBL_MAX;
}

void gw_series_add_number(struct gw_buf *out, double value)
{
    char text[32];
    for (int digits = 15; digits <= 17; digits++) { /* the shortest that reads as the same number */
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    gw_buf_adds(out, text);
}

struct gw_rollup *gw_rollup_create(void)
{
    struct gw_rollup *rollup = gw_calloc(1, sizeof *rollup);
    atomic_init(&rollup->refs, 1);
    return rollup;
}

struct gw_rollup *gw_rollup_ref(struct gw_rollup *rollup)
{
    if (rollup)
        atomic_fetch_add_explicit(&rollup->refs, 1, memory_order_relaxed);
    return rollup;
}

void gw_rollup_unref(struct gw_rollup *rollup)
{
    if (!rollup || atomic_fetch_sub_explicit(&rollup->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; i < rollup->field_count; i++)
        free(rollup->fields[i]);
    free(rollup);
}

bool gw_rollup_has(const struct gw_rollup *rollup, const char *field)
{
    for (uint32_t i = 0; i < rollup->field_count; i++) {
        if (!strcmp(rollup->fields[i], field))
            return true;
    }
    return false;
}
