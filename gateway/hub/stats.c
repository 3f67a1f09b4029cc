/* stats.c: what a hub counts beyond plain counters: sessions by transport, publishes by outcome, gaps by reason, how
 * long messages take from the broker to the sockets, and how much waits in queues. Everything in struct gw_stats is
 * written by the worker's thread only. */
#include "hub/stats.h"

#include <string.h>

#include "gateway/clock.h"
#include "gateway/hub.h"
#include "hub/hub_private.h"
#include "hub/session/queue.h"

#define QUEUES_EVERY_MS 1000

/* --- by name --------------------------------------------------------------------------------------------------- */

/* Names are constants of the program, and few: a row is found by walking. The last one is for all that find none. */
static struct gw_stats_transport *stats_transport(struct gw_stats *stats, const char *name)
{
    const size_t rows = sizeof stats->transports / sizeof *stats->transports;
    if (!name)
        name = "other";
    for (size_t i = 0; i < rows; i++) {
        struct gw_stats_transport *row = &stats->transports[i];
        const char *known = atomic_load_explicit(&row->name, memory_order_relaxed);
        if (!known)
            atomic_store_explicit(&row->name, i + 1 < rows ? name : "other", memory_order_release);
        if (!known || !strcmp(known, name))
            return row;
    }
    return &stats->transports[rows - 1];
}

void gw_stats_session_opened(struct gw_stats *stats, const char *transport)
{
    struct gw_stats_transport *row = stats_transport(stats, transport);
    GW_STAT_ADD(row, now, 1);
    GW_STAT_ADD(row, opened, 1);
    GW_STAT_ADD(stats, sessions, 1);
}

void gw_stats_session_closed(struct gw_stats *stats, const char *transport)
{
    GW_STAT_ADD(stats_transport(stats, transport), now, (uint64_t)-1);
    GW_STAT_ADD(stats, sessions, (uint64_t)-1);
}

void gw_stats_gap(struct gw_stats *stats, enum gw_gap_reason reason)
{
    GW_STAT_ADD(stats, gaps, 1);
    if (reason == GW_GAP_HISTORY)
        GW_STAT_ADD(stats, gaps_history, 1);
    else if (reason == GW_GAP_EPOCH)
        GW_STAT_ADD(stats, gaps_epoch, 1);
    else
        GW_STAT_ADD(stats, gaps_overflow, 1);
}

void gw_stats_publish(struct gw_stats *stats, unsigned outcome)
{
    GW_STAT_ADD(stats, outcomes[outcome], 1);
    if (outcome == GW_OUTCOME_PUBLISHED || outcome == GW_OUTCOME_ACCEPTED)
        GW_STAT_ADD(stats, published, 1);
    else if (outcome == GW_OUTCOME_ANSWERED)
        GW_STAT_ADD(stats, responses, 1);
    else if (outcome != GW_OUTCOME_ABANDONED)
        GW_STAT_ADD(stats, publish_errors, 1);
}

/* --- latency --------------------------------------------------------------------------------------------------- */

void gw_stats_arrived(struct gw_arrivals *arrivals, int64_t born_ns)
{
    uint32_t last = arrivals->count - 1;
    if (arrivals->count &&
        (born_ns - arrivals->ring[last].born_ns < GW_ARRIVAL_NS || arrivals->count == GW_ARRIVALS)) {
        arrivals->ring[last].messages++;
        return;
    }
    arrivals->ring[arrivals->count].born_ns = born_ns;
    arrivals->ring[arrivals->count++].messages = 1;
}

static void stats_observe(struct gw_hub *hub)
{
    struct gw_arrivals *arrivals = &hub->arrivals;
    if (!arrivals->count)
        return;
    int64_t now_ns = gw_monotonic_ns();
    for (uint32_t i = 0; i < arrivals->count; i++)
        gw_histogram_observe(&hub->stats.latency, now_ns - arrivals->ring[i].born_ns, arrivals->ring[i].messages);
    arrivals->count = 0;
}

/* --- queues ---------------------------------------------------------------------------------------------------- */

/* What waits after everybody was told to drain. The walk costs about what one message to all sessions costs, and
 * keeping the sums up to date all the time would cost every delivery. What is empty is made small by the way. */
static void stats_queues(struct gw_hub *hub)
{
    if (hub->now_ms < hub->queues_due_ms)
        return;
    hub->queues_due_ms = hub->now_ms + QUEUES_EVERY_MS;
    uint64_t sessions = 0, bytes = 0, largest = 0;
    for (struct gw_session *session = hub->sessions; session; session = session->next) {
        gw_session_shrink(session);
        sessions += session->count > 0;
        bytes += session->queued_bytes;
        if (session->queued_bytes > largest)
            largest = session->queued_bytes;
    }
    GW_STAT_SET(&hub->stats, queued_sessions, sessions);
    GW_STAT_SET(&hub->stats, queued_bytes, bytes);
    GW_STAT_SET(&hub->stats, queued_largest, largest);
}

void gw_stats_flushed(struct gw_hub *hub)
{
    stats_observe(hub);
    stats_queues(hub);
}
