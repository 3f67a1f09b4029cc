#include "gateway/histogram.h"

#define US(n) ((int64_t)(n)*1000)
#define MS(n) ((int64_t)(n)*1000000)

/* From below what one hand-over between two threads takes to above what anybody calls live. */
const int64_t gw_histogram_bounds[GW_HISTOGRAM_BOUNDS] = {
    US(100), US(250), US(500), MS(1),   US(2500), MS(5),    MS(10),   MS(25),
    MS(50),  MS(100), MS(250), MS(500), MS(1000), MS(2500), MS(5000), MS(10000),
};

/* One writer: no locked instruction is needed. */
static void histogram_bump(_Atomic uint64_t *counter, uint64_t by)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by, memory_order_relaxed);
}

void gw_histogram_observe(struct gw_histogram *histogram, int64_t ns, uint64_t count)
{
    if (ns < 0)
        ns = 0;
    unsigned at = 0;
    while (at < GW_HISTOGRAM_BOUNDS && ns > gw_histogram_bounds[at])
        at++;
    histogram_bump(&histogram->buckets[at], count);
    histogram_bump(&histogram->sum_ns, (uint64_t)ns * count);
}

void gw_histogram_add(struct gw_histogram_sum *to, const struct gw_histogram *from)
{
    for (unsigned i = 0; i <= GW_HISTOGRAM_BOUNDS; i++)
        to->buckets[i] += atomic_load_explicit(&from->buckets[i], memory_order_relaxed);
    to->sum_ns += atomic_load_explicit(&from->sum_ns, memory_order_relaxed);
}
