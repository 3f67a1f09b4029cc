#include "mqtt/ingest.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "codec/json_pointer.h"
#include "gateway/codec.h"
#include "gateway/message.h"
#include "topic/topic.h"

/* Scratch space above this is given back after the message that needed it. */
#define SCRATCH_KEEP (64 * 1024)

void gw_ingest_init(struct gw_ingest *ingest, const struct gw_engine *engine, struct gw_engine_store *store,
                    struct gw_inbox **inboxes, unsigned workers)
{
    memset(ingest, 0, sizeof *ingest);
    ingest->engine = engine;
    ingest->store = store;
    ingest->inboxes = inboxes;
    ingest->workers = workers;
    gw_buf_init(&ingest->scratch);
    gw_route_stats_init(&ingest->routes);
}

void gw_ingest_fini(struct gw_ingest *ingest)
{
    gw_route_stats_fini(&ingest->routes);
    gw_buf_fini(&ingest->scratch);
}

void gw_ingest_post(struct gw_ingest *ingest, const struct gw_event *event)
{
    for (unsigned i = 0; i < ingest->workers; i++) {
        if (event->type == GW_EVENT_MESSAGE)
            gw_message_ref(event->u.message);
        if (event->type == GW_EVENT_RELOAD) {
            gw_config_ref(event->u.reload.config);
            gw_routes_ref(event->u.reload.routes);
            gw_auth_ref(event->u.reload.auth);
        }
        gw_inbox_put(ingest->inboxes[i], event);
    }
}

/* --- from the engine ---------------------------------------------------------------------------------------------
 */

static void ingest_on_message(void *context, const struct gw_message_spec *spec)
{
    struct gw_event event = {.type = GW_EVENT_MESSAGE, .u.message = gw_message_create(spec)};
    gw_ingest_post(context, &event);
    gw_message_unref(event.u.message);
}

static void ingest_on_lost(void *context, uint64_t to)
{
    const struct gw_event event = {.type = GW_EVENT_LOST, .u.lost = to};
    gw_ingest_post(context, &event);
}

static void ingest_on_epoch(void *context, const char *epoch)
{
    struct gw_event event = {.type = GW_EVENT_EPOCH};
    strncpy(event.u.epoch, epoch, sizeof event.u.epoch - 1);
    gw_ingest_post(context, &event);
}

static void ingest_on_safe(void *context)
{
    struct gw_ingest *ingest = context;
    ingest->wake(ingest->wake_context);
}

static void ingest_on_lead(void *context, uint64_t term)
{
    struct gw_ingest *ingest = context;
    atomic_store(&ingest->term, term);
    ingest->wake(ingest->wake_context);
}

static void ingest_on_upstream(void *context, bool up, int64_t since, bool by_engine)
{
    const struct gw_event event = {.type = GW_EVENT_UPSTREAM,
                                   .u.upstream = {.up = up, .since = since, .by_engine = by_engine}};
    gw_ingest_post(context, &event);
}

void gw_ingest_share(struct gw_ingest *ingest, void (*wake)(void *context), void *context)
{
    ingest->wake = wake;
    ingest->wake_context = context;
}

struct gw_engine_sink gw_ingest_sink(struct gw_ingest *ingest)
{
    return (struct gw_engine_sink){
        .context = ingest,
        .message = ingest_on_message,
        .lost = ingest_on_lost,
        .epoch = ingest_on_epoch,
        .lead = ingest_on_lead,
        .safe = ingest_on_safe,
        .upstream = ingest_on_upstream,
    };
}

/* --- to the engine -----------------------------------------------------------------------------------------------
 */

struct arrival {
    struct gw_ingest *ingest;
    const struct gw_routes *routes;
    const struct gw_packet *packet;
    bool routed;
};

/* The codec has refused the payload. Why is worked out again, at leisure, and only for the line that is written. */
static void ingest_refused(const struct arrival *arrival, const struct gw_cfg_route *config, uint32_t route,
                           enum gw_err err)
{
    struct gw_ingest *ingest = arrival->ingest;
    const struct gw_packet *packet = arrival->packet;
    atomic_fetch_add_explicit(&ingest->codec_dropped, 1, memory_order_relaxed);
    struct gw_log_limiter *limiter = gw_route_stats_dropped(&ingest->routes, route);
    if (!gw_log_due(limiter, GW_LOG_WARN))
        return;
    struct gw_buf why;
    gw_buf_init(&why);
    if (config->codec->explain)
        config->codec->explain(packet->payload, packet->payload_len, &why);
    gw_log_about(limiter, NULL, GW_LOG_WARN, "mqtt", "dropped a payload of %zu bytes on '%.*s': codec %s says %s%s%s",
                 packet->payload_len, (int)packet->topic_len, packet->topic, config->codec->name, gw_err_code(err),
                 why.len ? ": " : "", why.len ? why.data : "");
    gw_buf_fini(&why);
}

static void ingest_channel(void *context, uint32_t route, const char *channel, size_t channel_len)
{
    struct arrival *arrival = context;
    struct gw_ingest *ingest = arrival->ingest;
    const struct gw_packet *packet = arrival->packet;
    arrival->routed = true;
    const struct gw_cfg_route *config = gw_routes_get(arrival->routes, route);
    struct gw_decoded decoded = {.json = "null", .len = 4};
    gw_buf_clear(&ingest->scratch);
    if (packet->payload_len) {
        enum gw_err err = config->codec->decode(packet->payload, packet->payload_len, &ingest->scratch, &decoded);
        if (err != GW_OK) {
            ingest_refused(arrival, config, route, err);
            return;
        }
    }
    struct gw_slice watched = {0};
    if (config->rate == GW_RATE_ON_CHANGE && packet->payload_len &&
        !gw_json_pointer(decoded.json, decoded.len, config->rate_pointer ? config->rate_pointer : "", &watched))
        watched = (struct gw_slice){0}; /* a message of another kind: it passes */
    struct gw_message_spec draft = {
        .watched = watched,
        .channel = channel,
        .channel_len = channel_len,
        .json = decoded.json,
        .json_len = decoded.len,
        .payload = decoded.replaces ? decoded.json : packet->payload,
        .payload_len = decoded.replaces ? decoded.len : packet->payload_len,
        .ts = gw_wall_ms(),
        .born_ns = gw_monotonic_ns(),
        .route = route,
        .keep = config->history.count,
        .retained = packet->retain,
        .clear = packet->payload_len == 0,
        .binary = decoded.binary,
    };
    enum gw_err err = ingest->engine->append(ingest->store, &draft);
    if (err == GW_ERR_UPSTREAM_DOWN && ingest->engine->shared)
        return; /* another process takes messages in now: it gets this one, which nobody acknowledges here */
    if (err != GW_OK) {
        atomic_fetch_add_explicit(&ingest->refused, 1, memory_order_relaxed);
        GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "mqtt", "dropped a payload of %zu bytes on '%.*s': engine %s says %s",
                             packet->payload_len, (int)packet->topic_len, packet->topic, ingest->engine->name,
                             gw_err_code(err));
        return;
    }
    atomic_fetch_add_explicit(&ingest->messages, 1, memory_order_relaxed);
    gw_route_stats_message(&ingest->routes, route, packet->payload_len);
}

void gw_ingest_message(struct gw_ingest *ingest, const struct gw_routes *routes, const struct gw_packet *packet)
{
    struct arrival arrival = {.ingest = ingest, .routes = routes, .packet = packet};
    if (gw_topic_name_valid(packet->topic, packet->topic_len))
        gw_routes_match(routes, packet->topic, packet->topic_len, ingest_channel, &arrival);
    if (!arrival.routed)
        atomic_fetch_add_explicit(&ingest->unrouted, 1, memory_order_relaxed);
    if (ingest->scratch.cap > SCRATCH_KEEP)
        gw_buf_fini(&ingest->scratch);
}
