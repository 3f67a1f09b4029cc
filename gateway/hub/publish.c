/* publish.c: publishes and requests on their way from a session to the broker, their receipts and answers on the way
 * back. */
#include "hub/publish.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/auth.h"
#include "gateway/codec.h"
#include "gateway/hub.h"
#include "gateway/session_log.h"
#include "gateway/topic.h"
#include "gateway/transform.h"
#include "hub/access.h"
#include "hub/hub_private.h"
#include "hub/stats.h"
#include "route/routes.h"

/* The broker took the message and nobody gets it (MQTT 5.0 section 3.4.2.1). */
#define MQTT_NO_MATCHING_SUBSCRIBERS 0x10

/* One publish that the broker has not acknowledged yet. Its slot in hub->pending and a generation make the token. */
struct gw_pending {
    struct gw_timer timer;
    struct gw_hub *hub;
    struct gw_session *session;
    struct gw_pending *next, **link; /* of the same session */
    char *reference;
    const struct gw_codec *codec; /* of a request's answer; NULL: it is a publish */
    uint32_t slot, generation;
};

struct gw_publish *gw_publish_create(const char *topic, size_t topic_len, const char *payload, size_t payload_len)
{
    struct gw_publish *publish = gw_malloc(sizeof *publish + topic_len + 1 + payload_len + 1);
    *publish = (struct gw_publish){.payload_len = payload_len};
    publish->topic = (char *)(publish + 1);
    memcpy(publish->topic, topic, topic_len);
    publish->topic[topic_len] = '\0';
    publish->payload = publish->topic + topic_len + 1;
    if (payload_len)
        memcpy(publish->payload, payload, payload_len);
    publish->payload[payload_len] = '\0';
    return publish;
}

static uint64_t pending_token(const struct gw_pending *pending)
{
    return (uint64_t)pending->generation << 32 | pending->slot;
}

static void pending_free(struct gw_pending *pending)
{
    struct gw_hub *hub = pending->hub;
    gw_timer_cancel(hub->timers, &pending->timer);
    *pending->link = pending->next;
    if (pending->next)
        pending->next->link = pending->link;
    pending->session->pending_count--;
    hub->pending[pending->slot] = NULL;
    hub->pending_count--;
    free(pending->reference);
    free(pending);
}

static void pending_finish(struct gw_pending *pending, enum gw_err err, int reason)
{
    struct gw_session *session = pending->session;
    char *reference = pending->reference;
    pending->reference = NULL;
    gw_stats_publish(&pending->hub->stats, err);
    GW_SESSION_LOG(session, GW_LOG_DEBUG, "a publish ends: %s", err == GW_OK ? "published" : gw_err_code(err));
    pending_free(pending);
    if (!session->kicked)
        session->ops->published(session, reference, err, reason);
    free(reference);
}

static void pending_timed_out(struct gw_timer *timer)
{
    /* timer is the first member */
    pending_finish((struct gw_pending *)timer, GW_ERR_TIMEOUT, 0);
}

static struct gw_pending *pending_create(struct gw_session *session, int64_t timeout_ms)
{
    struct gw_hub *hub = session->hub;
    if (hub->pending_count == hub->pending_slots) {
        uint32_t slots = hub->pending_slots ? hub->pending_slots * 2 : 16;
        hub->pending = gw_reallocarray(hub->pending, slots, sizeof *hub->pending);
        memset(hub->pending + hub->pending_slots, 0, (slots - hub->pending_slots) * sizeof *hub->pending);
        hub->pending_slots = slots;
    }
    uint32_t slot = hub->pending_generation++ % hub->pending_slots;
    while (hub->pending[slot])
        slot = (slot + 1) % hub->pending_slots;

    struct gw_pending *pending = gw_calloc(1, sizeof *pending);
    pending->hub = hub;
    pending->session = session;
    pending->slot = slot;
    pending->generation = hub->pending_generation;
    pending->timer.fire = pending_timed_out;
    hub->pending[slot] = pending;
    hub->pending_count++;
    pending->next = session->pending;
    pending->link = &session->pending;
    if (pending->next)
        pending->next->link = &pending->next;
    session->pending = pending;
    session->pending_count++;
    gw_timer_set(hub->timers, &pending->timer, hub->now_ms + timeout_ms);
    return pending;
}

static struct gw_pending *pending_find(const struct gw_hub *hub, uint64_t token)
{
    uint32_t slot = (uint32_t)token;
    struct gw_pending *pending = slot < hub->pending_slots ? hub->pending[slot] : NULL;
    return pending && pending_token(pending) == token ? pending : NULL;
}

void gw_hub_settle(struct gw_hub *hub, const struct gw_publish_result *result)
{
    struct gw_pending *pending = pending_find(hub, result->token);
    if (!pending)
        GW_STAT_ADD(&hub->stats, publish_late, 1);
    else if (pending->codec && result->err == GW_OK && result->reason == MQTT_NO_MATCHING_SUBSCRIBERS)
        pending_finish(pending, GW_ERR_NO_RESPONDER, 0);
    else if (!pending->codec || result->err != GW_OK)
        pending_finish(pending, result->err, result->err == GW_OK ? 0 : result->reason);
    /* A request that the broker has taken waits for its answer. */
}

/* An answer need not have the shape of the channel's values: what the route's codec refuses, `auto` takes. */
static struct gw_slice response_decode(const struct gw_codec *codec, const struct gw_response *response,
                                       struct gw_buf *scratch)
{
    struct gw_decoded decoded = {.json = "null", .len = 4};
    if (response->len && codec->decode(response->payload, response->len, scratch, &decoded) != GW_OK) {
        gw_buf_clear(scratch);
        if (gw_codecs[0]->decode(response->payload, response->len, scratch, &decoded) != GW_OK)
            decoded = (struct gw_decoded){.json = "null", .len = 4};
    }
    return (struct gw_slice){decoded.json, decoded.len};
}

void gw_hub_respond(struct gw_hub *hub, struct gw_response *response)
{
    struct gw_pending *pending = pending_find(hub, response->token);
    if (!pending || !pending->codec) {
        GW_STAT_ADD(&hub->stats, responses_late, 1);
    } else {
        struct gw_session *session = pending->session;
        struct gw_buf scratch;
        gw_buf_init(&scratch);
        struct gw_slice json = response_decode(pending->codec, response, &scratch);
        char *reference = pending->reference;
        pending->reference = NULL;
        pending_free(pending);
        gw_stats_publish(&hub->stats, GW_OUTCOME_ANSWERED);
        if (!session->kicked)
            session->ops->response(session, reference, json);
        free(reference);
        gw_buf_fini(&scratch);
    }
    free(response->payload);
}

void gw_pending_drop(struct gw_session *session)
{
    while (session->pending) {
        gw_stats_publish(&session->hub->stats, GW_OUTCOME_ABANDONED);
        pending_free(session->pending);
    }
}

/* A payload that is sent as it is: what the route would drop on its way back is refused here, where the client gets
 * an error. */
static enum gw_err publish_check(const struct gw_codec *codec, const char *data, size_t len)
{
    if (!len)
        return GW_OK;
    if (codec->publishable)
        return codec->publishable(data, len) ? GW_OK : GW_ERR_NOT_JSON;
    struct gw_buf scratch;
    struct gw_decoded decoded;
    gw_buf_init(&scratch);
    enum gw_err err = codec->decode(data, len, &scratch, &decoded);
    gw_buf_fini(&scratch);
    return err;
}

/* The value without the blanks around it. */
static struct gw_slice publish_trim(const char *data, size_t len)
{
    static const char blanks[] = " \t\r\n";
    size_t from = 0;
    while (from < len && strchr(blanks, data[from]))
        from++;
    while (len > from && strchr(blanks, data[len - 1]))
        len--;
    return (struct gw_slice){data + from, len - from};
}

/* By a transform. A payload that is sent as it is is read as the device's would be: it becomes a value first. */
static enum gw_err publish_transform(const struct gw_publish_target *target, const char *data, size_t len, bool json,
                                     struct gw_buf *payload, const char **why)
{
    struct gw_buf scratch;
    struct gw_decoded decoded = {.json = data, .len = len};
    enum gw_err err = GW_OK;
    gw_buf_init(&scratch);
    if (!json && len)
        err = publish_check(target->codec, data, len);
    if (!json && !len)
        decoded = (struct gw_decoded){.json = "null", .len = 4};
    else if (!json && err == GW_OK)
        err = target->codec->decode(data, len, &scratch, &decoded);
    struct gw_slice value = publish_trim(decoded.json, decoded.len);
    if (err == GW_OK)
        err = target->transform->encode(target->state, &target->captures, value.data, value.len, payload, why);
    gw_buf_fini(&scratch);
    return err;
}

/* JSON `data`, or a payload as it is, to the payload. `null` is the empty payload, whatever the codec. */
static enum gw_err publish_encode(const struct gw_publish_target *target, const char *data, size_t len, bool json,
                                  struct gw_buf *payload, const char **why)
{
    if (target->transform)
        return publish_transform(target, data, len, json, payload, why);
    if (!json) {
        gw_buf_add(payload, data, len);
        return publish_check(target->codec, data, len);
    }
    struct gw_slice value = publish_trim(data, len);
    if (value.len == 4 && !memcmp(value.data, "null", 4))
        return GW_OK;
    return target->codec->encode(value.data, value.len, payload, why);
}

/* timeout_ms -1: a publish; else a request. */
static enum gw_err session_send(struct gw_session *session, const char *channel, size_t channel_len, const char *data,
                                size_t data_len, bool json, int64_t timeout_ms, char **reference, bool *accepted,
                                const char **why)
{
    struct gw_hub *hub = session->hub;
    GW_ASSERT_LOOP(hub);
    bool request = timeout_ms >= 0;
    struct gw_buf payload;
    struct gw_publish_target target = {0};
    gw_buf_init(&payload);
    gw_buf_init(&target.topic);
    /* Before anything is said of the channel: whoever may not publish to it doesn't learn whether it exists. */
    enum gw_err err = gw_topic_name_valid(channel, channel_len)
                          ? gw_session_check(session, GW_RIGHT_PUBLISH, channel, channel_len)
                          : GW_ERR_BAD_REQUEST;
    if (err == GW_ERR_FORBIDDEN || err == GW_ERR_UNAUTHORIZED)
        GW_STAT_ADD(&hub->stats, forbidden, 1);
    if (err == GW_OK && !gw_bucket_take(&session->publishes, hub->config->limits.publish_rate, hub->now_ms)) {
        GW_STAT_ADD(&hub->stats, rate_limited, 1);
        err = GW_ERR_RATE_LIMITED;
    }
    if (err == GW_OK) {
        err = gw_routes_publish_target(hub->routes, channel, channel_len, &target);
        *why = target.why;
    }
    if (err == GW_OK && gw_topic_levels(target.topic.data, target.topic.len) > hub->config->limits.levels) {
        err = GW_ERR_BAD_REQUEST;
        *why = "the topic has more levels than limits.levels allows";
    }
    if (err == GW_OK)
        err = publish_encode(&target, data, data_len, json, &payload, why);
    bool waits = request || target.qos > 0;
    if (err == GW_OK && waits && session->pending_count >= hub->config->limits.publishes_per_session)
        err = GW_ERR_OVERLOADED;
    if (err == GW_OK) {
        struct gw_publish *publish =
            gw_publish_create(target.topic.data, target.topic.len, payload.data, payload.len);
        publish->worker = hub->worker;
        publish->qos = target.qos;
        publish->deadline_ms = hub->now_ms + (request ? timeout_ms : hub->config->broker.publish_timeout_ms);
        publish->retain = target.retain && !request; /* a request is for whoever is there now */
        publish->request = request;
        struct gw_pending *pending = NULL;
        if (waits) {
            pending = pending_create(session, request ? timeout_ms : hub->config->broker.publish_timeout_ms);
            pending->codec = request ? target.codec : NULL;
            publish->token = pending_token(pending);
        }
        err = hub->upstream.publish(hub->upstream.context, &publish);
        free(publish);
        if (pending && err != GW_OK) {
            pending_free(pending);
        } else if (pending) {
            pending->reference = *reference;
            *reference = NULL;
        } else if (err == GW_OK) {
            gw_stats_publish(&hub->stats, GW_OUTCOME_ACCEPTED);
            *accepted = true;
        }
    }
    if (err != GW_OK)
        gw_stats_publish(&hub->stats, err);
    GW_SESSION_LOG(session, GW_LOG_DEBUG, "%s to '%.*s': %zu bytes%s%s", request ? "a request" : "a publish",
                   (int)channel_len, channel, data_len,
                   err == GW_OK ? "" : ", refused: ", err == GW_OK ? "" : gw_err_code(err));
    gw_buf_fini(&target.topic);
    gw_buf_fini(&payload);
    return err;
}

enum gw_err gw_session_publish(struct gw_session *session, const char *channel, size_t channel_len, const char *data,
                               size_t data_len, bool json, char *reference, bool *accepted, const char **why)
{
    *accepted = false;
    *why = NULL;
    enum gw_err err =
        session_send(session, channel, channel_len, data, data_len, json, -1, &reference, accepted, why);
    free(reference);
    return err;
}

enum gw_err gw_session_request(struct gw_session *session, const char *channel, size_t channel_len, const char *data,
                               size_t data_len, bool json, int64_t timeout_ms, char *reference, const char **why)
{
    bool accepted;
    *why = NULL;
    if (timeout_ms < 0)
        timeout_ms = session->hub->config->broker.request_timeout_ms;
    enum gw_err err =
        session_send(session, channel, channel_len, data, data_len, json, timeout_ms, &reference, &accepted, why);
    free(reference);
    return err;
}
