/* liveness_rule.h: what a channel's state is, from what is known of it. Pure functions; times are of one monotonic
 * clock, in ms. Thread: any. */
#ifndef GW_MQTT_LIVENESS_RULE_H
#define GW_MQTT_LIVENESS_RULE_H

#include <stdint.h>

#include "gateway/message.h"

#define GW_NEVER_MS INT64_MIN
#define GW_NOT_MS   INT64_MAX

/* How long the broker may be away before channels that have nothing but an availability are unknown, and how long
 * what it stores takes to come when it is back. */
#define GW_LIVENESS_AWAY_MS   10000
#define GW_LIVENESS_SETTLE_MS 2000

enum gw_word { GW_WORD_NONE, GW_WORD_ONLINE, GW_WORD_OFFLINE };

/* Since when the gateway hears everything that happens, and when it last did not. */
struct gw_listening {
    int64_t since_ms; /* GW_NOT_MS: it does not hear now */
    int64_t away_ms;  /* since when it does not, or when that was the last time */
};

struct gw_liveness_facts {
    int64_t now_ms;
    int64_t seen_ms;  /* newest live message, GW_NEVER_MS: none */
    int64_t limit_ms; /* of silence; 0: none */
    struct gw_listening listening;
    enum gw_word word; /* of its availability */
    int64_t word_ms;   /* when that was said, or is known to be true still */
};

/* *until_ms: when the state may change though nothing happens; GW_NOT_MS: never. */
enum gw_state gw_liveness_rule(const struct gw_liveness_facts *facts, int64_t *until_ms);

/* --- the usual interval of a channel --- */

#define GW_RHYTHM_MIN_MS 10000
#define GW_RHYTHM_MAX_MS (86400 * 1000)

struct gw_rhythm {
    int64_t at_ms;        /* the message that counted last; GW_NEVER_MS: none */
    uint32_t interval_ms; /* 0: not known */
    uint8_t gaps;         /* so many intervals have been seen, up to GW_RHYTHM_GAPS */
};
#define GW_RHYTHM_GAPS 3

/* A live message came. */
void gw_rhythm_note(struct gw_rhythm *rhythm, const struct gw_listening *listening, int64_t now_ms);
/* How long it may be silent. */
int64_t gw_rhythm_limit(const struct gw_rhythm *rhythm);

#endif
