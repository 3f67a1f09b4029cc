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
#define SAMPLE        16    /* channels of which the one silent the longest goes */

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
    for (size_t i = 0; i < liveness->buckets; i++) {
        for (struct gw_watched *watched = liveness->table[i], *next; watched; watched = next) {
            next = watched->hash_next;
            free(watched);
        }
    }
    free(liveness->table);
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

static void watched_note(struct gw_liveness *liveness, struct gw_watched *watched)
{
    if (watched->changed || (watched->state == watched->told && !watched->leaving))
        return;
    watched->changed = true;
    watched->changed_next = NULL;
    *liveness->changed_end = watched;
    liveness->changed_end = &watched->changed_next;
}

static void watched_become(struct gw_liveness *liveness, struct gw_watched *watched, enum gw_state state,
                           int64_t now_ms)
{
    if (watched->state != state) {
        atomic_fetch_sub_explicit(&liveness->counts[watched->state], 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&liveness->counts[state], 1, memory_order_relaxed);
        watched->state = (uint8_t)state;
        watched->since_ms = now_ms;
    }
    watched_note(liveness, watched);
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
    watched_become(liveness, watched, state, now_ms);
}

/* --- the table -------------------------------------------------------------------------------------------------- */

static void table_grow(struct gw_liveness *liveness)
{
    size_t buckets = liveness->buckets ? liveness->buckets * 2 : 256;
    struct gw_watched **table = gw_calloc(buckets, sizeof(struct gw_watched *));
    for (size_t i = 0; i < liveness->buckets; i++) {
        for (struct gw_watched *watched = liveness->table[i], *next; watched; watched = next) {
            next = watched->hash_next;
            struct gw_watched **bucket = &table[watched->hash & (buckets - 1)];
            watched->hash_next = *bucket;
            *bucket = watched;
        }
    }
    if (liveness->sweep < liveness->buckets)
        liveness->sweep = 0; /* the places are others now */
    else
        liveness->sweep = buckets;
    free(liveness->table);
    liveness->table = table;
    liveness->buckets = buckets;
}

static struct gw_watched *table_find(const struct gw_liveness *liveness, const char *name, size_t len, uint64_t hash)
{
    if (!liveness->buckets)
        return NULL;
    struct gw_watched *watched = liveness->table[hash & (liveness->buckets - 1)];
    while (watched && (watched->hash != hash || watched->len != len || memcmp(watched->name, name, len) != 0))
        watched = watched->hash_next;
    return watched;
}

/* Not one that is in the list of changes. */
static void watched_remove(struct gw_liveness *liveness, struct gw_watched *watched)
{
    gw_wheel_cancel(&liveness->wheel, &watched->item);
    gw_watched_untie(liveness, watched);
    struct gw_watched **link = &liveness->table[watched->hash & (liveness->buckets - 1)];
    while (*link != watched)
        link = &(*link)->hash_next;
    *link = watched->hash_next;
    liveness->count--;
    atomic_fetch_sub_explicit(&liveness->counts[watched->state], 1, memory_order_relaxed);
    free(watched);
}

/* It is watched no more. What clients know of it must be said before, if it is not `state`. */
static void watched_leave(struct gw_liveness *liveness, struct gw_watched *watched, enum gw_state state,
                          int64_t now_ms)
{
    gw_wheel_cancel(&liveness->wheel, &watched->item);
    watched->leaving = watched->told != state;
    if (watched->leaving || watched->changed) {
        watched->leaving = true;
        watched_become(liveness, watched, state, now_ms);
    } else {
        watched_remove(liveness, watched);
    }
}

/* Room for one more at limits.channels: one of those that are silent the longest is of unknown state from now on. */
static void table_make_room(struct gw_liveness *liveness, int64_t now_ms)
{
    struct gw_watched *oldest = NULL;
    for (unsigned seen = 0, tries = 0; seen < SAMPLE && tries < 16 * SAMPLE; tries++) {
        liveness->draws = liveness->draws * 6364136223846793005u + 1442695040888963407u;
        struct gw_watched *watched = liveness->table[(liveness->draws >> 33) & (liveness->buckets - 1)];
        for (; watched; watched = watched->hash_next, seen++) {
            if (!watched->leaving && (!oldest || watched->seen_ms < oldest->seen_ms))
                oldest = watched;
        }
    }
    if (oldest)
        watched_leave(liveness, oldest, GW_STATE_UNKNOWN, now_ms);
}

static struct gw_watched *watched_make(struct gw_liveness *liveness, const char *name, size_t len, uint64_t hash,
                                       uint32_t route, int64_t now_ms)
{
    if (liveness->count >= gw_routes_config(liveness->routes)->limits.channels)
        table_make_room(liveness, now_ms);
    if (liveness->count >= liveness->buckets)
        table_grow(liveness);
    struct gw_watched *watched = gw_calloc(1, sizeof *watched + len + 1);
    watched->hash = hash;
    watched->seen_ms = watched->rhythm.at_ms = GW_NEVER_MS;
    watched->since_ms = now_ms;
    watched->route = route;
    watched->met = liveness->reloads;
    watched->state = watched->told = GW_STATE_LIVE;
    watched->len = (uint16_t)len;
    memcpy(watched->name, name, len);
    struct gw_watched **bucket = &liveness->table[hash & (liveness->buckets - 1)];
    watched->hash_next = *bucket;
    *bucket = watched;
    liveness->count++;
    atomic_fetch_add_explicit(&liveness->counts[GW_STATE_LIVE], 1, memory_order_relaxed);
    gw_watched_tie(liveness, watched);
    return watched;
}

/* The route that makes the channel, if it says anything of states; GW_ROUTE_BY_NAME: none does. */
static uint32_t channel_route(const struct gw_liveness *liveness, const char *name, size_t len, uint32_t route)
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

/* After a reload. False: it is not watched any more. */
static bool watched_meet(struct gw_liveness *liveness, struct gw_watched *watched, int64_t now_ms)
{
    if (watched->met == liveness->reloads)
        return true;
    uint32_t route = channel_route(liveness, watched->name, watched->len, GW_ROUTE_BY_NAME);
    watched->met = liveness->reloads;
    if (route == GW_ROUTE_BY_NAME) {
        watched->route = 0;
        gw_watched_untie(liveness, watched);
        watched_leave(liveness, watched, GW_STATE_LIVE, now_ms);
        return false;
    }
    watched->leaving = false;
    watched->route = route;
    gw_watched_tie(liveness, watched);
    return true;
}

/* --- what comes ------------------------------------------------------------------------------------------------- */

void gw_liveness_configure(struct gw_liveness *liveness, struct gw_routes *routes)
{
    pthread_mutex_lock(&liveness->lock);
    struct gw_routes *before = liveness->routes;
    liveness->routes = gw_routes_ref(routes);
    liveness->reloads++;
    atomic_store(&liveness->watches, gw_routes_watch(routes) || liveness->count);
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

/* A message on a channel that was given up. False: it stays so. */
static bool watched_revive(struct gw_liveness *liveness, struct gw_watched *watched)
{
    uint32_t route = channel_route(liveness, watched->name, watched->len, GW_ROUTE_BY_NAME);
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

static void liveness_on_message(struct gw_liveness *liveness, const struct gw_message_spec *spec, int64_t now_ms)
{
    uint64_t hash = gw_hash(spec->channel, spec->channel_len);
    struct gw_watched *watched = table_find(liveness, spec->channel, spec->channel_len, hash);
    if (spec->state) {
        if (watched && watched->underway) {
            watched->underway = false;
        } else if (watched) { /* another process has told it */
            watched->told = spec->state;
            gw_watched_look(liveness, watched, now_ms);
        }
        return;
    }
    if (watched && watched->leaving ? !watched_revive(liveness, watched)
                                    : watched && !watched_meet(liveness, watched, now_ms))
        return;
    uint32_t route =
        watched ? watched->route : channel_route(liveness, spec->channel, spec->channel_len, spec->route);
    if (watched && spec->clear) {
        watched_leave(liveness, watched, (enum gw_state)watched->told, now_ms); /* it has no state any more */
        return;
    }
    if (route == GW_ROUTE_BY_NAME || spec->clear)
        return;
    bool first = !watched || watched->seen_ms == GW_NEVER_MS;
    if (!watched)
        watched = watched_make(liveness, spec->channel, spec->channel_len, hash, route, now_ms);
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
                         ? channel_route(liveness, name, last->channel.len, GW_ROUTE_BY_NAME)
                         : GW_ROUTE_BY_NAME;
    if (route != GW_ROUTE_BY_NAME && !table_find(liveness, name, last->channel.len, last->hash)) {
        struct gw_watched *watched = watched_make(liveness, name, last->channel.len, last->hash, route, now_ms);
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
    if (end > liveness->buckets)
        end = liveness->buckets;
    while (liveness->sweep < end) {
        struct gw_watched *watched = liveness->table[liveness->sweep++];
        while (watched) {
            struct gw_watched *next = watched->hash_next;
            if (watched_meet(liveness, watched, now_ms))
                gw_watched_look(liveness, watched, now_ms);
            watched = next;
        }
    }
}

static void sources_hold(struct gw_liveness *liveness, int64_t now_ms)
{
    for (size_t i = 0; i < liveness->source_buckets; i++) {
        for (struct gw_source_word *source = liveness->sources[i]; source; source = source->hash_next) {
            if (source->heard_ms != GW_NEVER_MS)
                source->heard_ms = now_ms;
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
            sources_hold(liveness, now_ms);
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
    for (size_t i = 0; i < liveness->buckets; i++) {
        for (struct gw_watched *watched = liveness->table[i]; watched; watched = watched->hash_next) {
            if (!watched->underway)
                continue;
            watched->underway = false;
            watched->told = GW_STATE_NONE;
            watched_note(liveness, watched);
        }
    }
    pthread_mutex_unlock(&liveness->lock);
}

void gw_liveness_begin_anew(struct gw_liveness *liveness)
{
    pthread_mutex_lock(&liveness->lock);
    liveness->changed = NULL;
    liveness->changed_end = &liveness->changed;
    for (size_t i = 0; i < liveness->buckets; i++) {
        while (liveness->table[i])
            watched_remove(liveness, liveness->table[i]);
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
        sources_hold(liveness, now_ms); /* what was said meanwhile is about to be read */
        liveness->sweep = 0;
    }
    liveness->ticked_ms = now_ms;
    liveness_sweep_on(liveness, now_ms);
    struct gw_wheel_item *item;
    for (unsigned looks = TURN_LOOKS; looks && (item = gw_wheel_due(&liveness->wheel, now_ms)); looks--) {
        struct gw_watched *watched = (struct gw_watched *)item;
        if (watched_meet(liveness, watched, now_ms))
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
    if (liveness->sweep < liveness->buckets)
        next = now_ms;
    pthread_mutex_unlock(&liveness->lock);
    return next <= now_ms ? 0 : next - now_ms < most ? next - now_ms : most;
}

/* --- what is told ----------------------------------------------------------------------------------------------- */

static struct gw_watched *changed_take(struct gw_liveness *liveness)
{
    struct gw_watched *watched = liveness->changed;
    if (!watched)
        return NULL;
    liveness->changed = watched->changed_next;
    if (!liveness->changed)
        liveness->changed_end = &liveness->changed;
    watched->changed = false;
    return watched;
}

bool gw_liveness_next(struct gw_liveness *liveness, struct gw_liveness_change *change, int64_t now_ms)
{
    bool found = false;
    pthread_mutex_lock(&liveness->lock);
    struct gw_watched *watched;
    while (!found && now_ms >= liveness->quiet_ms && (watched = changed_take(liveness))) {
        found = watched->state != watched->told;
        if (found) {
            gw_buf_clear(&change->channel);
            gw_buf_add(&change->channel, watched->name, watched->len);
            change->route = watched->route;
            change->state = (enum gw_state)watched->state;
            change->since_ms = watched->since_ms;
            change->seen_ms = watched->seen_ms;
            watched->told = watched->state;
            watched->underway = true;
        }
        if (watched->leaving)
            watched_remove(liveness, watched);
    }
    pthread_mutex_unlock(&liveness->lock);
    return found;
}

void gw_liveness_untold(struct gw_liveness *liveness, const struct gw_liveness_change *change)
{
    pthread_mutex_lock(&liveness->lock);
    struct gw_watched *watched = table_find(liveness, change->channel.data, change->channel.len,
                                            gw_hash(change->channel.data, change->channel.len));
    if (watched) {
        watched->underway = false;
        watched->told = GW_STATE_NONE;
        watched_note(liveness, watched);
    }
    pthread_mutex_unlock(&liveness->lock);
}

bool gw_liveness_watches(const struct gw_liveness *liveness)
{
    return atomic_load_explicit(&liveness->watches, memory_order_relaxed);
}

void gw_liveness_count(const struct gw_liveness *liveness, uint64_t out[GW_STATE_COUNT])
{
    for (size_t i = 0; i < GW_STATE_COUNT; i++)
        out[i] = atomic_load_explicit(&liveness->counts[i], memory_order_relaxed);
}
