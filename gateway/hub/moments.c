/* moments.c: a ring of samples, searched by number or by time. */
#include "hub/moments.h"

#include <stddef.h>

void gw_moment_note(struct gw_moments *moments, uint64_t seq, int64_t born_ns)
{
    if (moments->count && born_ns - moments->ring[(moments->count - 1) % GW_MOMENTS].born_ns < GW_MOMENT_NS)
        return;
    moments->ring[moments->count++ % GW_MOMENTS] = (struct gw_moment){seq, born_ns};
}

/* The newest sample with at most that number and at most that time; NULL: none. */
static const struct gw_moment *moment_find(const struct gw_moments *moments, uint64_t seq, int64_t born_ns)
{
    const struct gw_moment *found = NULL;
    uint64_t low = moments->count > GW_MOMENTS ? moments->count - GW_MOMENTS : 0, high = moments->count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        const struct gw_moment *moment = &moments->ring[middle % GW_MOMENTS];
        if (moment->seq <= seq && moment->born_ns <= born_ns) {
            found = moment;
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return found;
}

int64_t gw_moment_of(const struct gw_moments *moments, uint64_t seq)
{
    const struct gw_moment *found = moment_find(moments, seq, INT64_MAX);
    return found ? found->born_ns : INT64_MIN;
}

uint64_t gw_moment_place(const struct gw_moments *moments, int64_t born_ns)
{
    const struct gw_moment *found = moment_find(moments, UINT64_MAX, born_ns);
    return found ? found->seq - 1 : 0;
}
