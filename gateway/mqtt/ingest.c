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
                    struct gw_inbox **inboxes, unsigned workers, struct gw_stored *stored)
{
    memset(ingest, 0, sizeof *ingest);
    ingest->engine = engine;
    ingest->store = store;
    ingest->inboxes = inboxes;
    ingest->workers = workers;
    ingest->stored = stored;
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

struct gw_engine_sink gw_ingest_sink(struct gw_ingest *ingest)
{
    return (struct gw_engine_sink){ingest, ingest_on_message, ingest_on_lost, ingest_on_epoch};
}

/* --- to the engine -----------------------------------------------------------------------------------------------
 */

struct arrival {
    struct gw_ingest *ingest;
    const struct gw_routes *routes;
    const struct gw_packet *packet;
    bool routed;
};

static bool ingest_is_stored(const struct gw_ingest *ingest, const struct gw_packet *packet, const char *channel,
                             size_t len)
{
    return packet->retain || packet->kept ||
           (ingest->stored->guess && gw_stored_guess(ingest->stored, gw_hash(channel, len)));
}

static void ingest_channel(void *context, uint32_t route, const char *channel, size_t channel_len)
{
    struct arrival *arrival = context;
    struct gw_ingest *ingest = arrival->ingest;
    const struct gw_packet *packet = arrival->packet;
    arrival->routed = true;
    if (packet->retain)
        gw_stored_note(ingest->stored, gw_hash(channel, channel_len));
    const struct gw_cfg_route *config = gw_routes_get(arrival->routes, route);
    struct gw_decoded decoded = {.json = "null", .len = 4};
    gw_buf_clear(&ingest->scratch);
    if (packet->payload_len) {
        enum gw_err err = config->codec->decode(packet->payload, packet->payload_len, &ingest->scratch, &decoded);
        if (err != GW_OK) {
            atomic_fetch_add_explicit(&ingest->codec_dropped, 1, memory_order_relaxed);
            gw_route_stats_dropped(&ingest->routes, route);
            GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "mqtt", "dropped a payload of %zu bytes on '%.*s': codec %s says %s",
                                 packet->payload_len, (int)packet->topic_len, packet->topic, config->codec->name,
                                 gw_err_code(err));
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
        .payload = packet->payload,
        .payload_len = packet->payload_len,
        .ts = gw_wall_ms(),
        .born_ns = gw_monotonic_ns(),
        .route = route,
        .retained = packet->retain,
        .stored = ingest_is_stored(ingest, packet, channel, channel_len),
        .clear = packet->payload_len == 0,
        .binary = decoded.binary,
    };
    enum gw_err err = ingest->engine->append(ingest->store, &draft);
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

static void ingest_note_channel(void *context, uint32_t route, const char *channel, size_t channel_len)
{
    (void)route;
    gw_stored_note(context, gw_hash(channel, channel_len));
}

void gw_ingest_note_stored(struct gw_ingest *ingest, const struct gw_routes *routes, const struct gw_packet *packet)
{
    if (gw_topic_name_valid(packet->topic, packet->topic_len))
        gw_routes_match(routes, packet->topic, packet->topic_len, ingest_note_channel, ingest->stored);
}

void gw_ingest_clear(struct gw_ingest *ingest, const char *channel, size_t len, int64_t since_ms)
{
    struct gw_message_spec draft = {
        .channel = channel,
        .channel_len = len,
        .json = "null",
        .json_len = 4,
        .payload = "",
        .ts = since_ms,
        .born_ns = gw_monotonic_ns(),
        .route = GW_ROUTE_BY_NAME,
        .retained = true,
        .clear = true,
    };
    enum gw_err err = ingest->engine->append(ingest->store, &draft);
    if (err != GW_OK)
        atomic_fetch_add_explicit(&ingest->refused, 1, memory_order_relaxed);
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
