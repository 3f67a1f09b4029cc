/* moments.h: which sequence number came when (moments.c). Thread: the loop's. */
#ifndef GW_HUB_MOMENTS_H
#define GW_HUB_MOMENTS_H

#include <stdint.h>

/* When which sequence number came, roughly: a ring of samples. */
#define GW_MOMENTS   512
#define GW_MOMENT_NS 50000000 /* at least so far apart */
struct gw_moments {
    struct gw_moment {
        uint64_t seq;
        int64_t born_ns;
    } ring[GW_MOMENTS];
    uint64_t count;
};

/* The message of that number came at that time; both grow. */
void gw_moment_note(struct gw_moments *moments, uint64_t seq, int64_t born_ns);
/* The latest sampled time at or before the message of that number came; INT64_MIN if that is too long ago. */
int64_t gw_moment_of(const struct gw_moments *moments, uint64_t seq);
/* A number before all messages that came after that time; 0 if that is too long ago. */
uint64_t gw_moment_place(const struct gw_moments *moments, int64_t born_ns);

#endif
