/* stats.h: what a hub counts (stats.c); the counters themselves are in gateway/hub.h. Thread: the loop's. */
#ifndef GW_HUB_STATS_H
#define GW_HUB_STATS_H

#include <stdint.h>

#include "gateway/hub.h"
#include "gateway/session.h"

/* Arrival times of the messages that were queued live since the last flush. Messages that came within GW_ARRIVAL_NS
 * of each other share an entry, with the time of the first; when all are taken, the last one takes the rest. */
#define GW_ARRIVALS   1024
#define GW_ARRIVAL_NS 20000
struct gw_arrivals {
    struct {
        int64_t born_ns;
        uint64_t messages;
    } ring[GW_ARRIVALS];
    uint32_t count;
};

void gw_stats_session_opened(struct gw_stats *stats, const char *transport);
void gw_stats_session_closed(struct gw_stats *stats, const char *transport);
void gw_stats_gap(struct gw_stats *stats, enum gw_gap_reason reason);
/* enum gw_outcome or enum gw_err. */
void gw_stats_publish(struct gw_stats *stats, unsigned outcome);
/* A message was queued for at least one session. */
void gw_stats_arrived(struct gw_arrivals *arrivals, int64_t born_ns);
/* After every flush. */
void gw_stats_flushed(struct gw_hub *hub);

#endif
