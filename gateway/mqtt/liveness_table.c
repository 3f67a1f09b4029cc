/* liveness_table.c: the channels that are watched: how they come, go, and meet a reload. */
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "mqtt/liveness_private.h"

#define SAMPLE       16   /* channels of which the one silent the longest goes */
#define LEAVING_MOST 1024 /* channels above limits.channels, which wait for being told and are removed then */

struct gw_watched *gw_watched_find(const struct gw_liveness *liveness, const char *name, size_t len, uint64_t hash)
{
    for (struct gw_table_item *item = gw_table_first(&liveness->table, hash); item; item = gw_table_next(item)) {
        struct gw_watched *watched = gw_watched_of(item);
        if (watched->len == len && !memcmp(watched->name, name, len))
            return watched;
    }
    return NULL;
}

void gw_watched_remove(struct gw_liveness *liveness, struct gw_watched *watched)
{
    gw_watched_unnote(liveness, watched);
    gw_wheel_cancel(&liveness->wheel, &watched->item);
    gw_watched_untie(liveness, watched);
    gw_table_remove(&liveness->table, &watched->hashed);
    atomic_fetch_sub_explicit(&liveness->counts[watched->state], 1, memory_order_relaxed);
    free(watched);
}

void gw_watched_leave(struct gw_liveness *liveness, struct gw_watched *watched, enum gw_state state, int64_t now_ms)
{
    if (watched->told == state) {
        gw_watched_remove(liveness, watched);
        return;
    }
    gw_wheel_cancel(&liveness->wheel, &watched->item);
    watched->leaving = true;
    gw_watched_become(liveness, watched, state, now_ms);
}

/* The one silent the longest of a few, and one that leaves only if all of them do; NULL: none was met. */
static struct gw_watched *table_draw(struct gw_liveness *liveness)
{
    struct gw_watched *oldest = NULL;
    for (unsigned seen = 0, tries = 0; seen < SAMPLE && tries < 16 * SAMPLE; tries++) {
        liveness->draws = liveness->draws * 6364136223846793005u + 1442695040888963407u;
        struct gw_table_item *item = liveness->table.buckets[(liveness->draws >> 33) & (liveness->table.size - 1)];
        for (; item; item = item->next, seen++) {
            struct gw_watched *watched = gw_watched_of(item);
            if (!oldest || oldest->leaving || (!watched->leaving && watched->seen_ms < oldest->seen_ms))
                oldest = watched;
        }
    }
    return oldest;
}

/* Room for one more at limits.channels: one that was silent for long is of unknown state from now on. Where nothing
 * is told, because another process does that or the engine takes nothing, those that wait for it do not pile up. */
static void table_make_room(struct gw_liveness *liveness, size_t most, int64_t now_ms)
{
    struct gw_watched *oldest = table_draw(liveness);
    if (!oldest)
        return;
    liveness->evicted = true;
    if (liveness->table.count < most + LEAVING_MOST && !oldest->leaving)
        gw_watched_leave(liveness, oldest, GW_STATE_UNKNOWN, now_ms);
    else
        gw_watched_remove(liveness, oldest);
}

/* Where a sweep is under way, it begins again when the buckets are others. */
static void table_add(struct gw_liveness *liveness, struct gw_watched *watched, uint64_t hash)
{
    size_t before = liveness->table.size;
    gw_table_add(&liveness->table, &watched->hashed, hash);
    if (liveness->table.size != before)
        liveness->sweep = liveness->sweep < before ? 0 : liveness->table.size;
}

struct gw_watched *gw_watched_make(struct gw_liveness *liveness, const char *name, size_t len, uint64_t hash,
                                   uint32_t route, int64_t now_ms)
{
    size_t most = gw_routes_config(liveness->routes)->limits.channels;
    if (liveness->table.count >= most)
        table_make_room(liveness, most, now_ms);
    struct gw_watched *watched = gw_calloc(1, sizeof *watched + len + 1);
    watched->seen_ms = watched->rhythm.at_ms = GW_NEVER_MS;
    watched->since_ms = now_ms;
    watched->route = route;
    watched->met = liveness->reloads;
    watched->state = GW_STATE_LIVE;
    watched->told = liveness->evicted ? GW_STATE_NONE : GW_STATE_LIVE; /* it may be one that was given up */
    watched->len = (uint16_t)len;
    memcpy(watched->name, name, len);
    table_add(liveness, watched, hash);
    atomic_fetch_add_explicit(&liveness->counts[GW_STATE_LIVE], 1, memory_order_relaxed);
    gw_watched_tie(liveness, watched);
    return watched;
}

uint32_t gw_liveness_route(const struct gw_liveness *liveness, const char *name, size_t len, uint32_t route)
{
    const struct gw_cfg_route *config;
    if (route == GW_ROUTE_BY_NAME) {
        config = gw_routes_of_channel(liveness->routes, name, len);
        route = config ? (uint32_t)(config - gw_routes_get(liveness->routes, 0)) : GW_ROUTE_BY_NAME;
    } else {
        config = gw_routes_get(liveness->routes, route);
    }
    return config && (config->stale_ms || config->available_topic) ? route : GW_ROUTE_BY_NAME;
}

bool gw_watched_meet(struct gw_liveness *liveness, struct gw_watched *watched, int64_t now_ms)
{
    if (watched->met == liveness->reloads)
        return true;
    uint32_t route = gw_liveness_route(liveness, watched->name, watched->len, GW_ROUTE_BY_NAME);
    watched->met = liveness->reloads;
    if (route == GW_ROUTE_BY_NAME) {
        watched->route = 0;
        gw_watched_untie(liveness, watched);
        gw_watched_leave(liveness, watched, GW_STATE_LIVE, now_ms);
        return false;
    }
    watched->leaving = false;
    watched->route = route;
    gw_watched_tie(liveness, watched);
    return true;
}

bool gw_watched_revive(struct gw_liveness *liveness, struct gw_watched *watched)
{
    uint32_t route = gw_liveness_route(liveness, watched->name, watched->len, GW_ROUTE_BY_NAME);
    if (route == GW_ROUTE_BY_NAME)
        return false;
    watched->leaving = false;
    watched->route = route;
    watched->met = liveness->reloads;
    watched->seen_ms = GW_NEVER_MS;
    watched->rhythm = (struct gw_rhythm){.at_ms = GW_NEVER_MS};
    gw_watched_tie(liveness, watched);
    return true;
}
