/* source_stats.c: what the source tells /metrics and /readyz, and what it is told of channels. */
#include "gateway/clock.h"
#include "mqtt/source_private.h"

struct gw_source_stats gw_source_stats(struct gw_source *source)
{
    return (struct gw_source_stats){
        .received = atomic_load(&source->received),
        .received_bytes = atomic_load(&source->received_bytes),
        .messages = atomic_load(&source->ingest.messages),
        .doubles = atomic_load(&source->doubles),
        .codec_dropped = atomic_load(&source->ingest.codec_dropped),
        .properties_dropped = atomic_load(&source->ingest.properties_dropped),
        .too_large = atomic_load(&source->too_large),
        .stale_cleared = atomic_load(&source->stored.cleared_total),
        .unrouted = atomic_load(&source->ingest.unrouted),
        .refused = atomic_load(&source->ingest.refused),
        .published = atomic_load(&source->publisher.published),
        .rejected = atomic_load(&source->publisher.rejected),
        .responses_unknown = atomic_load(&source->publisher.responses_unknown),
        .connects = atomic_load(&source->connects),
        .connect_failures = atomic_load(&source->connect_failures),
        .disconnects = atomic_load(&source->disconnects),
    };
}

void gw_source_states(struct gw_source *source, uint64_t out[GW_STATE_COUNT])
{
    gw_liveness_count(source->ingest.liveness, out);
}

struct gw_route_stats *gw_source_routes(struct gw_source *source)
{
    return &source->ingest.routes;
}

void gw_source_route_stats(struct gw_source *source, gw_route_stats_visit visit, void *context)
{
    gw_route_stats_read(&source->ingest.routes, visit, context);
}

void gw_source_ready(struct gw_source *source, struct gw_buf *out)
{
    pthread_mutex_lock(&source->lock);
    gw_buf_add(out, source->granted.json.data, source->granted.json.len);
    pthread_mutex_unlock(&source->lock);
}

void gw_source_granted(struct gw_source *source, struct gw_source_granted *out)
{
    pthread_mutex_lock(&source->lock);
    const struct gw_granted *granted = &source->granted;
    *out = (struct gw_source_granted){granted->wanted, granted->granted, granted->lowered, {{0}}};
    for (size_t i = 0; i < GW_GRANTED_REASONS; i++) {
        out->refused[i].reason = granted->refused[i].reason;
        out->refused[i].count = granted->refused[i].count;
    }
    pthread_mutex_unlock(&source->lock);
}

void gw_source_found(struct gw_source *source, const struct gw_message *last, enum gw_state told)
{
    if (gw_liveness_watches(source->ingest.liveness))
        gw_liveness_found(source->ingest.liveness, last, told, gw_monotonic_ms(), gw_wall_ms());
}
