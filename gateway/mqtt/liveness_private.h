/* liveness_private.h: the state of liveness.c and liveness_sources.c. All of it under the mutex. */
#ifndef GW_MQTT_LIVENESS_PRIVATE_H
#define GW_MQTT_LIVENESS_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/wheel.h"
#include "mqtt/liveness.h"
#include "mqtt/liveness_rule.h"

/* Longer payloads of an availability are compared up to here. */
#define GW_SOURCE_BYTES 128

/* An availability. */
struct gw_source_word {
    uint64_t hash;
    struct gw_source_word *hash_next;
    struct gw_watched *watched; /* the channels that it speaks for */
    int64_t heard_ms;           /* GW_NEVER_MS: never */
    char payload[GW_SOURCE_BYTES];
    uint8_t payload_len;
    uint16_t len;
    char topic[]; /* NUL-terminated */
};

/* A channel. */
struct gw_watched {
    struct gw_wheel_item item; /* first member */
    uint64_t hash;
    struct gw_watched *hash_next;
    struct gw_watched *changed_next;
    struct gw_source_word *source; /* NULL: none */
    struct gw_watched *source_next, **source_link;
    int64_t seen_ms, since_ms;
    struct gw_rhythm rhythm;
    uint32_t route;
    uint32_t met;  /* gw_liveness.reloads when its route was looked up */
    uint8_t state; /* enum gw_state, as the others */
    uint8_t told;  /* GW_STATE_NONE: who knows */
    bool changed;  /* it is in the list */
    bool leaving;  /* it is removed once it has been told */
    bool underway; /* what was told has not come back yet */
    uint16_t len;
    char name[]; /* NUL-terminated */
};

struct gw_liveness {
    pthread_mutex_t lock;
    struct gw_routes *routes; /* NULL: none yet */
    uint32_t reloads;
    struct gw_watched **table; /* by hash, a power of two */
    size_t buckets, count;
    struct gw_source_word **sources;
    size_t source_buckets, source_count;
    struct gw_wheel wheel;
    struct gw_watched *changed, **changed_end;
    struct gw_listening listening;
    bool shared;                 /* with other processes */
    int64_t ticked_ms, quiet_ms; /* nothing is told before that */
    size_t sweep;                /* bucket to be looked at next; `buckets`: none */
    uint64_t draws;
    atomic_bool watches;
    _Atomic uint64_t counts[GW_STATE_COUNT];
};

/* Its state as things are, and when to look again. */
void gw_watched_look(struct gw_liveness *liveness, struct gw_watched *watched, int64_t now_ms);

/* --- liveness_sources.c --- */

/* Ties the channel to its availability as its route says. */
void gw_watched_tie(struct gw_liveness *liveness, struct gw_watched *watched);
void gw_watched_untie(struct gw_liveness *liveness, struct gw_watched *watched);
enum gw_word gw_watched_word(const struct gw_liveness *liveness, const struct gw_watched *watched);
void gw_sources_free(struct gw_liveness *liveness);

#endif
