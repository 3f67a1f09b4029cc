/* timer.h: deadlines of one worker, in a binary heap: O(log n) to set and to cancel, the next one at once.
 *
 * The clock is the caller's: every function takes the time it needs, so tests bring their own. Thread: the owner's.
 */
#ifndef GATEWAY_TIMER_H
#define GATEWAY_TIMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gw_timer {
    int64_t due_ms;
    size_t position; /* in the heap, from 1; 0: not set */
    void (*fire)(struct gw_timer *timer);
};

struct gw_timers {
    struct gw_timer **heap; /* owned; [1] is the next */
    size_t count;
    size_t allocated;
};

void gw_timers_init(struct gw_timers *timers);
void gw_timers_fini(struct gw_timers *timers);

/* Sets or moves it. `timer` stays the caller's and must be cancelled before it goes away. */
void gw_timer_set(struct gw_timers *timers, struct gw_timer *timer, int64_t due_ms);
/* Fine if it isn't set. */
void gw_timer_cancel(struct gw_timers *timers, struct gw_timer *timer);

/* When the next one is due; INT64_MAX if none is set. */
int64_t gw_timers_next(const struct gw_timers *timers);
/* Fires what is due at now_ms, each after being unset, so that fire() may set it again or free it. */
void gw_timers_run(struct gw_timers *timers, int64_t now_ms);

#endif
