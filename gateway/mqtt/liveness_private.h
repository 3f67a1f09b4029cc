/* liveness_private.h: the state of liveness.c, liveness_table.c, liveness_told.c and liveness_sources.c. All of it
 * under the mutex. */
#ifndef GW_MQTT_LIVENESS_PRIVATE_H
#define GW_MQTT_LIVENESS_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/wheel.h"
#include "gateway/container.h"
#include "gateway/table.h"
#include "mqtt/liveness.h"
#include "mqtt/liveness_rule.h"

/* A longer word is none of those that mean online. */
#define GW_SOURCE_BYTES 128

/* An availability. */
struct gw_source_word {
    struct gw_table_item item;  /* first member */
    struct gw_watched *watched; /* the channels that it speaks for */
    int64_t heard_ms;           /* GW_NEVER_MS: never */
    char word[GW_SOURCE_BYTES]; /* without what it is wrapped in */
    uint8_t word_len;
    bool said; /* there is a word; false: its payload was empty, or none has come */
    bool held; /* it stays though nothing needs it */
    uint16_t len;
    char topic[]; /* NUL-terminated */
};

/* A channel. */
struct gw_watched {
    struct gw_wheel_item item; /* first member */
    struct gw_table_item hashed;
    struct gw_watched *changed_next, **changed_link; /* changed_link NULL: it is not in the list */
    struct gw_source_word *source;                   /* NULL: none */
    struct gw_watched *source_next, **source_link;
    int64_t seen_ms, since_ms;
    struct gw_rhythm rhythm;
    uint32_t route;
    uint32_t met;      /* gw_liveness.reloads when its route was looked up */
    uint8_t state;     /* enum gw_state, as the others */
    uint8_t told;      /* GW_STATE_NONE: who knows */
    bool leaving;      /* it is removed once it has been told */
    uint16_t underway; /* states that were told and have not come back yet */
    uint16_t len;
    char name[]; /* NUL-terminated */
};

struct gw_liveness {
    pthread_mutex_t lock;
    struct gw_routes *routes; /* NULL: none yet */
    uint32_t reloads;
    struct gw_table table, sources; /* by name, and by topic */
    uint32_t sources_reloads;       /* `reloads` when those that no route names any more were dropped */
    struct gw_wheel wheel;
    struct gw_watched *changed, **changed_end;
    struct gw_listening listening;
    bool shared;                 /* with other processes */
    bool evicted;                /* some were given up that clients may know by another state than live */
    int64_t ticked_ms, quiet_ms; /* nothing is told before that */
    size_t sweep;                /* bucket to be looked at next; `table.size`: none */
    uint64_t draws;
    atomic_bool watches;
    _Atomic uint64_t counts[GW_STATE_COUNT];
};

static inline struct gw_watched *gw_watched_of(struct gw_table_item *item)
{
    return GW_CONTAINER_OF(item, struct gw_watched, hashed);
}

/* --- liveness.c --- */

/* Its state as things are, and when to look again. It has met the newest reload. */
void gw_watched_look(struct gw_liveness *liveness, struct gw_watched *watched, int64_t now_ms);
/* Another state, which is told. */
void gw_watched_become(struct gw_liveness *liveness, struct gw_watched *watched, enum gw_state state, int64_t now_ms);

/* --- liveness_table.c --- */

/* The route that makes the channel, if it says anything of states; GW_ROUTE_BY_NAME: none does. */
uint32_t gw_liveness_route(const struct gw_liveness *liveness, const char *name, size_t len, uint32_t route);
/* NULL: it is not watched. */
struct gw_watched *gw_watched_find(const struct gw_liveness *liveness, const char *name, size_t len, uint64_t hash);
/* One that is not there yet. At limits.channels another one is given up for it. */
struct gw_watched *gw_watched_make(struct gw_liveness *liveness, const char *name, size_t len, uint64_t hash,
                                   uint32_t route, int64_t now_ms);
void gw_watched_remove(struct gw_liveness *liveness, struct gw_watched *watched);
/* It is watched no more. What clients know of it must be said before, if it is not `state`. */
void gw_watched_leave(struct gw_liveness *liveness, struct gw_watched *watched, enum gw_state state, int64_t now_ms);
/* A message on a channel that was given up. False: it stays so. */
bool gw_watched_revive(struct gw_liveness *liveness, struct gw_watched *watched);
/* To be called before its route is used, which a reload may have changed. False: it is not watched any more, and may
 * be gone. */
bool gw_watched_meet(struct gw_liveness *liveness, struct gw_watched *watched, int64_t now_ms);

/* --- liveness_told.c --- */

/* Into the list of changes, if there is something to be told. */
void gw_watched_note(struct gw_liveness *liveness, struct gw_watched *watched);
/* Out of it; fine if it is not there. */
void gw_watched_unnote(struct gw_liveness *liveness, struct gw_watched *watched);

/* --- liveness_sources.c --- */

/* Ties the channel to its availability as its route says. */
void gw_watched_tie(struct gw_liveness *liveness, struct gw_watched *watched);
void gw_watched_untie(struct gw_liveness *liveness, struct gw_watched *watched);
enum gw_word gw_watched_word(const struct gw_liveness *liveness, const struct gw_watched *watched);
/* What was heard before is true still. */
void gw_sources_hold(struct gw_liveness *liveness, int64_t now_ms);
void gw_sources_free(struct gw_liveness *liveness);

#endif
