/* route_stats.h: what each route of the configuration carried, for /metrics. Bounded: the first GW_ROUTE_STATS_MAX
 * routes have rows of their own, all others share one. A route is known by its topic and channel as written, so that
 * its numbers go on through a reload that moves it in the file. */
#ifndef GW_ROUTE_ROUTE_STATS_H
#define GW_ROUTE_ROUTE_STATS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/config.h"
#include "gateway/log.h"

#define GW_ROUTE_STATS_MAX 200

struct gw_route_row {
    char *topic, *channel;     /* as written; channel as the topic where it is not given */
    _Atomic uint64_t messages; /* made */
    _Atomic uint64_t bytes;    /* of their payloads */
    _Atomic uint64_t codec_dropped;
    _Atomic uint64_t confirmed, confirm_timeouts; /* publishes that asked to be confirmed, by how they ended */
    bool confirms;                                /* it has publish.confirm */
    struct gw_log_limiter dropped_line;           /* one noisy device does not silence the others */
};

struct gw_route_stats {
    pthread_mutex_t lock;
    struct gw_route_row
        *rows;       /* {lock} for all threads but the MQTT thread, which alone changes it; the last one is "other" */
    size_t count;    /* {lock} the same; 0 before the first configuration */
    uint8_t *row_of; /* MQTT thread: by route, up to GW_ROUTE_STATS_MAX of them */
    size_t routes;   /* MQTT thread: length of row_of */
};

void gw_route_stats_init(struct gw_route_stats *stats);
void gw_route_stats_fini(struct gw_route_stats *stats);

/* Another configuration is in force: routes that were there keep their numbers, those that are gone take theirs with
 * them. Thread: MQTT, or main before it starts. */
void gw_route_stats_configure(struct gw_route_stats *stats, const struct gw_config *config);

/* A message was made of a payload of `bytes`. Thread: MQTT. */
void gw_route_stats_message(struct gw_route_stats *stats, uint32_t route, size_t bytes);
/* The route's codec refused a payload. Returns the limiter for the line that tells of it. Thread: MQTT. */
struct gw_log_limiter *gw_route_stats_dropped(struct gw_route_stats *stats, uint32_t route);

/* A publish to a channel of the route has been confirmed, or was not in time. A route that is gone counts as "other".
 * Thread: any; it takes the lock. */
void gw_route_stats_confirm(struct gw_route_stats *stats, const struct gw_cfg_route *route, bool confirmed);

/* Visits every row, "other" (topic and channel) last. Thread: any. */
typedef void (*gw_route_stats_visit)(void *context, const struct gw_route_row *row);
void gw_route_stats_read(struct gw_route_stats *stats, gw_route_stats_visit visit, void *context);

#endif
