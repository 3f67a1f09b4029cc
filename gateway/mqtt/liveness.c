#include "mqtt/liveness.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/hash.h"
#include "mqtt/liveness_private.h"

#define SWEEP_BUCKETS 4096  /* looked at in a turn */
#define TURN_LOOKS    16384 /* deadlines in a turn */
#define HELD_UP_MS    2000  /* a turn that comes so late has heard nothing meanwhile */
#define START_MS      3000  /* what was there before is told once the broker had so long to say what it has */
#define RETURN_MS     1000  /* ... or so long after the connection */

/* --- life ------------------------------------------------------------------------------------------------------- */

struct gw_liveness *gw_liveness_create(int64_t now_ms)
{
    struct gw_liveness *liveness = gw_calloc(1, sizeof *liveness);
    pthread_mutex_init(&liveness->lock, NULL);
    gw_wheel_init(&liveness->wheel, now_ms);
    liveness->changed_end = &liveness->changed;
    liveness->listening = (struct gw_listening){.since_ms = GW_NOT_MS, .away_ms = now_ms};
    liveness->ticked_ms = now_ms;
    return liveness;
}

void gw_liveness_destroy(struct gw_liveness *liveness)
{
    if (!liveness)
        return;
    for (struct gw_table_item *item = gw_table_empty(&liveness->table), *next; item; item = next) {
        next = item->next;
        free(gw_watched_of(item));
    }
    gw_sources_free(liveness);
    gw_routes_unref(liveness->routes);
    pthread_mutex_destroy(&liveness->lock);
    free(liveness);
}

/* --- one channel ------------------------------------------------------------------------------------------------ */

static int64_t watched_limit(const struct gw_liveness *liveness, const struct gw_watched *watched)
{
    int64_t stale_ms = gw_routes_get(liveness->routes, watched->route)->stale_ms;
    return stale_ms == GW_STALE_AUTO ? gw_rhythm_limit(&watched->rhythm) : stale_ms;
}

void gw_watched_become(struct gw_liveness *liveness, struct gw_watched *watched, enum gw_state state, int64_t now_ms)
{
    if (watched->state != state) {
        atomic_fetch_sub_explicit(&liveness->counts[watched->state], 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&liveness->counts[state], 1, memory_order_relaxed);
        watched->state = (uint8_t)state;
        watched->since_ms = now_ms;
    }
    gw_watched_note(liveness, watched);
}

/* Of an availability that another process has heard, and whose session at the broker goes on here, what that process
 * told stands until there is news. */
static void watched_inherit(const struct gw_liveness *liveness, const struct gw_watched *watched,
                            struct gw_liveness_facts *facts)
{
    if (!liveness->shared || !watched->source || watched->source->heard_ms != GW_NEVER_MS)
        return;
    if (watched->told == GW_STATE_OFFLINE)
        facts->word = GW_WORD_OFFLINE;
    else if (watched->told == GW_STATE_LIVE && watched->seen_ms != GW_NEVER_MS)
        facts->word = GW_WORD_ONLINE;
    facts->word_ms = facts->now_ms;
}

void gw_watched_look(struct gw_liveness *liveness, struct gw_watched *watched, int64_t now_ms)
{
    if (watched->leaving)
        return;
    struct gw_liveness_facts facts = {
        .now_ms = now_ms,
        .seen_ms = watched->seen_ms,
        .limit_ms = watched_limit(liveness, watched),
        .listening = liveness->listening,
        .word = gw_watched_word(liveness, watched),
        .word_ms = watched->source ? watched->source->heard_ms : GW_NEVER_MS,
    };
    watched_inherit(liveness, watched, &facts);
    int64_t until_ms;
    enum gw_state state = gw_liveness_rule(&facts, &until_ms);
    if (until_ms == GW_NOT_MS)
        gw_wheel_cancel(&liveness->wheel, &watched->item);
    else
        gw_wheel_set(&liveness->wheel, &watched->item, until_ms);
    gw_watched_become(liveness, watched, state, now_ms);
}

/* --- what comes ------------------------------------------------------------------------------------------------- */

void gw_liveness_configure(struct gw_liveness *liveness, struct gw_routes *routes)
{
    pthread_mutex_lock(&liveness->lock);
    struct gw_routes *before = liveness->routes;
    liveness->routes = gw_routes_ref(routes);
    liveness->reloads++;
    atomic_store(&liveness->watches, gw_routes_watch(routes) || liveness->table.count);
    gw_routes_unref(before);
    liveness->sweep = 0;
    pthread_mutex_unlock(&liveness->lock);
}

/* It lives: a time stamp, unless its deadline comes nearer or it has been something else. */
static void watched_touch(struct gw_liveness *liveness, struct gw_watched *watched, int64_t now_ms)
{
    watched->seen_ms = now_ms;
    if (gw_routes_get(liveness->routes, watched->route)->stale_ms == GW_STALE_AUTO) {
        gw_rhythm_note(&watched->rhythm, &liveness->listening, now_ms);
        if (watched->item.link && watched->item.due_ms > now_ms + gw_rhythm_limit(&watched->rhythm))
            gw_watched_look(liveness, watched, now_ms);
    }
    if (watched->state != GW_STATE_LIVE)
        gw_watched_look(liveness, watched, now_ms);
}

/* A state is numbered: the last one is what clients know, unless there are newer ones underway. */
static void watched_on_state(struct gw_liveness *liveness, struct gw_watched *watched, enum gw_state state,
                             int64_t now_ms)
{
    if (watched->underway)
        watched->underway--;
    if (watched->underway || watched->told == state)
        return;
    watched->told = (uint8_t)state; /* by another process */
    if (watched->leaving && watched->state == state)
        gw_watched_remove(liveness, watched);
    else if (gw_watched_meet(liveness, watched, now_ms))
        gw_watched_look(liveness, watched, now_ms);
}

static void liveness_on_message(struct gw_liveness *liveness, const struct gw_message_spec *spec, int64_t now_ms)
{
    uint64_t hash = gw_hash(spec->channel, spec->channel_len);
    struct gw_watched *watched = gw_watched_find(liveness, spec->channel, spec->channel_len, hash);
    if (spec->state) {
        if (watched)
            watched_on_state(liveness, watched, (enum gw_state)spec->state, now_ms);
        return;
    }
    if (watched && watched->leaving ? !gw_watched_revive(liveness, watched)
                                    : watched && !gw_watched_meet(liveness, watched, now_ms))
        return;
    uint32_t route =
        watched ? watched->route : gw_liveness_route(liveness, spec->channel, spec->channel_len, spec->route);
    if (watched && spec->clear) {
        gw_watched_leave(liveness, watched, (enum gw_state)watched->told, now_ms); /* it has no state any more */
        return;
    }
    if (route == GW_ROUTE_BY_NAME || spec->clear)
        return;
    bool first = !watched || watched->seen_ms == GW_NEVER_MS;
    if (!watched)
        watched = gw_watched_make(liveness, spec->channel, spec->channel_len, hash, route, now_ms);
    if (!spec->retained)
        watched_touch(liveness, watched, now_ms);
    if (first)
        gw_watched_look(liveness, watched, now_ms);
}

void gw_liveness_message(struct gw_liveness *liveness, const struct gw_message_spec *spec, int64_t now_ms)
{
    pthread_mutex_lock(&liveness->lock);
    liveness_on_message(liveness, spec, now_ms);
    pthread_mutex_unlock(&liveness->lock);
}

void gw_liveness_found(struct gw_liveness *liveness, const struct gw_message *last, enum gw_state told,
                       int64_t now_ms, int64_t wall_ms)
{
    const char *name = last->channel.data;
    pthread_mutex_lock(&liveness->lock);
    uint32_t route = gw_routes_watch(liveness->routes)
                         ? gw_liveness_route(liveness, name, last->channel.len, GW_ROUTE_BY_NAME)
                         : GW_ROUTE_BY_NAME;
    if (route != GW_ROUTE_BY_NAME && !gw_watched_find(liveness, name, last->channel.len, last->hash)) {
        struct gw_watched *watched = gw_watched_make(liveness, name, last->channel.len, last->hash, route, now_ms);
        int64_t age_ms = wall_ms - last->ts;
        if (!last->retained && age_ms >= 0)
            watched->seen_ms = now_ms - age_ms;
        watched->told = (uint8_t)told;
        if (told == GW_STATE_NONE && !liveness->quiet_ms)
            liveness->quiet_ms = now_ms + START_MS;
        gw_watched_look(liveness, watched, now_ms);
    }
    pthread_mutex_unlock(&liveness->lock);
}

/* --- listening -------------------------------------------------------------------------------------------------- */

/* Everything is looked at once more, a part in each turn. */
static void liveness_sweep_on(struct gw_liveness *liveness, int64_t now_ms)
{
    size_t end = liveness->sweep + SWEEP_BUCKETS;
    if (end > liveness->table.size)
        end = liveness->table.size;
    while (liveness->sweep < end) {
        struct gw_table_item *item = liveness->table.buckets[liveness->sweep++];
        for (struct gw_table_item *next; item; item = next) {
            next = item->next;
            struct gw_watched *watched = gw_watched_of(item);
            if (gw_watched_meet(liveness, watched, now_ms))
                gw_watched_look(liveness, watched, now_ms);
        }
    }
}

void gw_liveness_up(struct gw_liveness *liveness, bool up, bool kept, bool settle, int64_t now_ms)
{
    pthread_mutex_lock(&liveness->lock);
    struct gw_listening *listening = &liveness->listening;
    bool was = listening->since_ms != GW_NOT_MS;
    liveness->shared |= settle;
    if (up && !was) {
        listening->since_ms = now_ms;
        if (kept)
            gw_sources_hold(liveness, now_ms);
        if (settle || liveness->quiet_ms > now_ms + RETURN_MS)
            liveness->quiet_ms = now_ms + RETURN_MS;
    } else if (!up && was) {
        *listening = (struct gw_listening){.since_ms = GW_NOT_MS, .away_ms = now_ms};
    }
    if (up != was)
        liveness->sweep = 0;
    pthread_mutex_unlock(&liveness->lock);
}

void gw_liveness_lost(struct gw_liveness *liveness)
{
    pthread_mutex_lock(&liveness->lock);
    for (size_t i = 0; i < liveness->table.size; i++) {
        for (struct gw_table_item *item = liveness->table.buckets[i]; item; item = item->next) {
            struct gw_watched *watched = gw_watched_of(item);
            if (!watched->underway)
                continue;
            watched->underway = 0;
            watched->told = GW_STATE_NONE;
            gw_watched_note(liveness, watched);
        }
    }
    pthread_mutex_unlock(&liveness->lock);
}

void gw_liveness_begin_anew(struct gw_liveness *liveness)
{
    pthread_mutex_lock(&liveness->lock);
    for (size_t i = 0; i < liveness->table.size; i++) {
        while (liveness->table.buckets[i])
            gw_watched_remove(liveness, gw_watched_of(liveness->table.buckets[i]));
    }
    pthread_mutex_unlock(&liveness->lock);
}

/* --- time ------------------------------------------------------------------------------------------------------- */

void gw_liveness_tick(struct gw_liveness *liveness, int64_t now_ms)
{
    pthread_mutex_lock(&liveness->lock);
    struct gw_listening *listening = &liveness->listening;
    if (now_ms - liveness->ticked_ms > HELD_UP_MS && listening->since_ms != GW_NOT_MS) {
        *listening = (struct gw_listening){.since_ms = now_ms, .away_ms = liveness->ticked_ms};
        gw_sources_hold(liveness, now_ms); /* what was said meanwhile is about to be read */
        liveness->sweep = 0;
    }
    liveness->ticked_ms = now_ms;
    liveness_sweep_on(liveness, now_ms);
    struct gw_wheel_item *item;
    for (unsigned looks = TURN_LOOKS; looks && (item = gw_wheel_due(&liveness->wheel, now_ms)); looks--) {
        struct gw_watched *watched = (struct gw_watched *)item;
        if (gw_watched_meet(liveness, watched, now_ms))
            gw_watched_look(liveness, watched, now_ms);
    }
    pthread_mutex_unlock(&liveness->lock);
}

int64_t gw_liveness_wait(struct gw_liveness *liveness, bool telling, int64_t now_ms, int64_t most)
{
    pthread_mutex_lock(&liveness->lock);
    int64_t next = gw_wheel_next(&liveness->wheel);
    if (telling && liveness->changed && liveness->quiet_ms < next)
        next = liveness->quiet_ms;
    if (liveness->sweep < liveness->table.size)
        next = now_ms;
    pthread_mutex_unlock(&liveness->lock);
    return next <= now_ms ? 0 : next - now_ms < most ? next - now_ms : most;
}
