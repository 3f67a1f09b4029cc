/* transport.c: MQTT over WebSocket or as plain bytes: from bytes to packets, and the life of a client.
 * A packet may span WebSocket messages, and a message may hold several packets (MQTT 5.0 section 6). */
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/container.h"
#include "gateway/session_log.h"
#include "gateway/shared.h"
#include "mqttd/client.h"

static struct gw_mqttd_client *client_of(const struct gw_conn *conn)
{
    return gw_conn_context(conn);
}

static const struct gw_cfg_limits *client_limits(const struct gw_mqttd_client *client)
{
    return &gw_hub_config(gw_conn_hub(client->conn))->limits;
}

/* --- out ------------------------------------------------------------------------------------------------------- */

bool gw_mqttd_flush(struct gw_mqttd_client *client)
{
    if (gw_conn_blocked(client->conn))
        return false;
    if (client->out.len) {
        gw_conn_send(client->conn, client->out.data, client->out.len);
        gw_buf_fini(&client->out);
    }
    return !gw_conn_blocked(client->conn);
}

static void client_frame(struct gw_mqttd_client *client, const struct gw_buf *packet)
{
    if (client->plain)
        gw_buf_add(&client->out, packet->data, packet->len);
    else
        gw_ws_add_binary(&client->out, packet->data, packet->len);
}

/* Answers are not messages: they do not wait in the session's queue behind what the client's window keeps there. A
 * client that sends and never reads meets the same bound. */
void gw_mqttd_send(struct gw_mqttd_client *client, struct gw_buf *packet)
{
    if (!client->ended && packet->len) {
        client_frame(client, packet);
        if (!client->gathering)
            gw_mqttd_flush(client);
    }
    gw_buf_fini(packet);
    if (!client->ended && client->out.len > client_limits(client)->queue_bytes) {
        gw_buf_fini(&client->out);
        gw_mqttd_fail(client, GW_MQTTD_QUOTA, "the client sends and does not read");
    }
}

/* Nothing is read or sent from here on. */
static void client_close(struct gw_mqttd_client *client, int close_code, const char *why)
{
    client->ended = true;
    if (!client->gathering) /* else it is being read */
        gw_buf_fini(&client->in);
    if (client->out.len)
        gw_conn_send(client->conn, client->out.data, client->out.len);
    gw_buf_fini(&client->out);
    if (client->plain)
        gw_conn_close(client->conn);
    else
        gw_ws_close(client->conn, close_code, why);
}

void gw_mqttd_fail_as(struct gw_mqttd_client *client, uint8_t reason, int close_code, const char *why)
{
    if (client->ended)
        return;
    struct gw_hub *hub = gw_conn_hub(client->conn);
    struct gw_buf packet = {0}, properties = {0};
    if (client->problems || !client->connected)
        gw_mqttd_put_text(&properties, GW_MQTTD_P_REASON_STRING, why, strlen(why));
    if (client->connected)
        gw_mqttd_write_disconnect(&packet, client->version, reason, &properties);
    else if (client->version == 5 || (client->version && reason > GW_MQTTD_IMPLEMENTATION))
        gw_mqttd_write_connack(&packet, client->version, false, reason, &properties);
    gw_buf_fini(&properties);
    if (packet.len)
        client_frame(client, &packet);
    gw_buf_fini(&packet);
    GW_STAT_ADD(gw_hub_stats(hub), requests_bad, 1);
    if (client->connected)
        GW_SESSION_LOG_ONCE_A_SECOND(&client->session, GW_LOG_INFO, "MQTT client ended with 0x%02x: %s", reason, why);
    else
        GW_LOG_ONCE_A_SECOND(GW_LOG_INFO, "mqtt", "an MQTT client was refused with 0x%02x: %s", reason, why);
    client_close(client, close_code, why);
}

/* --- in -------------------------------------------------------------------------------------------------------- */

static void client_on_disconnect(struct gw_mqttd_client *client, struct gw_slice body)
{
    struct gw_mqttd_ack ack;
    const char *why;
    enum gw_mqttd_reason reason = gw_mqttd_read_disconnect(body, client->version, &ack, &why);
    if (reason != GW_MQTTD_SUCCESS) {
        gw_mqttd_fail(client, reason, why);
        return;
    }
    int64_t most_ms = gw_mqttd_config(client)->session_expiry_ms;
    if (gw_mqttd_has(&ack.properties, GW_MQTTD_P_SESSION_EXPIRY)) { /* section 3.14.2.2.2 */
        int64_t asked_ms = (int64_t)ack.properties.session_expiry * 1000;
        if (asked_ms && !client->asked_ms) {
            gw_mqttd_fail(client, GW_MQTTD_PROTOCOL_ERROR, "a session that was not to be kept can't be now");
            return;
        }
        client->expiry_ms = asked_ms < most_ms ? asked_ms : most_ms;
    }
    if (ack.reason != GW_MQTTD_WITH_WILL)
        client->will.wanted = false;
    client_close(client, gw_mqttd_close_code(GW_MQTTD_SUCCESS), "");
}

static void client_on_ping(struct gw_mqttd_client *client)
{
    struct gw_buf packet = {0};
    gw_mqttd_write_pingresp(&packet);
    gw_mqttd_send(client, &packet);
}

static void client_on_ack(struct gw_mqttd_client *client, enum gw_mqttd_type type, struct gw_slice body)
{
    struct gw_mqttd_ack ack;
    const char *why;
    enum gw_mqttd_reason reason = gw_mqttd_read_ack(type, body, client->version, &ack, &why);
    if (reason != GW_MQTTD_SUCCESS)
        gw_mqttd_fail(client, reason, why);
    else if (type == GW_MQTTD_PUBACK)
        gw_mqttd_on_puback(client, ack.id);
    else if (type == GW_MQTTD_PUBREL)
        gw_mqttd_on_pubrel(client, ack.id);
    else if (type == GW_MQTTD_PUBREC)
        gw_mqttd_on_pubrec(client, ack.id);
}

static bool client_within_rate(struct gw_mqttd_client *client, enum gw_mqttd_type type)
{
    if (type == GW_MQTTD_PUBACK || type == GW_MQTTD_PUBREL ||
        gw_hub_within_rate(client->session.hub, &client->frames))
        return true;
    gw_mqttd_fail(client, GW_MQTTD_RATE, "rate_limited: more packets a second than limits.message_rate allows");
    return false;
}

static void client_on_packet(struct gw_mqttd_client *client, const struct gw_mqttd_fixed *fixed, struct gw_slice body)
{
    if (client->connected != (fixed->type != GW_MQTTD_CONNECT)) {
        gw_mqttd_fail(client, GW_MQTTD_PROTOCOL_ERROR, "the first packet is a CONNECT, and no other is one");
        return;
    }
    if (client->connected && !client_within_rate(client, fixed->type))
        return;
    gw_conn_heard(client->conn, fixed->type != GW_MQTTD_PUBACK);
    switch (fixed->type) {
    case GW_MQTTD_CONNECT:
        gw_mqttd_on_connect(client, body);
        break;
    case GW_MQTTD_PUBLISH:
        gw_mqttd_on_publish(client, fixed->flags, body);
        break;
    case GW_MQTTD_PUBACK:
    case GW_MQTTD_PUBREL:
    case GW_MQTTD_PUBREC:
    case GW_MQTTD_PUBCOMP:
        client_on_ack(client, fixed->type, body);
        break;
    case GW_MQTTD_SUBSCRIBE:
        gw_mqttd_on_subscribe(client, body);
        break;
    case GW_MQTTD_UNSUBSCRIBE:
        gw_mqttd_on_unsubscribe(client, body);
        break;
    case GW_MQTTD_PINGREQ:
        if (body.len)
            gw_mqttd_fail(client, GW_MQTTD_MALFORMED, "a PINGREQ has no content");
        else
            client_on_ping(client);
        break;
    case GW_MQTTD_DISCONNECT:
        client_on_disconnect(client, body);
        break;
    default:
        gw_mqttd_fail(client, GW_MQTTD_PROTOCOL_ERROR, "clients send no such packet");
        break;
    }
}

/* Takes whole packets off the front; returns how many bytes they were. */
static size_t client_read(struct gw_mqttd_client *client, const char *data, size_t len)
{
    size_t at = 0, max = client_limits(client)->frame_bytes;
    client->held = false;
    while (!client->ended && !client->waiting && at < len) {
        struct gw_mqttd_fixed fixed;
        const char *why;
        enum gw_mqttd_reason reason = gw_mqttd_read_fixed(data + at, len - at, &fixed, &why);
        if (reason != GW_MQTTD_SUCCESS) {
            gw_mqttd_fail(client, reason, why);
            break;
        }
        if (!fixed.len)
            break;
        if (fixed.len + (size_t)fixed.remaining > max) {
            gw_mqttd_fail(client, GW_MQTTD_TOO_LARGE, "the packet is larger than limits.frame allows");
            break;
        }
        if (len - at - fixed.len < fixed.remaining)
            break;
        if (fixed.type == GW_MQTTD_PUBLISH && gw_mqttd_publish_waits(client)) {
            client->held = true;
            break;
        }
        client_on_packet(client, &fixed, (struct gw_slice){data + at + fixed.len, fixed.remaining});
        at += fixed.len + fixed.remaining;
    }
    return at;
}

static void client_process(struct gw_mqttd_client *client, const char *data, size_t len)
{
    bool gathering = client->gathering;
    client->gathering = true;
    size_t taken;
    if (client->in.len) {
        gw_buf_add(&client->in, data, len);
        taken = client_read(client, client->in.data, client->in.len);
        if (!client->ended)
            gw_buf_consume(&client->in, taken);
    } else {
        taken = client_read(client, data, len);
        if (!client->ended && taken < len)
            gw_buf_add(&client->in, data + taken, len - taken);
    }
    client->gathering = gathering;
    if (client->ended || !client->in.len)
        gw_buf_fini(&client->in);
    if (client->ended)
        return;
    gw_mqttd_flush(client);
    gw_conn_pause(client->conn, client->held || client->waiting); /* may bring more input */
}

void gw_mqttd_resume(struct gw_mqttd_client *client)
{
    if (!client->waiting && !client->ended && !client->gathering)
        client_process(client, "", 0);
}

static void client_input(struct gw_mqttd_client *client, const char *data, size_t len)
{
    if (client->ended)
        return;
    client->heard_ms = gw_hub_now(gw_conn_hub(client->conn));
    bool held = client->held || client->waiting;
    size_t taken = held || client->in.len ? 0 : gw_mqttd_take_pubacks(client, data, len);
    if (held)
        gw_buf_add(&client->in, data, len); /* the little that was read before the socket was paused */
    else if (taken < len)
        client_process(client, data + taken, len - taken);
}

/* --- life ------------------------------------------------------------------------------------------------------ */

static void client_timer(struct gw_timer *timer)
{
    struct gw_mqttd_client *client = GW_CONTAINER_OF(timer, struct gw_mqttd_client, timer);
    struct gw_hub *hub = gw_conn_hub(client->conn);
    if (client->ended)
        return;
    if (!client->connected) {
        client->version = 0; /* a server refuses a CONNECT, and there was none */
        gw_mqttd_fail(client, GW_MQTTD_NOT_AUTHORIZED, "no CONNECT came in time");
        return;
    }
    if (client->held) /* it may well say something: nobody reads it */
        client->heard_ms = gw_hub_now(hub);
    int64_t due = client->heard_ms + client->keep_alive_ms;
    if (due <= gw_hub_now(hub))
        gw_mqttd_fail(client, GW_MQTTD_KEEP_ALIVE, "nothing came within one and a half times the keep-alive");
    else
        gw_timer_set(gw_hub_timers(hub), timer, due);
}

static void client_on_message(struct gw_conn *conn, bool text, char *data, size_t len)
{
    struct gw_mqttd_client *client = client_of(conn);
    if (!text) {
        client_input(client, data, len);
    } else if (!client->ended) { /* section 6: not to be answered in MQTT */
        client->ended = true;
        gw_ws_close(conn, 1003, "unsupported: MQTT is in binary frames");
    }
}

static void client_on_input(struct gw_conn *conn, const char *data, size_t len)
{
    client_input(client_of(conn), data, len);
}

static void client_on_writable(struct gw_conn *conn)
{
    gw_mqttd_drain(client_of(conn));
}

static void client_on_closed(struct gw_conn *conn)
{
    struct gw_mqttd_client *client = client_of(conn);
    gw_timer_cancel(gw_hub_timers(gw_conn_hub(conn)), &client->timer);
    client->ended = true;
    gw_mqttd_leave(client);
    gw_mqttd_send_will(client);
    gw_session_close(&client->session);
    gw_mqttd_forget_subs(client);
    gw_mqttd_forget_publishes(client);
    gw_mqttd_forget_messages(client);
    gw_identity_unref(client->offered);
    gw_mqttd_forget_will(&client->will);
    gw_shared_forget(client->asking);
    gw_buf_fini(&client->asked);
    gw_buf_fini(&client->in);
    gw_buf_fini(&client->out);
    gw_mqttd_parcels_close();
    free(client);
}

static const struct gw_conn_ops client_conn_ops = {
    .writable = client_on_writable,
    .message = client_on_message,
    .stream = true, /* section 6 */
    .input = client_on_input,
    .closed = client_on_closed,
};

static bool transport_match(const struct gw_conn *conn, const struct gw_request *request)
{
    const struct gw_mqttd_options *options = gw_options_of(gw_hub_config(gw_conn_hub(conn)), &gw_mqttd_options);
    return gw_request_path_is(request, options->path);
}

static void client_begin(struct gw_mqttd_client *client)
{
    struct gw_hub *hub = gw_conn_hub(client->conn);
    gw_mqttd_parcels_open();
    client->timer.fire = client_timer;
    gw_timer_set(gw_hub_timers(hub), &client->timer, gw_hub_now(hub) + gw_hub_config(hub)->auth.hello_timeout_ms);
}

static const char *const transport_protocols[] = {"mqtt", "mqttv3.1", NULL};

static void transport_open(struct gw_conn *conn, const struct gw_request *request)
{
    if (!request->upgrade) {
        gw_http_error_headers(conn, GW_ERR_BAD_REQUEST,
                              "this address is for MQTT over WebSocket (Upgrade: websocket expected)",
                              "Upgrade: websocket\r\n");
        return;
    }
    struct gw_mqttd_client *client = gw_calloc(1, sizeof *client);
    client->conn = conn;
    if (!gw_ws_accept(conn, request, transport_protocols, &client_conn_ops, client)) {
        free(client);
        return;
    }
    client->offered = gw_identity_ref(gw_conn_identity(conn));
    client->refused = gw_conn_refused(conn) != GW_OK;
    client_begin(client);
}

/* A listener with `protocol: mqtt`. */
static void transport_accept(struct gw_conn *conn)
{
    struct gw_mqttd_client *client = gw_calloc(1, sizeof *client);
    client->conn = conn;
    client->plain = true;
    gw_conn_attach(conn, &client_conn_ops, client);
    client_begin(client);
}

const struct gw_transport gw_transport_mqtt = {
    .name = "mqtt",
    .options = &gw_mqttd_options,
    .late_identity = GW_LATE_ON_WEBSOCKET,
    .match = transport_match,
    .open = transport_open,
    .stream_protocol = "mqtt",
    .accept = transport_accept,
};
