/* liveness.h: which channels are live, stale, offline or unknown, and what has to be told of that.
 *
 * It watches the messages as the engine numbers them, and the availabilities as they come from the broker. What
 * changes is taken by gw_liveness_next() and becomes a message of the sequence. A message on a channel that is live
 * touches a time stamp and nothing else. Thread: any; it has a mutex. Times are gw_monotonic_ms(). */
#ifndef GW_MQTT_LIVENESS_H
#define GW_MQTT_LIVENESS_H

#include <stdbool.h>
#include <stdint.h>

#include "gateway/buf.h"
#include "gateway/message.h"
#include "route/routes.h"

struct gw_liveness;
struct gw_packet;

struct gw_liveness *gw_liveness_create(int64_t now_ms);
void gw_liveness_destroy(struct gw_liveness *liveness);

/* The route table in force from now on; takes a reference of its own. */
void gw_liveness_configure(struct gw_liveness *liveness, struct gw_routes *routes);

/* A message was numbered, or a state. */
void gw_liveness_message(struct gw_liveness *liveness, const struct gw_message_spec *spec, int64_t now_ms);
/* A channel that was there before: the time of its last value, wall clock, which counts only if it is no stored
 * value. One that is known already is left alone. `told`: what clients were told last; GW_STATE_NONE: who knows. */
void gw_liveness_found(struct gw_liveness *liveness, const struct gw_message *last, enum gw_state told,
                       int64_t now_ms, int64_t wall_ms);
/* A message of the broker's. True: it is the topic of an availability. */
bool gw_liveness_available(struct gw_liveness *liveness, const struct gw_packet *packet, int64_t now_ms);

/* The connection to the broker is there with all subscriptions, or is not. `kept`: it is the same session as before,
 * so that no availability was missed. `settle`: other processes share the sequence and the session; wait a moment
 * before anything is told.
 */
void gw_liveness_up(struct gw_liveness *liveness, bool up, bool kept, bool settle, int64_t now_ms);
/* Numbers were lost: what was told may not have arrived. */
void gw_liveness_lost(struct gw_liveness *liveness);
/* Numbers begin anew, with no channels. */
void gw_liveness_begin_anew(struct gw_liveness *liveness);

/* Deadlines. To be called at least every 500 ms; a longer pause counts as one in which nothing was heard. */
void gw_liveness_tick(struct gw_liveness *liveness, int64_t now_ms);
/* How long nothing is to be done, at most `most` ms. `telling`: the caller takes what is to be told. */
int64_t gw_liveness_wait(struct gw_liveness *liveness, bool telling, int64_t now_ms, int64_t most);

/* A state that is to be told. */
struct gw_liveness_change {
    struct gw_buf channel; /* init'd and fini'd by the caller */
    uint32_t route;
    enum gw_state state;
    int64_t since_ms, seen_ms; /* monotonic; seen_ms GW_NEVER_MS: none */
};
bool gw_liveness_next(struct gw_liveness *liveness, struct gw_liveness_change *change, int64_t now_ms);
/* It could not be told: it is told a moment later, and so is everything else. */
void gw_liveness_untold(struct gw_liveness *liveness, const struct gw_liveness_change *change, int64_t now_ms);

/* Is there anything to be watched? Takes no lock. */
bool gw_liveness_watches(const struct gw_liveness *liveness);

/* Channels in each state. Thread: any; takes no lock. */
void gw_liveness_count(const struct gw_liveness *liveness, uint64_t out[GW_STATE_COUNT]);

#endif
