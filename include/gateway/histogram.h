/* histogram.h: how often durations fell below fixed bounds. Thread: one writer, any readers (relaxed atomics). */
#ifndef GATEWAY_HISTOGRAM_H
#define GATEWAY_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

#define GW_HISTOGRAM_BOUNDS 16

/* Upper bounds, inclusive, in ns; what is above the last is counted in one more bucket. */
extern const int64_t gw_histogram_bounds[GW_HISTOGRAM_BOUNDS];

/* All zero: empty. */
struct gw_histogram {
    _Atomic uint64_t buckets[GW_HISTOGRAM_BOUNDS + 1]; /* each by itself, not cumulative */
    _Atomic uint64_t sum_ns;
};

/* `count` durations of `ns`. Below 0 counts as 0. */
void gw_histogram_observe(struct gw_histogram *histogram, int64_t ns, uint64_t count);

/* Adds `from` to the plain numbers in `to`, as of now. */
struct gw_histogram_sum {
    uint64_t buckets[GW_HISTOGRAM_BOUNDS + 1];
    uint64_t sum_ns;
};
void gw_histogram_add(struct gw_histogram_sum *to, const struct gw_histogram *from);

#endif
