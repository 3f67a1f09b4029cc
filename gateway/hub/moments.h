/* moments.h: which sequence number came when. Thread: the loop's. */
#ifndef GW_HUB_MOMENTS_H
#define GW_HUB_MOMENTS_H

#include <stdint.h>

struct gw_hub;

/* When which sequence number came, roughly: a ring of samples. */
#define GW_MOMENTS   512
#define GW_MOMENT_NS 50000000 /* at least so far apart */
struct gw_moments {
    struct {
        uint64_t seq;
        int64_t born_ns;
    } ring[GW_MOMENTS];
    uint64_t count;
};

/* The latest sampled time at or before the message of that number came; INT64_MIN if that is too long ago. */
int64_t gw_hub_moment(const struct gw_hub *hub, uint64_t seq);

#endif
