/* shape.c: what is asked for: shapes (a field and a length) and, for each filter, who asks for them. */
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/hub.h"
#include "gateway/list.h"
#include "gateway/topic.h"
#include "hub/hub_private.h"
#include "hub/session/subscription.h"
#include "hub/windows/windows.h"

static struct gw_shape *shape_get(struct gw_hub *hub, const struct gw_aggregate *aggregate)
{
    struct gw_shape *shape = hub->windows.shapes;
    while (shape && (shape->every_ms != aggregate->every_ms || strcmp(shape->field, aggregate->field) != 0))
        shape = shape->next;
    if (shape)
        return shape;
    if (hub->windows.shape_count >= hub->config->limits.aggregates)
        return NULL;
    size_t len = strlen(aggregate->field);
    shape = gw_calloc(1, sizeof *shape + len + 1);
    shape->hub = hub;
    shape->every_ms = aggregate->every_ms;
    memcpy(shape->field, aggregate->field, len);
    shape->timer.fire = gw_shape_on_timer;
    shape->newest = &shape->oldest;
    shape->whole_from = hub->started_ms;
    GW_LIST_ADD(hub->windows.shapes, shape, next, link);
    hub->windows.shape_count++;
    return shape;
}

static void shape_free(struct gw_shape *shape)
{
    struct gw_hub *hub = shape->hub;
    while (shape->oldest)
        gw_open_window_close(shape->oldest);
    gw_timer_cancel(hub->timers, &shape->timer);
    GW_LIST_REMOVE(shape, next, link);
    hub->windows.shape_count--;
    if (!hub->windows.shapes)
        gw_table_empty(&hub->windows.open);
    free(shape);
}

void gw_windows_doubt(struct gw_hub *hub)
{
    for (struct gw_shape *shape = hub->windows.shapes; shape; shape = shape->next) {
        for (struct gw_open_window *open = shape->oldest; open; open = open->next)
            open->whole = open->partial = false;
    }
}

void gw_windows_begin_anew(struct gw_hub *hub)
{
    for (struct gw_shape *shape = hub->windows.shapes; shape; shape = shape->next) {
        while (shape->oldest)
            gw_open_window_close(shape->oldest);
    }
}

struct gw_window_set *gw_window_set_get(struct gw_hub *hub, const char *text, size_t len,
                                        const struct gw_aggregate *aggregate)
{
    struct gw_shape *shape = shape_get(hub, aggregate);
    if (!shape)
        return NULL;
    struct gw_filter *filter = gw_filter_get(hub, text, len);
    struct gw_window_set *set = filter->windows;
    while (set && set->shape != shape)
        set = set->next;
    if (set)
        return set;
    set = gw_calloc(1, sizeof *set);
    set->shape = shape;
    set->filter = filter;
    GW_LIST_ADD(filter->windows, set, next, link);
    GW_LIST_ADD(shape->sets, set, beside, besides);
    return set;
}

/* Messages of its channels may come from now on that open windows do not get. */
static void set_forget(const struct gw_window_set *set)
{
    const struct gw_shape *shape = set->shape;
    const struct gw_filter *filter = set->filter;
    struct gw_open_window *open = NULL;
    uint64_t hash = gw_hash(filter->text, filter->len);
    while (!filter->wildcard && (open = gw_open_window_next(shape, filter->text, filter->len, hash, open)))
        open->whole = open->partial = false;
    for (open = filter->wildcard ? shape->oldest : NULL; open; open = open->next) {
        if (gw_topic_matches(filter->text, filter->len, open->name, open->len))
            open->whole = open->partial = false;
    }
}

void gw_window_set_add(struct gw_window_set *set, struct gw_window_sub *sub)
{
    GW_GROW(set->subs, set->count, set->allocated, 1);
    sub->set = set;
    sub->index = set->count;
    set->subs[set->count++] = sub;
}

void gw_window_set_remove(struct gw_hub *hub, struct gw_window_sub *sub)
{
    struct gw_window_set *set = sub->set;
    struct gw_window_sub *moved = set->subs[--set->count];
    set->subs[sub->index] = moved;
    moved->index = sub->index;
    if (set->count)
        return;
    struct gw_shape *shape = set->shape;
    struct gw_filter *filter = set->filter;
    set_forget(set);
    GW_LIST_REMOVE(set, next, link);
    GW_LIST_REMOVE(set, beside, besides);
    free(set->subs);
    free(set);
    gw_filter_release(hub, filter);
    if (!shape->sets)
        shape_free(shape);
}
