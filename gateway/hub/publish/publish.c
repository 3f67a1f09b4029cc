/* publish.c: publishes and requests on their way from a session to the broker. What comes back is in pending.c. */

#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/auth.h"
#include "gateway/hub.h"
#include "gateway/identity.h"
#include "gateway/session_log.h"
#include "gateway/topic.h"
#include "hub/access.h"
#include "hub/hub_private.h"
#include "hub/publish/confirm.h"
#include "hub/publish/payload.h"
#include "hub/publish/pending.h"
#include "hub/publish/repeats.h"
#include "hub/stats.h"
#include "route/reply.h"
#include "route/routes.h"

struct gw_publish *gw_publish_create(const char *topic, size_t topic_len, const char *payload, size_t payload_len,
                                     struct gw_slice properties)
{
    struct gw_publish *publish = gw_malloc(sizeof *publish + topic_len + 1 + payload_len + 1 + properties.len);
    *publish = (struct gw_publish){.payload_len = payload_len};
    publish->topic = (char *)(publish + 1);
    memcpy(publish->topic, topic, topic_len);
    publish->topic[topic_len] = '\0';
    publish->payload = publish->topic + topic_len + 1;
    if (payload_len)
        memcpy(publish->payload, payload, payload_len);
    publish->payload[payload_len] = '\0';
    if (properties.len) {
        char *at = publish->payload + payload_len + 1;
        publish->properties = (struct gw_slice){at, properties.len};
        memcpy(at, properties.data, properties.len);
    }
    return publish;
}

/* The user property that says who publishes. */
#define IDENTITY "sub"

/* A publish or request on its way. */
struct outgoing {
    struct gw_command *command; /* its reference is NULL once it is with what waits for the broker */
    struct gw_repeat *repeat;   /* it is the first with its key */
    struct gw_publish_target target;
    struct gw_buf payload, properties;
};

/* Before anything is said of the channel: whoever may not publish to it doesn't learn whether it exists. */
static enum gw_err outgoing_admit(struct gw_session *session, struct outgoing *out)
{
    struct gw_hub *hub = session->hub;
    if (out->command->request && (out->command->confirm || out->command->key.data)) {
        out->command->why = "confirm and idempotency keys are for publishes, not for requests";
        return GW_ERR_BAD_REQUEST;
    }
    enum gw_err err =
        gw_topic_name_valid(out->command->channel, out->command->channel_len)
            ? gw_session_check(session, GW_RIGHT_PUBLISH, out->command->channel, out->command->channel_len)
            : GW_ERR_BAD_REQUEST;
    if (err == GW_ERR_FORBIDDEN || err == GW_ERR_UNAUTHORIZED)
        GW_STAT_ADD(&hub->stats, forbidden, 1);
    if (err == GW_ERR_FORBIDDEN)
        out->command->why = "no role of this client may publish here";
    if (err == GW_OK && !gw_bucket_take(&session->publishes, hub->config->limits.publish_rate, hub->now_ms)) {
        GW_STAT_ADD(&hub->stats, rate_limited, 1);
        err = GW_ERR_RATE_LIMITED;
    }
    if (err != GW_OK)
        return err;
    err = gw_routes_publish_target(hub->routes, out->command->channel, out->command->channel_len, &out->target);
    out->command->why = out->target.why;
    return err;
}

/* The broker's topic in place of the channel. A device publishes its response there with rights of its own: the
 * client must have them too. */
static enum gw_err outgoing_respond_to(struct gw_session *session, struct outgoing *out, struct gw_slice channel,
                                       struct gw_buf *topic)
{
    enum gw_err err = gw_topic_name_valid(channel.data, channel.len)
                          ? gw_session_check(session, GW_RIGHT_PUBLISH, channel.data, channel.len)
                          : GW_ERR_BAD_REQUEST;
    out->command->why = "the client may not publish to its response topic";
    if (err == GW_OK && !gw_reply_topic(session->hub->routes, channel.data, channel.len, topic)) {
        err = GW_ERR_UNKNOWN_CHANNEL;
        out->command->why = "no route leads from the response topic back to its channel";
    }
    if (err == GW_OK)
        out->command->why = NULL;
    return err;
}

bool gw_hub_response_possible(const struct gw_hub *hub, const struct gw_grants *grants, const char *channel,
                              size_t len)
{
    struct gw_buf topic = {0};
    bool possible = gw_topic_name_valid(channel, len) && gw_grants_contain(grants, GW_RIGHT_PUBLISH, channel, len) &&
                    gw_reply_topic(hub->routes, channel, len, &topic);
    gw_buf_fini(&topic);
    return possible;
}

/* A client's own property of that name is left out: it would be taken for what the gateway says. */
static bool outgoing_impersonates(const struct outgoing *out, const struct gw_property *property)
{
    return out->target.route->publish_identify && property->id == GW_PROPERTY_USER &&
           property->name.len == sizeof IDENTITY - 1 && !memcmp(property->name.data, IDENTITY, sizeof IDENTITY - 1);
}

/* What describes the payload is left out where a transform makes another one. */
static enum gw_err outgoing_pass_on(struct gw_session *session, struct outgoing *out)
{
    enum gw_err err = GW_OK;
    struct gw_property property;
    struct gw_buf topic = {0};
    for (size_t at = 0; err == GW_OK && gw_properties_next(out->command->along->properties, &at, &property);) {
        if (out->target.transform &&
            (property.id == GW_PROPERTY_PAYLOAD_FORMAT || property.id == GW_PROPERTY_CONTENT_TYPE))
            continue;
        if (outgoing_impersonates(out, &property))
            continue;
        if (property.id == GW_PROPERTY_RESPONSE_TOPIC) {
            err = outgoing_respond_to(session, out, property.value, &topic);
            property.value = (struct gw_slice){topic.data, topic.len};
        }
        gw_properties_add(&out->properties, &property);
    }
    gw_buf_fini(&topic);
    return err;
}

/* Who publishes. Without `auth:` nobody is known. */
static void outgoing_identify(const struct gw_session *session, struct outgoing *out)
{
    if (out->target.route->publish_identify && session->identity)
        gw_properties_add(&out->properties,
                          &(struct gw_property){.id = GW_PROPERTY_USER,
                                                .name = {IDENTITY, sizeof IDENTITY - 1},
                                                .value = {session->identity->name, strlen(session->identity->name)}});
}

static struct gw_publish *outgoing_create(const struct gw_hub *hub, const struct outgoing *out)
{
    bool request = out->command->request;
    struct gw_publish *publish =
        gw_publish_create(out->target.topic.data, out->target.topic.len, out->payload.data, out->payload.len,
                          (struct gw_slice){out->properties.data, out->properties.len});
    publish->worker = hub->worker;
    publish->qos = out->target.qos;
    publish->deadline_ms =
        hub->now_ms + (request ? out->command->timeout_ms : hub->config->broker.publish_timeout_ms);
    publish->retain = out->target.retain && !request; /* a request is for whoever is there now */
    publish->request = request;
    if (out->command->along && out->command->along->expires) {
        publish->expires = true;
        publish->expires_ms = hub->now_ms + (int64_t)out->command->along->expiry * 1000;
        if (out->command->along->expiry && publish->expires_ms < publish->deadline_ms)
            publish->deadline_ms = publish->expires_ms;
    }
    return publish;
}

static enum gw_err outgoing_hand_over(struct gw_session *session, struct outgoing *out)
{
    struct gw_hub *hub = session->hub;
    bool request = out->command->request, heard = request || out->target.qos > 0;
    struct gw_confirm *confirm = NULL;
    if ((heard || out->command->confirm) && session->pending_count >= hub->config->limits.publishes_per_session)
        return GW_ERR_OVERLOADED;
    enum gw_err err = GW_OK;
    if (out->command->confirm)
        err =
            gw_confirm_create(hub, &out->target, (struct gw_slice){out->command->channel, out->command->channel_len},
                              (struct gw_slice){out->command->data, out->command->data_len}, out->command->json,
                              (struct gw_slice){out->payload.data, out->payload.len}, &confirm, &out->command->why);
    if (err != GW_OK)
        return err;
    struct gw_publish *publish = outgoing_create(hub, out);
    struct gw_pending *pending = NULL;
    if (heard || confirm) {
        pending = gw_pending_create(
            session, &(struct gw_pending_spec){.codec = request ? out->target.codec : NULL,
                                               .timeout_ms = request ? out->command->timeout_ms
                                                             : heard ? hub->config->broker.publish_timeout_ms
                                                                     : gw_confirm_within_ms(confirm),
                                               .reference = out->command->reference,
                                               .confirm = confirm,
                                               .acknowledged = !heard,
                                               .repeat = out->repeat});
        out->command->reference = NULL;
        publish->token = gw_pending_token(pending);
    }
    err = hub->upstream.publish(hub->upstream.context, &publish);
    free(publish);
    if (pending && err != GW_OK)
        gw_pending_free(pending);
    if (pending && err == GW_OK)
        out->repeat = NULL; /* it has taken that */
    if (!heard && err == GW_OK) {
        gw_stats_publish(&hub->stats, GW_OUTCOME_ACCEPTED);
        out->command->accepted = true;
    }
    return err;
}

/* A repeat waits for the outcome of the first, which may be known. */
static enum gw_err outgoing_follow(struct gw_session *session, struct outgoing *out, const struct gw_repeat_ask *ask)
{
    struct gw_hub *hub = session->hub;
    bool heard = out->target.qos > 0;
    GW_STAT_ADD(&hub->stats, publish_repeats, 1);
    out->command->accepted = !heard;
    if (!heard && !out->command->confirm)
        return GW_OK;
    if (session->pending_count >= hub->config->limits.publishes_per_session)
        return GW_ERR_OVERLOADED;
    struct gw_pending *pending = gw_pending_create(
        session, &(struct gw_pending_spec){
                     .timeout_ms = hub->config->broker.publish_timeout_ms +
                                   (out->command->confirm ? out->target.route->confirm_within_ms : 0) + 1000,
                     .reference = out->command->reference,
                     .acknowledged = !heard});
    out->command->reference = NULL;
    if (gw_repeats_follow(hub->repeats, ask, &hub->mail, hub->worker, gw_pending_token(pending)) == GW_REPEAT_AGAIN)
        return GW_OK;
    gw_pending_free(pending);
    out->command->why = "too many repeats of this publish wait for its outcome";
    return GW_ERR_OVERLOADED;
}

/* Published once for each identity, channel and key. */
static enum gw_err outgoing_once(struct gw_session *session, struct outgoing *out)
{
    struct gw_hub *hub = session->hub;
    const struct gw_cfg_limits *limits = &hub->config->limits;
    struct gw_buf name = {0};
    out->command->why = "the gateway keeps no idempotency keys (limits.idempotency_keys)";
    if (!hub->repeats || !limits->idempotency_keys)
        return GW_ERR_UNSUPPORTED;
    out->command->why = "an idempotency key has 1 to 255 bytes";
    if (!out->command->key.len || out->command->key.len > GW_KEY_MAX)
        return GW_ERR_BAD_REQUEST;
    const struct gw_identity *identity = session->identity;
    if (identity) {
        gw_buf_addc(&name, (char)('0' + identity->kind)); /* a key and a token's subject may have the same name */
        gw_buf_adds(&name, identity->name);
    }
    gw_buf_addc(&name, '\0');
    /* A channel's name may have 64 KiB. Who finds another one with this hash spoils his own keys. */
    gw_buf_printf(&name, "%016llx.%zu ",
                  (unsigned long long)gw_hash(out->command->channel, out->command->channel_len),
                  out->command->channel_len);
    gw_buf_add(&name, out->command->key.data, out->command->key.len);
    const struct gw_repeat_ask ask = {.name = {name.data, name.len},
                                      .payload = {out->payload.data, out->payload.len},
                                      .confirm = out->command->confirm,
                                      .now_ms = hub->now_ms,
                                      .window_ms = limits->idempotency_ms,
                                      .limit = limits->idempotency_keys};
    enum gw_err err = GW_ERR_OVERLOADED;
    switch (gw_repeats_ask(hub->repeats, &ask, &out->repeat)) {
    case GW_REPEAT_FIRST:
        out->command->why = NULL;
        err = outgoing_hand_over(session, out);
        if (err != GW_OK)
            gw_repeats_forget(hub->repeats, out->repeat, err, 0, &hub->mail);
        else if (out->repeat)
            gw_repeats_finish(hub->repeats, out->repeat, &(struct gw_repeat_outcome){.kind = GW_REPEAT_ACCEPTED},
                              hub->now_ms, &hub->mail);
        break;
    case GW_REPEAT_AGAIN:
        out->command->why = NULL;
        err = outgoing_follow(session, out, &ask);
        break;
    case GW_REPEAT_OTHER:
        out->command->why = "this idempotency key was used for another publish (a new key for each expected)";
        err = GW_ERR_BAD_REQUEST;
        break;
    case GW_REPEAT_FULL:
        out->command->why = "too many publishes with idempotency keys are under way (limits.idempotency_keys)";
        break;
    }
    gw_buf_fini(&name);
    return err;
}

enum gw_err gw_session_publish(struct gw_session *session, struct gw_command *command)
{
    GW_ASSERT_LOOP(session->hub);
    struct outgoing out = {.command = command};
    command->accepted = false;
    command->why = NULL;
    if (command->request && command->timeout_ms < 0)
        command->timeout_ms = session->hub->config->broker.request_timeout_ms;
    enum gw_err err = outgoing_admit(session, &out);
    if (err == GW_OK)
        err = gw_payload_encode(&out.target, command->data, command->data_len, command->json, &out.payload,
                                &command->why);
    if (err == GW_OK && command->along && command->along->properties.len)
        err = outgoing_pass_on(session, &out);
    if (err == GW_OK) {
        outgoing_identify(session, &out);
        err = command->key.data ? outgoing_once(session, &out) : outgoing_hand_over(session, &out);
    }
    if (err != GW_OK)
        gw_stats_publish(&session->hub->stats, err);
    GW_SESSION_LOG(session, GW_LOG_DEBUG, "%s to '%.*s': %zu bytes%s%s", command->request ? "a request" : "a publish",
                   (int)command->channel_len, command->channel, command->data_len,
                   err == GW_OK ? "" : ", refused: ", err == GW_OK ? "" : gw_err_code(err));
    gw_buf_fini(&out.target.topic);
    gw_buf_fini(&out.properties);
    gw_buf_fini(&out.payload);
    free(command->reference);
    command->reference = NULL;
    return err;
}
