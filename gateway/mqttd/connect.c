/* connect.c: CONNECT: who the client is, what it wants, and the answer (section 3.1, 3.2). */
#include <stdio.h>
#include <string.h>

#include "gateway/clock.h"
#include "gateway/session_log.h"
#include "gateway/shared.h"
#include "mqttd/client.h"

/* --- who it is ------------------------------------------------------------------------------------------------- */

/* The password counts before what the handshake brought, whatever the user name is. */
static uint8_t connect_identify(struct gw_mqttd_client *client, const struct gw_mqttd_connect *connect,
                                const struct gw_shared_answer *taken, struct gw_identity **out, const char **why)
{
    struct gw_hub *hub = gw_conn_hub(client->conn);
    struct gw_auth *auth = gw_hub_auth(hub);
    struct gw_slice password = connect->password;
    *out = NULL;
    if (!auth)
        return GW_MQTTD_SUCCESS;
    if (!connect->has_password || !password.len) {
        *out = client->offered ? gw_identity_ref(client->offered) : gw_auth_anonymous(auth);
        if (*out)
            return GW_MQTTD_SUCCESS;
        *why = client->refused ? "unauthorized: the ticket or cookie is unknown, used or too old"
                               : "unauthorized: a token, API key or ticket is expected as the password";
        return client->refused ? GW_MQTTD_BAD_PASSWORD : GW_MQTTD_NOT_AUTHORIZED;
    }
    enum gw_err err;
    if (gw_auth_is_ticket(password.data, password.len))
        err = gw_hub_redeem(hub, password, taken, out, why);
    else
        err = gw_auth_token(auth, password.data, password.len, gw_hub_wall(hub), out, why);
    if (err == GW_ERR_OVERLOADED)
        *why = "overloaded: the engine, which keeps the tickets of all gateways, can't be reached";
    if (err == GW_OK)
        return GW_MQTTD_SUCCESS;
    GW_STAT_ADD(gw_hub_stats(hub), auth_failures, 1);
    GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "auth", "the password of an MQTT client was refused: %s", *why);
    return err == GW_ERR_OVERLOADED ? GW_MQTTD_UNAVAILABLE : GW_MQTTD_BAD_PASSWORD;
}

/* --- what it wants --------------------------------------------------------------------------------------------- */

/* A will that can't be published is refused now, since later there is nobody to tell. */
static uint8_t connect_will(struct gw_mqttd_client *client, const struct gw_mqttd_connect *connect,
                            const struct gw_identity *identity, const char **why)
{
    struct gw_hub *hub = gw_conn_hub(client->conn);
    const struct gw_grants *grants = identity ? identity->grants : NULL;
    struct gw_slice topic = connect->will_topic;
    if (!connect->has_will)
        return GW_MQTTD_SUCCESS;
    if (!gw_hub_channel_publishable(hub, grants, topic.data, topic.len)) {
        *why = "forbidden: the client may not publish to the topic of its will";
        return GW_MQTTD_NOT_AUTHORIZED;
    }
    struct gw_slice response = connect->will.response_topic;
    if (gw_mqttd_has(&connect->will, GW_MQTTD_P_RESPONSE_TOPIC) &&
        !gw_hub_response_possible(hub, grants, response.data, response.len)) {
        *why = "forbidden: no route of the client's leads from the will's response topic back to its channel";
        return GW_MQTTD_NOT_AUTHORIZED;
    }
    gw_buf_add(&client->will.properties, connect->will.all.data, connect->will.all.len);
    client->will.expires = gw_mqttd_has(&connect->will, GW_MQTTD_P_MESSAGE_EXPIRY);
    client->will.expiry = connect->will.message_expiry;
    gw_buf_add(&client->will.topic, topic.data, topic.len);
    gw_buf_add(&client->will.payload, connect->will_payload.data, connect->will_payload.len);
    client->will.wanted = true;
    client->will.delay_ms = (int64_t)connect->will.will_delay * 1000;
    return GW_MQTTD_SUCCESS;
}

enum gw_err gw_mqttd_publish_will(struct gw_session *session, const struct gw_mqttd_will *will)
{
    const struct gw_along along = {.properties = {will->properties.data, will->properties.len},
                                   .expires = will->expires,
                                   .expiry = will->expiry};
    struct gw_command command = {.channel = will->topic.data,
                                 .channel_len = will->topic.len,
                                 .data = will->payload.data ? will->payload.data : "",
                                 .data_len = will->payload.len,
                                 .along = &along};
    return gw_session_publish(session, &command);
}

void gw_mqttd_forget_will(struct gw_mqttd_will *will)
{
    gw_buf_fini(&will->topic);
    gw_buf_fini(&will->payload);
    gw_buf_fini(&will->properties);
}

void gw_mqttd_send_will(struct gw_mqttd_client *client)
{
    struct gw_mqttd_will *will = &client->will;
    if (!will->wanted || !client->session.open)
        return;
    will->wanted = false;
    enum gw_err err = gw_mqttd_publish_will(&client->session, will);
    if (err != GW_OK)
        GW_SESSION_LOG_ONCE_A_SECOND(&client->session, GW_LOG_WARN, "a will was not published: %s", gw_err_code(err));
}

static void connect_take(struct gw_mqttd_client *client, const struct gw_mqttd_connect *connect)
{
    struct gw_hub *hub = gw_conn_hub(client->conn);
    uint32_t window = gw_mqttd_config(client)->receive_maximum;
    client->problems = connect->version == 5 && connect->properties.request_problem;
    client->maximum_packet = connect->properties.maximum_packet;
    client->alias_maximum =
        connect->properties.alias_maximum < GW_MQTTD_ALIASES ? connect->properties.alias_maximum : GW_MQTTD_ALIASES;
    client->window = window < connect->properties.receive_maximum ? window : connect->properties.receive_maximum;
    client->receive_maximum = gw_hub_config(hub)->limits.publishes_per_session;
    client->keep_alive_ms = (int64_t)connect->keep_alive * 1500;
    client->clean = connect->clean;
    int64_t most_ms = gw_mqttd_config(client)->session_expiry_ms;
    client->asked_ms = connect->version == 5 ? (int64_t)connect->properties.session_expiry * 1000
                       : connect->clean      ? 0
                                             : most_ms;
    client->expiry_ms = client->asked_ms < most_ms ? client->asked_ms : most_ms;
    client->tailored = client->expiry_ms || client->alias_maximum || client->maximum_packet != UINT32_MAX;
}

/* --- the answer ------------------------------------------------------------------------------------------------ */

static void connect_answer(struct gw_mqttd_client *client, bool present)
{
    const struct gw_cfg_limits *limits = &gw_hub_config(client->session.hub)->limits;
    struct gw_buf packet, properties;
    gw_buf_init(&packet);
    gw_buf_init(&properties);
    if (client->expiry_ms != client->asked_ms)
        gw_mqttd_put_u32(&properties, GW_MQTTD_P_SESSION_EXPIRY, (uint32_t)(client->expiry_ms / 1000));
    gw_mqttd_put_u16(&properties, GW_MQTTD_P_RECEIVE_MAXIMUM, (uint16_t)client->receive_maximum);
    gw_mqttd_put_u32(&properties, GW_MQTTD_P_MAXIMUM_PACKET, (uint32_t)limits->frame_bytes);
    gw_mqttd_put_u16(&properties, GW_MQTTD_P_ALIAS_MAXIMUM, GW_MQTTD_ALIASES);
    gw_mqttd_put_byte(&properties, GW_MQTTD_P_SHARED_AVAILABLE, 0);
    if (client->assigned[0])
        gw_mqttd_put_text(&properties, GW_MQTTD_P_ASSIGNED_CLIENT_ID, client->assigned, strlen(client->assigned));
    gw_mqttd_write_connack(&packet, client->version, present, GW_MQTTD_SUCCESS, &properties);
    gw_buf_fini(&properties);
    gw_mqttd_send(client, &packet);
}

void gw_mqttd_connected(struct gw_mqttd_client *client, struct gw_mqttd_kept *kept)
{
    struct gw_hub *hub = client->session.hub;
    client->waiting = false;
    client->connected = true;
    client->heard_ms = gw_hub_now(hub);
    if (client->keep_alive_ms)
        gw_timer_set(gw_hub_timers(hub), &client->timer, client->heard_ms + client->keep_alive_ms);
    else
        gw_timer_cancel(gw_hub_timers(hub), &client->timer);
    connect_answer(client, kept && !client->clean);
    if (kept && !client->clean && !client->ended)
        gw_mqttd_restore(client, kept);
    gw_mqttd_kept_free(kept);
}

static void session_ready(struct gw_session *session)
{
    gw_mqttd_drain((struct gw_mqttd_client *)session);
}

static void session_kick(struct gw_session *session, enum gw_err why)
{
    struct gw_mqttd_client *client = (struct gw_mqttd_client *)session;
    if (why == GW_ERR_SHUTDOWN)
        client->will.wanted = false; /* the client is well */
    gw_mqttd_fail(client, gw_mqttd_disconnect_code(why), gw_err_line(why, NULL).text);
}

/* A subscription that a reload takes away ends the session: MQTT has no word for it. */
static const struct gw_session_ops session_ops = {
    .transport = "mqtt",
    .ready = session_ready,
    .published = gw_mqttd_published,
    .confirmed = gw_mqttd_confirmed,
    .kick = session_kick,
};

static void connect_handle(struct gw_mqttd_client *client, struct gw_slice body,
                           const struct gw_shared_answer *taken);

static void connect_answered(void *context, enum gw_err err, const char *text, size_t len)
{
    struct gw_mqttd_client *client = context;
    const struct gw_shared_answer taken = {err, text, len};
    client->asking = NULL;
    if (client->ended)
        return;
    struct gw_buf body = client->asked;
    gw_buf_init(&client->asked);
    client->waiting = false;
    connect_handle(client, (struct gw_slice){body.data, body.len}, &taken);
    gw_buf_fini(&body);
    gw_mqttd_resume(client);
}

/* Any gateway may have given the ticket out: asks the engine that they share, and comes back. */
static bool connect_ask(struct gw_mqttd_client *client, const struct gw_mqttd_connect *connect, struct gw_slice body)
{
    if (connect->has_password)
        client->asking = gw_hub_ask_ticket(gw_conn_hub(client->conn), connect->password, connect_answered, client);
    if (!client->asking)
        return false;
    client->waiting = true;
    gw_buf_add(&client->asked, body.data, body.len);
    return true;
}

void gw_mqttd_on_connect(struct gw_mqttd_client *client, struct gw_slice body)
{
    connect_handle(client, body, NULL);
}

static void connect_handle(struct gw_mqttd_client *client, struct gw_slice body, const struct gw_shared_answer *taken)
{
    struct gw_mqttd_connect connect;
    struct gw_identity *identity = NULL;
    const char *why = "";
    uint8_t reason = gw_mqttd_read_connect(body, &connect, &why);
    client->version = connect.version;
    if (reason == GW_MQTTD_SUCCESS && gw_mqttd_has(&connect.properties, GW_MQTTD_P_AUTH_METHOD)) {
        reason = GW_MQTTD_BAD_AUTH_METHOD;
        why = "there is no authentication but by password";
    }
    if (reason == GW_MQTTD_SUCCESS && !taken && connect_ask(client, &connect, body))
        return;
    if (reason == GW_MQTTD_SUCCESS)
        reason = connect_identify(client, &connect, taken, &identity, &why);
    if (reason == GW_MQTTD_SUCCESS)
        reason = connect_will(client, &connect, identity, &why);
    if (reason != GW_MQTTD_SUCCESS) {
        gw_identity_unref(identity);
        gw_mqttd_fail(client, reason, why);
        return;
    }
    connect_take(client, &connect);
    gw_session_open(&client->session, gw_conn_hub(client->conn), &session_ops);
    gw_session_identify(&client->session, identity);
    gw_conn_log_session(client->conn, &client->session);
    gw_identity_unref(identity);
    gw_identity_unref(client->offered);
    client->offered = NULL;

    struct gw_slice id = connect.client_id;
    if (!id.len) {
        char session[GW_SESSION_NAME_MAX];
        gw_session_name(&client->session, session);
        int len = snprintf(client->assigned, sizeof client->assigned, "sluice-%s-%llx", session,
                           (unsigned long long)gw_monotonic_ns());
        id = (struct gw_slice){client->assigned, (size_t)len};
    }
    gw_mqttd_take_name(client, id);
}
