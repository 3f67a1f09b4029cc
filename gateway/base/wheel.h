/* wheel.h: a timing wheel: many deadlines that mostly move on before they come.
 *
 * Setting, moving and cancelling a deadline cost the same however many there are. One that is further away than the
 * wheel reaches is looked at once a turn of it. A deadline is never early, and at most GW_WHEEL_TICK_MS late, plus
 * however late gw_wheel_due() is called. Whoever moves deadlines with every message leaves them where they are, and
 * sets them again when they come. Thread: the owner's. */
#ifndef GW_BASE_WHEEL_H
#define GW_BASE_WHEEL_H

#include <stdint.h>

#define GW_WHEEL_TICK_MS 50
#define GW_WHEEL_SLOTS   1024

/* {0}: not set. The wheel's, but for due_ms, which may be read. */
struct gw_wheel_item {
    struct gw_wheel_item *next, **link;
    int64_t due_ms;
};

struct gw_wheel {
    struct gw_wheel_item *slots[GW_WHEEL_SLOTS];
    uint64_t filled[GW_WHEEL_SLOTS / 64]; /* slots that hold something, or did */
    int64_t at;                           /* ticks: the slot that is looked at next */
    uint32_t count;
};

/* `now_ms`: a monotonic clock. */
void gw_wheel_init(struct gw_wheel *wheel, int64_t now_ms);

/* Sets the deadline, or another one. One that has passed comes with the next tick. */
void gw_wheel_set(struct gw_wheel *wheel, struct gw_wheel_item *item, int64_t due_ms);
/* Fine if it is not set. */
void gw_wheel_cancel(struct gw_wheel *wheel, struct gw_wheel_item *item);

/* Takes an item whose deadline has come, in no order; NULL: there is none now. */
struct gw_wheel_item *gw_wheel_due(struct gw_wheel *wheel, int64_t now_ms);

/* Until when nothing is to be done, at most; INT64_MAX: nothing is set. */
int64_t gw_wheel_next(const struct gw_wheel *wheel);

#endif
