/* ws.c: the multiplexed JSON protocol on GET /ws. */
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/bucket.h"
#include "gateway/identity.h"
#include "gateway/protocol.h"
#include "gateway/timer.h"
#include "gateway/transport.h"
#include "gateway/upstream.h"

struct ws {
    struct gw_session session; /* first member */
    struct gw_conn *conn;
    struct ws_deadline *hello; /* NULL: it has said who it is, or need not */
    struct gw_bucket frames;   /* limits.message_rate */
    uint32_t refused;          /* frames beyond it, in a row */
};

/* A WebSocket that has not said who it is. */
struct ws_deadline {
    struct gw_timer timer; /* first member */
    struct ws *ws;
};

/* More frames in a row beyond limits.message_rate than a client sends by mistake. */
#define WS_REFUSED_MAX 1000

static void ws_push(struct ws *ws, struct gw_buf *json)
{
    struct gw_buf frame = {0};
    gw_ws_add_text(&frame, json->data, json->len);
    gw_buf_fini(json);
    gw_session_push(&ws->session, &frame);
}

static void ws_push_error(struct ws *ws, const char *id, enum gw_err err, const char *message, int reason)
{
    struct gw_buf json = {0};
    gw_json_error(&json, id, err, message, reason);
    ws_push(ws, &json);
}

static void ws_push_simple(struct ws *ws, const char *type, const char *id)
{
    struct gw_buf json = {0};
    gw_json_simple(&json, type, id);
    ws_push(ws, &json);
}

static size_t ws_encode(struct gw_item *item, struct iovec parts[GW_PARTS_MAX])
{
    switch (item->type) {
    case GW_ITEM_MESSAGE: {
        struct gw_message *msg = item->u.message;
        parts[0] = (struct iovec){msg->frame, msg->frame_len};
        parts[1] = (struct iovec){(void *)(uintptr_t)msg->text.data, msg->text.len};
        return 2;
    }
    case GW_ITEM_GAP: {
        struct gw_buf json = {0}, frame = {0};
        gw_json_gap(&json, item->u.gap);
        gw_ws_add_text(&frame, json.data, json.len);
        gw_buf_fini(&json);
        gw_item_set_text(item, &frame);
        break;
    }
    case GW_ITEM_TEXT:
        break;
    }
    parts[0] = (struct iovec){item->u.text->data, item->u.text->len};
    return 1;
}

static size_t ws_encode_deflate(struct gw_item *item, struct iovec parts[GW_PARTS_MAX])
{
    if (item->type == GW_ITEM_MESSAGE && gw_ws_compressed(item->u.message, GW_WS_FORM_TEXT, parts))
        return 1;
    return ws_encode(item, parts);
}

static void ws_drain(struct ws *ws)
{
    gw_conn_drain(ws->conn, &ws->session, gw_ws_deflates(ws->conn) ? ws_encode_deflate : ws_encode);
}

/* --- from the hub ----------------------------------------------------------------------------------------------- */

static void ws_ready(struct gw_session *session)
{
    ws_drain((struct ws *)session);
}

static void ws_published(struct gw_session *session, const char *reference, enum gw_err err, int reason)
{
    struct ws *ws = (struct ws *)session;
    if (err == GW_OK)
        ws_push_simple(ws, "published", reference);
    else
        ws_push_error(ws, reference, err, NULL, reason);
}

static void ws_response(struct gw_session *session, const char *reference, struct gw_slice data)
{
    struct gw_buf json = {0};
    gw_json_response(&json, reference, data);
    ws_push((struct ws *)session, &json);
}

static void ws_confirmed(struct gw_session *session, const char *reference, const struct gw_confirmed *confirmed)
{
    struct gw_buf json = {0};
    gw_json_confirmed(&json, reference, confirmed);
    ws_push((struct ws *)session, &json);
}

static void ws_upstream(struct gw_session *session, const struct gw_upstream_state *state)
{
    struct gw_buf json = {0};
    gw_json_upstream(&json, state);
    ws_push((struct ws *)session, &json);
}

static void ws_kick(struct gw_session *session, enum gw_err why)
{
    struct ws *ws = (struct ws *)session;
    gw_ws_close(ws->conn, gw_err_close_code(why), gw_err_line(why, NULL).text);
}

static void ws_revoked(struct gw_session *session, const char *filter, size_t len)
{
    struct gw_buf json = {0};
    gw_json_revoked(&json, "unsubscribed", filter, len);
    ws_push((struct ws *)session, &json);
}

static void ws_expiring(struct gw_session *session, int64_t expires_ms)
{
    struct gw_buf json = {0};
    gw_json_expiring(&json, expires_ms);
    ws_push((struct ws *)session, &json);
}

static const struct gw_session_ops ws_session_ops = {
    .states = true,
    .stages = true,
    .transport = "websocket",
    .ready = ws_ready,
    .published = ws_published,
    .response = ws_response,
    .confirmed = ws_confirmed,
    .upstream = ws_upstream,
    .revoked = ws_revoked,
    .expiring = ws_expiring,
    .kick = ws_kick,
};

/* --- from the client -------------------------------------------------------------------------------------------- */

static void ws_subscribe(struct ws *ws, const struct gw_frame *frame)
{
    struct gw_start start = {.at = GW_START_LAST};
    if (frame->cursor && strcmp(frame->cursor, "last") != 0)
        start = (struct gw_start){.at = GW_START_CURSOR, .cursor = frame->cursor, .cursor_len = frame->cursor_len};
    else if (frame->since && !frame->cursor &&
             !gw_start_since(ws->session.hub, frame->since, frame->since_len, &start)) {
        ws_push_error(ws, frame->id, GW_ERR_BAD_REQUEST, GW_SINCE_EXPECTED, 0);
        return;
    }
    start.interval_ms = frame->interval_ms;
    start.aggregate = frame->aggregate;
    struct gw_subscribed subscribed;
    enum gw_err err = gw_session_subscribe(&ws->session, frame->channel, frame->channel_len, &start, &subscribed);
    if (err != GW_OK) {
        ws_push_error(ws, frame->id, err, err == GW_ERR_BAD_REQUEST ? GW_SUBSCRIBE_EXPECTED : subscribed.why, 0);
        return;
    }
    struct gw_buf json = {0};
    gw_json_subscribed(&json, frame->id, frame->channel, frame->channel_len, &subscribed);
    ws_push(ws, &json);
    gw_session_catch_up(&ws->session);
}

static void ws_publish(struct ws *ws, struct gw_frame *frame)
{
    struct gw_command command = {.channel = frame->channel,
                                 .channel_len = frame->channel_len,
                                 .data = frame->data.data,
                                 .data_len = frame->data.len,
                                 .json = true,
                                 .request = frame->type == GW_FRAME_REQUEST,
                                 .timeout_ms = frame->timeout_ms,
                                 .confirm = frame->confirm,
                                 .key = {frame->key, frame->key_len},
                                 .reference = frame->id ? gw_strdup(frame->id) : NULL};
    enum gw_err err = gw_session_publish(&ws->session, &command);
    if (err != GW_OK)
        ws_push_error(ws, frame->id, err, command.why, 0);
    else if (command.accepted)
        ws_push_simple(ws, "accepted", frame->id);
}

static void ws_hello_done(struct ws *ws)
{
    if (!ws->hello)
        return;
    gw_timer_cancel(gw_hub_timers(ws->session.hub), &ws->hello->timer);
    free(ws->hello);
    ws->hello = NULL;
}

static void ws_hello_late(struct gw_timer *timer)
{
    struct ws *ws = ((struct ws_deadline *)timer)->ws;
    ws_hello_done(ws);
    gw_ws_close(ws->conn, 4401, "unauthorized: no hello with a valid token in time");
}

static void ws_await_hello(struct ws *ws)
{
    struct gw_hub *hub = ws->session.hub;
    ws->hello = gw_calloc(1, sizeof *ws->hello);
    ws->hello->timer.fire = ws_hello_late;
    ws->hello->ws = ws;
    gw_timer_set(gw_hub_timers(hub), &ws->hello->timer, gw_hub_now(hub) + gw_hub_config(hub)->auth.hello_timeout_ms);
}

static void ws_hello_refused(struct ws *ws, const struct gw_frame *frame, enum gw_err err, const char *why)
{
    ws_push_error(ws, frame->id, err, why, 0);
    if (ws->session.identity)
        return; /* it stays who it was */
    ws_ready(&ws->session);
    gw_ws_close(ws->conn, 4401, gw_err_line(err, why).text);
}

/* Without a token it asks who it is. */
static void ws_hello(struct ws *ws, const struct gw_frame *frame)
{
    if (!gw_hub_auth(ws->session.hub)) {
        if (frame->id)
            ws_push_simple(ws, "hello", frame->id);
        return;
    }
    struct gw_identity *identity;
    const char *why;
    enum gw_err err = gw_session_hello(&ws->session, frame->token, frame->token_len, &identity, &why);
    if (err != GW_OK) {
        ws_hello_refused(ws, frame, err, why);
        return;
    }
    struct gw_buf json = {0};
    gw_json_hello(&json, frame->id, identity->name, identity->expires_ms);
    ws_push(ws, &json);
    ws_hello_done(ws);
    if (frame->token)
        gw_session_identify(&ws->session, identity); /* can't end it: revoked() tells */
    gw_identity_unref(identity);
}

/* limits.message_rate. Every refused frame gets an answer, so that none is lost in silence; a client that goes on is
 * cut off. */
static bool ws_within_rate(struct ws *ws, const char *id)
{
    if (gw_hub_within_rate(ws->session.hub, &ws->frames)) {
        ws->refused = 0;
        return true;
    }
    if (++ws->refused < WS_REFUSED_MAX)
        ws_push_error(ws, id, GW_ERR_RATE_LIMITED, NULL, 0);
    else
        gw_ws_close(ws->conn, 1008, "rate_limited: too many frames");
    return false;
}

static void ws_on_message(struct gw_conn *conn, bool text, char *data, size_t len)
{
    struct ws *ws = gw_conn_context(conn);
    if (!text) {
        ws_push_error(ws, NULL, GW_ERR_BAD_REQUEST, "a frame is a JSON text (not binary)", 0);
        return;
    }
    struct gw_frame frame;
    const char *why;
    enum gw_err err = gw_frame_parse(data, len, &frame, &why);
    if (!ws_within_rate(ws, frame.id)) {
        gw_frame_fini(&frame);
        return;
    }
    if (err != GW_OK) {
        ws_push_error(ws, frame.id, err, why, 0);
        gw_frame_fini(&frame);
        return;
    }
    switch (frame.type) {
    case GW_FRAME_SUBSCRIBE:
        ws_subscribe(ws, &frame);
        break;
    case GW_FRAME_UNSUBSCRIBE:
        if (gw_session_unsubscribe_from(&ws->session, frame.channel, frame.channel_len, frame.aggregate))
            ws_push_simple(ws, "unsubscribed", frame.id);
        else
            ws_push_error(ws, frame.id, GW_ERR_BAD_REQUEST, "there is no such subscription", 0);
        break;
    case GW_FRAME_PUBLISH:
    case GW_FRAME_REQUEST:
        ws_publish(ws, &frame);
        break;
    case GW_FRAME_PING:
        ws_push_simple(ws, "pong", frame.id);
        break;
    case GW_FRAME_HELLO:
        ws_hello(ws, &frame);
        break;
    case GW_FRAME_UNKNOWN:
        break;
    }
    gw_frame_fini(&frame);
}

static void ws_on_writable(struct gw_conn *conn)
{
    ws_drain(gw_conn_context(conn));
}

static void ws_on_closed(struct gw_conn *conn)
{
    struct ws *ws = gw_conn_context(conn);
    ws_hello_done(ws);
    gw_session_close(&ws->session);
    free(ws);
}

static const struct gw_conn_ops ws_conn_ops = {
    .writable = ws_on_writable,
    .message = ws_on_message,
    .closed = ws_on_closed,
};

static bool ws_match(const struct gw_conn *conn, const struct gw_request *request)
{
    (void)conn;
    return gw_request_path_is(request, "/ws");
}

static const char *const ws_protocols[] = {"sluice.v1", NULL};

static void ws_open(struct gw_conn *conn, const struct gw_request *request)
{
    if (!request->upgrade) {
        gw_http_error_headers(conn, GW_ERR_BAD_REQUEST,
                              "this address is for WebSockets (Upgrade: websocket expected)",
                              "Upgrade: websocket\r\n");
        return;
    }
    struct ws *ws = gw_calloc(1, sizeof *ws);
    ws->conn = conn;
    if (!gw_ws_accept(conn, request, ws_protocols, &ws_conn_ops, ws)) {
        free(ws);
        return;
    }
    struct gw_hub *hub = gw_conn_hub(conn);
    gw_session_open(&ws->session, hub, &ws_session_ops);
    gw_session_identify(&ws->session, gw_conn_identity(conn));
    gw_conn_log_session(conn, &ws->session);
    char cursor[64];
    gw_hub_cursor(hub, cursor);
    struct gw_buf json = {0};
    gw_json_welcome(&json, ws->session.id, gw_hub_worker(hub), cursor);
    ws_push(ws, &json);
    if (!gw_hub_upstream(hub)->up)
        ws_upstream(&ws->session, gw_hub_upstream(hub));
    ws_ready(&ws->session);               /* now: it leaves with the handshake's answer */
    if (gw_conn_refused(conn) != GW_OK) { /* told here, since browsers hide what a refused handshake says */
        gw_ws_close(conn, 4401, "unauthorized: the ticket or cookie is unknown, used or too old");
    } else if (gw_hub_auth(hub) && !ws->session.identity) {
        ws_await_hello(ws);
    }
}

const struct gw_transport gw_transport_ws = {
    .name = "websocket", .late_identity = GW_LATE_ON_WEBSOCKET, .match = ws_match, .open = ws_open};
