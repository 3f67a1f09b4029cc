#include "gateway/timer.h"

#include <stdlib.h>

#include "gateway/alloc.h"

void gw_timers_init(struct gw_timers *timers)
{
    *timers = (struct gw_timers){0};
}

void gw_timers_fini(struct gw_timers *timers)
{
    free(timers->heap);
    *timers = (struct gw_timers){0};
}

static void timer_place(struct gw_timers *timers, size_t at, struct gw_timer *timer)
{
    timers->heap[at] = timer;
    timer->position = at;
}

static void timer_up(struct gw_timers *timers, size_t at)
{
    struct gw_timer *timer = timers->heap[at];
    while (at > 1 && timers->heap[at / 2]->due_ms > timer->due_ms) {
        timer_place(timers, at, timers->heap[at / 2]);
        at /= 2;
    }
    timer_place(timers, at, timer);
}

static void timer_down(struct gw_timers *timers, size_t at)
{
    struct gw_timer *timer = timers->heap[at];
    for (;;) {
        size_t child = at * 2;
        if (child > timers->count)
            break;
        if (child < timers->count && timers->heap[child + 1]->due_ms < timers->heap[child]->due_ms)
            child++;
        if (timers->heap[child]->due_ms >= timer->due_ms)
            break;
        timer_place(timers, at, timers->heap[child]);
        at = child;
    }
    timer_place(timers, at, timer);
}

void gw_timer_set(struct gw_timers *timers, struct gw_timer *timer, int64_t due_ms)
{
    timer->due_ms = due_ms;
    if (!timer->position) {
        if (timers->count + 1 >= timers->allocated) {
            timers->allocated = timers->allocated ? timers->allocated * 2 : 64;
            timers->heap = gw_reallocarray(timers->heap, timers->allocated, sizeof *timers->heap);
        }
        timer_place(timers, ++timers->count, timer);
    }
    timer_up(timers, timer->position);
    timer_down(timers, timer->position);
}

void gw_timer_cancel(struct gw_timers *timers, struct gw_timer *timer)
{
    size_t at = timer->position;
    if (!at)
        return;
    timer->position = 0;
    struct gw_timer *last = timers->heap[timers->count--];
    if (last == timer)
        return;
    timer_place(timers, at, last);
    timer_up(timers, at);
    timer_down(timers, last->position);
}

int64_t gw_timers_next(const struct gw_timers *timers)
{
    return timers->count ? timers->heap[1]->due_ms : INT64_MAX;
}

void gw_timers_run(struct gw_timers *timers, int64_t now_ms)
{
    while (timers->count && timers->heap[1]->due_ms <= now_ms) {
        struct gw_timer *timer = timers->heap[1];
        gw_timer_cancel(timers, timer);
        timer->fire(timer);
    }
}
