#include "mqtt/ingest.h"

#include <string.h>

#include "codec/json_pointer.h"
#include "gateway/clock.h"
#include "gateway/codec.h"
#include "gateway/log.h"
#include "gateway/message.h"
#include "gateway/topic.h"
#include "gateway/transform.h"
#include "mqtt/liveness_rule.h"
#include "mqtt/passed_on.h"

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
    gw_route_stats_init(&ingest->routes);
}

void gw_ingest_fini(struct gw_ingest *ingest)
{
    gw_route_stats_fini(&ingest->routes);
    gw_buf_fini(&ingest->scratch);
    gw_buf_fini(&ingest->channel);
    gw_buf_fini(&ingest->change.channel);
    gw_liveness_destroy(ingest->liveness);
    gw_buf_fini(&ingest->properties);
}

/* --- to the engine --------------------------------------------------------------------------------------------- */

struct arrival {
    struct gw_ingest *ingest;
    const struct gw_routes *routes;
    const struct gw_packet *packet;
    bool routed;
    /* Of the route at hand. */
    const struct gw_routed *route;
    const struct gw_cfg_route *config;
    uint32_t emitted;           /* by its transform */
    struct gw_slice properties; /* what its messages pass on */
};

static bool ingest_is_stored(const struct gw_ingest *ingest, const struct gw_packet *packet,
                             const struct gw_message_spec *draft)
{
    return packet->retain || packet->kept ||
           (ingest->stored->guess && gw_stored_guess(ingest->stored, gw_hash(draft->channel, draft->channel_len)));
}

/* The draft has what a codec or a transform has made of the payload: channel, json, payload, binary, clear. The rest
 * is the same for both. */
static void ingest_append(const struct arrival *arrival, struct gw_message_spec *draft)
{
    struct gw_ingest *ingest = arrival->ingest;
    const struct gw_packet *packet = arrival->packet;
    const struct gw_cfg_route *config = arrival->config;
    if (packet->retain && !arrival->route->channel)
        gw_stored_note(ingest->stored, gw_hash(draft->channel, draft->channel_len));
    if (config->rate == GW_RATE_ON_CHANGE && !draft->clear &&
        !gw_json_pointer(draft->json, draft->json_len, config->rate_pointer ? config->rate_pointer : "",
                         &draft->watched))
        draft->watched = (struct gw_slice){0}; /* a message of another kind: it passes */
    draft->ts = gw_wall_ms();
    draft->expires_ms = packet->expires ? draft->ts + (int64_t)packet->expiry * 1000 : 0;
    draft->born_ns = gw_monotonic_ns();
    draft->route = arrival->route->route;
    draft->keep = config->history.count;
    draft->retained = packet->retain;
    draft->qos = packet->qos > 0;
    draft->stored = ingest_is_stored(ingest, packet, draft);
    draft->properties = arrival->properties;
    enum gw_err err = ingest->engine->append(ingest->store, draft);
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
    gw_route_stats_message(&ingest->routes, arrival->route->route,
                           config->transform ? draft->payload_len : packet->payload_len);
}

/* The payload, or a part of it, becomes no message. Returns the limiter for the line if it is due. */
static struct gw_log_limiter *ingest_drop(const struct arrival *arrival)
{
    atomic_fetch_add_explicit(&arrival->ingest->codec_dropped, 1, memory_order_relaxed);
    struct gw_log_limiter *limiter = gw_route_stats_dropped(&arrival->ingest->routes, arrival->route->route);
    return gw_log_due(limiter, GW_LOG_WARN) ? limiter : NULL;
}

/* --- by a codec ------------------------------------------------------------------------------------------------ */

/* Why it was refused is worked out again, at leisure, and only for the line that is written. */
static void ingest_codec_refused(const struct arrival *arrival, enum gw_err err)
{
    const struct gw_codec *codec = arrival->config->codec;
    const struct gw_packet *packet = arrival->packet;
    struct gw_log_limiter *limiter = ingest_drop(arrival);
    if (!limiter)
        return;
    struct gw_buf why = {0};
    if (codec->explain)
        codec->explain(packet->payload, packet->payload_len, &why);
    gw_log_about(limiter, NULL, GW_LOG_WARN, "mqtt", "dropped a payload of %zu bytes on '%.*s': codec %s says %s%s%s",
                 packet->payload_len, (int)packet->topic_len, packet->topic, codec->name, gw_err_code(err),
                 why.len ? ": " : "", why.len ? why.data : "");
    gw_buf_fini(&why);
}

static enum gw_err ingest_decode(const struct arrival *arrival, struct gw_decoded *decoded)
{
    const struct gw_codec *codec = arrival->config->codec;
    const struct gw_packet *packet = arrival->packet;
    struct gw_buf *scratch = &arrival->ingest->scratch;
    if (!codec->decode_at)
        return codec->decode(packet->payload, packet->payload_len, scratch, decoded);
    const struct gw_codec_place place = {arrival->route->channel, arrival->route->channel_len,
                                         arrival->config->content_type, arrival->properties};
    return codec->decode_at(packet->payload, packet->payload_len, &place, scratch, decoded);
}

static void ingest_by_codec(const struct arrival *arrival)
{
    struct gw_ingest *ingest = arrival->ingest;
    const struct gw_packet *packet = arrival->packet;
    struct gw_decoded decoded = {.json = "null", .len = 4};
    gw_buf_clear(&ingest->scratch);
    if (packet->payload_len) {
        enum gw_err err = ingest_decode(arrival, &decoded);
        if (err != GW_OK) {
            ingest_codec_refused(arrival, err);
            return;
        }
    }
    struct gw_message_spec draft = {
        .channel = arrival->route->channel,
        .channel_len = arrival->route->channel_len,
        .json = decoded.json,
        .json_len = decoded.len,
        .payload = decoded.replaces ? decoded.json : packet->payload,
        .payload_len = decoded.replaces ? decoded.len : packet->payload_len,
        .binary = decoded.binary,
        .clear = packet->payload_len == 0,
    };
    ingest_append(arrival, &draft);
}

/* --- by a transform -------------------------------------------------------------------------------------------- */

static void ingest_say(const struct arrival *arrival, const char *what)
{
    const struct gw_packet *packet = arrival->packet;
    struct gw_log_limiter *limiter = ingest_drop(arrival);
    if (limiter)
        gw_log_about(limiter, NULL, GW_LOG_WARN, "mqtt", "dropped a message of transform %s on '%.*s': %s",
                     arrival->config->transform->name, (int)packet->topic_len, packet->topic, what);
}

static bool ingest_emit(void *context, const struct gw_transform_message *message)
{
    struct arrival *arrival = context;
    struct gw_buf *channel = &arrival->ingest->channel;
    if (arrival->emitted == gw_routes_config(arrival->routes)->limits.payload_messages) {
        ingest_say(arrival, "one payload makes more messages than limits.payload_messages allows");
        return false;
    }
    arrival->emitted++;
    switch (gw_routed_channel(arrival->route, message->values, channel)) {
    case GW_ROUTED_EARLIER:
        return true;
    case GW_ROUTED_NOWHERE:
        ingest_say(arrival, "a name in the payload fits into no channel of the route (one level without + and # "
                            "expected, or {name...} in channel)");
        return true;
    case GW_ROUTED_HERE:
        break;
    }
    bool clear = message->clear, bare = message->payload != NULL;
    struct gw_message_spec draft = {
        .channel = channel->data,
        .channel_len = channel->len,
        .json = clear ? "null" : message->json,
        .json_len = clear ? 4 : message->json_len,
        .payload = clear  ? ""
                   : bare ? message->payload
                          : message->json,
        .payload_len = clear  ? 0
                       : bare ? message->payload_len
                              : message->json_len,
        .binary = message->binary && !clear,
        .clear = clear,
    };
    ingest_append(arrival, &draft);
    return true;
}

static void ingest_by_transform(struct arrival *arrival)
{
    const struct gw_packet *packet = arrival->packet;
    const struct gw_transform *transform = arrival->config->transform;
    void *state = gw_routes_transform_state(arrival->routes, arrival->route->route);
    const struct gw_transform_input input = {.topic = packet->topic,
                                             .topic_len = packet->topic_len,
                                             .captures = arrival->route->captures,
                                             .payload = packet->payload,
                                             .payload_len = packet->payload_len,
                                             .retained = packet->retain,
                                             .ts = gw_wall_ms()};
    const struct gw_transform_output output = {arrival, ingest_emit};
    arrival->emitted = 0;
    gw_buf_clear(&arrival->ingest->scratch);
    enum gw_err err = transform->apply(state, &input, &arrival->ingest->scratch, &output);
    struct gw_log_limiter *limiter = err == GW_OK ? NULL : ingest_drop(arrival);
    if (!limiter)
        return;
    struct gw_buf why = {0};
    if (transform->explain)
        transform->explain(state, &input, &why);
    gw_log_about(limiter, NULL, GW_LOG_WARN, "mqtt",
                 "dropped a payload of %zu bytes on '%.*s': transform %s says %s%s%s", packet->payload_len,
                 (int)packet->topic_len, packet->topic, transform->name, gw_err_code(err), why.len ? ": " : "",
                 why.len ? why.data : "");
    gw_buf_fini(&why);
}

/* A stored message's channel, where it is known without the payload. That of a transform's message is known when it
 * is emitted (ingest_append()). */
static void ingest_note_channel(void *context, const struct gw_routed *routed)
{
    if (routed->channel)
        gw_stored_note(context, gw_hash(routed->channel, routed->channel_len));
}

void gw_ingest_note_stored(struct gw_ingest *ingest, const struct gw_routes *routes, const struct gw_packet *packet)
{
    gw_stored_note(ingest->stored, gw_hash(packet->topic, packet->topic_len));
    if (gw_topic_name_valid(packet->topic, packet->topic_len))
        gw_routes_match(routes, packet->topic, packet->topic_len, ingest_note_channel, ingest->stored);
}

/* What comes by no packet. */
static enum gw_err ingest_append_alone(struct gw_ingest *ingest, struct gw_message_spec *draft)
{
    const struct gw_engine_shared *shared = ingest->engine->shared;
    if (shared)
        shared->begin(ingest->store, 0, 0);
    enum gw_err err = ingest->engine->append(ingest->store, draft);
    if (shared)
        shared->commit(ingest->store);
    return err;
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
        .keep = GW_KEEP_ALL,
        .retained = true,
        .clear = true,
    };
    if (ingest_append_alone(ingest, &draft) != GW_OK)
        atomic_fetch_add_explicit(&ingest->refused, 1, memory_order_relaxed);
}

/* What the messages of the route at hand pass on of the packet's properties. */
static void ingest_pass_on(struct arrival *arrival)
{
    struct gw_ingest *ingest = arrival->ingest;
    const struct gw_packet *packet = arrival->packet;
    size_t most = gw_routes_config(arrival->routes)->limits.properties_bytes;
    gw_buf_clear(&ingest->properties);
    gw_passed_on(arrival->routes, packet, !arrival->config->transform, &ingest->properties);
    if (ingest->properties.len <= most) {
        arrival->properties = (struct gw_slice){ingest->properties.data, ingest->properties.len};
        return;
    }
    if (!most)
        return;
    atomic_fetch_add_explicit(&ingest->properties_dropped, 1, memory_order_relaxed);
    GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "mqtt",
                         "dropped %zu bytes of properties of a message on '%.*s': above "
                         "limits.properties",
                         ingest->properties.len, (int)packet->topic_len, packet->topic);
}

static void ingest_route(void *context, const struct gw_routed *routed)
{
    struct arrival *arrival = context;
    arrival->routed = true;
    if (arrival->packet->retain)
        ingest_note_channel(arrival->ingest->stored, routed);
    arrival->route = routed;
    arrival->config = gw_routes_get(arrival->routes, routed->route);
    arrival->properties = (struct gw_slice){NULL, 0};
    if (arrival->packet->properties)
        ingest_pass_on(arrival);
    if (arrival->config->transform)
        ingest_by_transform(arrival);
    else
        ingest_by_codec(arrival);
}

/* --- states ---------------------------------------------------------------------------------------------------- */

static enum gw_err ingest_tell_state(struct gw_ingest *ingest, int64_t now_ms)
{
    const struct gw_liveness_change *change = &ingest->change;
    struct gw_slice json = gw_state_json(change->state);
    int64_t wall_ms = gw_wall_ms();
    struct gw_message_spec draft = {
        .channel = change->channel.data,
        .channel_len = change->channel.len,
        .json = json.data,
        .json_len = json.len,
        .payload = json.data,
        .payload_len = json.len,
        .ts = wall_ms,
        .born_ns = gw_monotonic_ns(),
        .route = change->route,
        .state = (uint8_t)change->state,
        .since = wall_ms - (now_ms - change->since_ms),
        .seen = change->seen_ms == GW_NEVER_MS ? 0 : wall_ms - (now_ms - change->seen_ms),
    };
    return ingest_append_alone(ingest, &draft);
}

void gw_ingest_tell_states(struct gw_ingest *ingest)
{
    int64_t now_ms = gw_monotonic_ms();
    if (!ingest->liveness || (ingest->engine->shared && !atomic_load(&ingest->term)))
        return;
    while (gw_liveness_next(ingest->liveness, &ingest->change, now_ms)) {
        if (ingest_tell_state(ingest, now_ms) == GW_OK)
            continue;
        gw_liveness_untold(ingest->liveness, &ingest->change, now_ms);
        return; /* a later turn tries again */
    }
}

bool gw_ingest_message(struct gw_ingest *ingest, const struct gw_routes *routes, const struct gw_packet *packet)
{
    struct arrival arrival = {.ingest = ingest, .routes = routes, .packet = packet};
    if (packet->retain)
        gw_stored_note(ingest->stored, gw_hash(packet->topic, packet->topic_len));
    if (gw_topic_name_valid(packet->topic, packet->topic_len))
        gw_routes_match(routes, packet->topic, packet->topic_len, ingest_route, &arrival);
    if (ingest->liveness && gw_routes_watch(routes)) {
        arrival.routed |= gw_liveness_available(ingest->liveness, packet, gw_monotonic_ms());
        gw_ingest_tell_states(ingest);
    }
    if (!arrival.routed)
        atomic_fetch_add_explicit(&ingest->unrouted, 1, memory_order_relaxed);
    if (ingest->scratch.cap > SCRATCH_KEEP)
        gw_buf_fini(&ingest->scratch);
    if (ingest->properties.cap > SCRATCH_KEEP)
        gw_buf_fini(&ingest->properties);
    return arrival.routed;
}
