/* wheel.c: a timing wheel with one hand: a slot for each tick, and what is too far away waits in the last one. */
#include "base/wheel.h"

#include <stddef.h>

#include "gateway/list.h"

/* The tick with which a time has passed. */
static int64_t wheel_tick(int64_t ms)
{
    return (ms + GW_WHEEL_TICK_MS - 1) / GW_WHEEL_TICK_MS;
}

void gw_wheel_init(struct gw_wheel *wheel, int64_t now_ms)
{
    *wheel = (struct gw_wheel){.at = now_ms / GW_WHEEL_TICK_MS};
}

static void wheel_place(struct gw_wheel *wheel, struct gw_wheel_item *item)
{
    int64_t tick = wheel_tick(item->due_ms);
    if (tick < wheel->at)
        tick = wheel->at;
    if (tick >= wheel->at + GW_WHEEL_SLOTS)
        tick = wheel->at + GW_WHEEL_SLOTS - 1;
    size_t slot = (size_t)(tick % GW_WHEEL_SLOTS);
    GW_LIST_ADD(wheel->slots[slot], item, next, link);
    wheel->filled[slot / 64] |= (uint64_t)1 << slot % 64;
    wheel->count++;
}

void gw_wheel_cancel(struct gw_wheel *wheel, struct gw_wheel_item *item)
{
    if (!item->link)
        return;
    GW_LIST_REMOVE(item, next, link);
    item->link = NULL;
    item->next = NULL;
    wheel->count--;
}

void gw_wheel_set(struct gw_wheel *wheel, struct gw_wheel_item *item, int64_t due_ms)
{
    gw_wheel_cancel(wheel, item);
    item->due_ms = due_ms;
    wheel_place(wheel, item);
}

struct gw_wheel_item *gw_wheel_due(struct gw_wheel *wheel, int64_t now_ms)
{
    int64_t now = now_ms / GW_WHEEL_TICK_MS;
    if (!wheel->count && now > wheel->at)
        wheel->at = now;
    while (wheel->at <= now) {
        size_t slot = (size_t)(wheel->at % GW_WHEEL_SLOTS);
        struct gw_wheel_item *item = wheel->slots[slot];
        if (!item) {
            wheel->filled[slot / 64] &= ~((uint64_t)1 << slot % 64);
            wheel->at++;
            continue;
        }
        gw_wheel_cancel(wheel, item);
        if (wheel_tick(item->due_ms) <= wheel->at)
            return item;
        wheel_place(wheel, item); /* it was too far away: the slot behind the hand is the furthest one now */
    }
    return NULL;
}

int64_t gw_wheel_next(const struct gw_wheel *wheel)
{
    if (!wheel->count)
        return INT64_MAX;
    for (int64_t tick = wheel->at; tick < wheel->at + GW_WHEEL_SLOTS; tick++) {
        size_t slot = (size_t)(tick % GW_WHEEL_SLOTS);
        if (!wheel->filled[slot / 64] && slot % 64 == 0 && tick + 63 < wheel->at + GW_WHEEL_SLOTS) {
            tick += 63;
            continue;
        }
        if (wheel->slots[slot])
            return tick * GW_WHEEL_TICK_MS;
    }
    return wheel->at * GW_WHEEL_TICK_MS;
}
