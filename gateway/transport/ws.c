/* ws.c: the multiplexed JSON protocol on GET /ws. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/inbox.h"
#include "gateway/protocol.h"
#include "gateway/transport.h"

struct ws {
    struct gw_session session; /* first member */
    struct gw_conn *conn;
};

static void ws_push(struct ws *ws, struct gw_buf *json)
{
    struct gw_buf frame;
    gw_buf_init(&frame);
    gw_ws_add_text(&frame, json->data, json->len);
    gw_buf_fini(json);
    gw_session_push(&ws->session, &frame);
}

static void ws_push_error(struct ws *ws, const char *id, enum gw_err err, const char *message, int reason)
{
    struct gw_buf json;
    gw_buf_init(&json);
    gw_json_error(&json, id, err, message, reason);
    ws_push(ws, &json);
}

static void ws_push_simple(struct ws *ws, const char *type, const char *id)
{
    struct gw_buf json;
    gw_buf_init(&json);
    gw_json_simple(&json, type, id);
    ws_push(ws, &json);
}

static size_t ws_encode(struct gw_session *session, struct gw_item *item, struct iovec parts[GW_PARTS_MAX])
{
    (void)session;
    switch (item->type) {
    case GW_ITEM_MESSAGE: {
        struct gw_message *msg = item->u.message;
        parts[0] = (struct iovec){msg->frame, msg->frame_len};
        parts[1] = (struct iovec){(void *)(uintptr_t)msg->text.data, msg->text.len};
        return 2;
    }
    case GW_ITEM_GAP: {
        struct gw_buf json, frame;
        gw_buf_init(&json);
        gw_buf_init(&frame);
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

/* --- from the hub ----------------------------------------------------------------------------------------------- */

static void ws_ready(struct gw_session *session)
{
    struct ws *ws = (struct ws *)session;
    gw_conn_drain(ws->conn, session, ws_encode);
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
    struct gw_buf json;
    gw_buf_init(&json);
    gw_json_response(&json, reference, data);
    ws_push((struct ws *)session, &json);
}

static void ws_upstream(struct gw_session *session, const struct gw_upstream_state *state)
{
    struct gw_buf json;
    gw_buf_init(&json);
    gw_json_upstream(&json, state);
    ws_push((struct ws *)session, &json);
}

static void ws_kick(struct gw_session *session, enum gw_err why)
{
    struct ws *ws = (struct ws *)session;
    char reason[124]; /* begins with the code, as on raw sockets */
    snprintf(reason, sizeof reason, "%s: %s", gw_err_code(why), gw_err_text(why));
    gw_ws_close(ws->conn, gw_err_close_code(why), reason);
}

static const struct gw_session_ops ws_session_ops = {
    .transport = "websocket",
    .ready = ws_ready,
    .published = ws_published,
    .response = ws_response,
    .upstream = ws_upstream,
    .kick = ws_kick,
};

/* --- from the client -------------------------------------------------------------------------------------------- */

static void ws_subscribe(struct ws *ws, const struct gw_frame *frame)
{
    struct gw_start start = {.at = GW_START_LAST};
    if (frame->cursor && strcmp(frame->cursor, "last") != 0)
        start = (struct gw_start){.at = GW_START_CURSOR, .cursor = frame->cursor, .cursor_len = frame->cursor_len};
    start.interval_ms = frame->interval_ms;
    struct gw_subscribed subscribed;
    enum gw_err err = gw_session_subscribe(&ws->session, frame->channel, frame->channel_len, &start, &subscribed);
    if (err != GW_OK) {
        ws_push_error(ws, frame->id, err,
                      err == GW_ERR_BAD_REQUEST ? "the channel is no valid name or filter, or the cursor is none of "
                                                  "this gateway's (<epoch>.<number> expected)"
                                                : NULL,
                      0);
        return;
    }
    struct gw_buf json;
    gw_buf_init(&json);
    gw_json_subscribed(&json, frame->id, frame->channel, frame->channel_len, &subscribed);
    ws_push(ws, &json);
    gw_session_catch_up(&ws->session);
}

static void ws_publish(struct ws *ws, struct gw_frame *frame)
{
    bool accepted;
    const char *why;
    char *reference = frame->id ? gw_strdup(frame->id) : NULL;
    enum gw_err err = gw_session_publish(&ws->session, frame->channel, frame->channel_len, frame->data.data,
                                         frame->data.len, true, reference, &accepted, &why);
    if (err != GW_OK)
        ws_push_error(ws, frame->id, err, why, 0);
    else if (accepted)
        ws_push_simple(ws, "accepted", frame->id);
}

static void ws_request(struct ws *ws, struct gw_frame *frame)
{
    const char *why;
    char *reference = frame->id ? gw_strdup(frame->id) : NULL;
    int64_t timeout_ms = frame->timeout_ms;
    if (timeout_ms < 0)
        timeout_ms = gw_hub_config(ws->session.hub)->broker.request_timeout_ms;
    enum gw_err err = gw_session_request(&ws->session, frame->channel, frame->channel_len, frame->data.data,
                                         frame->data.len, true, timeout_ms, reference, &why);
    if (err != GW_OK)
        ws_push_error(ws, frame->id, err, why, 0);
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
        if (gw_session_unsubscribe(&ws->session, frame.channel, frame.channel_len))
            ws_push_simple(ws, "unsubscribed", frame.id);
        else
            ws_push_error(ws, frame.id, GW_ERR_BAD_REQUEST, "there is no such subscription", 0);
        break;
    case GW_FRAME_PUBLISH:
        ws_publish(ws, &frame);
        break;
    case GW_FRAME_REQUEST:
        ws_request(ws, &frame);
        break;
    case GW_FRAME_PING:
        ws_push_simple(ws, "pong", frame.id);
        break;
    case GW_FRAME_HELLO: /* nothing demands a token yet: every client may do everything */
        if (frame.id)
            ws_push_simple(ws, "hello", frame.id);
        break;
    case GW_FRAME_UNKNOWN:
        break;
    }
    gw_frame_fini(&frame);
}

static void ws_on_writable(struct gw_conn *conn)
{
    struct ws *ws = gw_conn_context(conn);
    gw_conn_drain(conn, &ws->session, ws_encode);
}

static void ws_on_closed(struct gw_conn *conn)
{
    struct ws *ws = gw_conn_context(conn);
    gw_session_close(&ws->session);
    free(ws);
}

static const struct gw_conn_ops ws_conn_ops = {
    .writable = ws_on_writable,
    .message = ws_on_message,
    .closed = ws_on_closed,
};

static bool ws_match(const struct gw_request *request)
{
    return gw_request_path_is(request, "/ws");
}

static void ws_open(struct gw_conn *conn, const struct gw_request *request)
{
    if (!request->upgrade) {
        gw_http_error_headers(conn, GW_ERR_BAD_REQUEST, "this address is for WebSockets (Upgrade: websocket expected)",
                              "Upgrade: websocket\r\n");
        return;
    }
    struct ws *ws = gw_calloc(1, sizeof *ws);
    ws->conn = conn;
    if (!gw_ws_accept(conn, request, &ws_conn_ops, ws)) {
        free(ws);
        return;
    }
    struct gw_hub *hub = gw_conn_hub(conn);
    gw_session_open(&ws->session, hub, &ws_session_ops);
    gw_conn_log_session(conn, &ws->session);
    char cursor[64];
    gw_hub_cursor(hub, cursor);
    struct gw_buf json;
    gw_buf_init(&json);
    gw_json_welcome(&json, ws->session.id, gw_hub_worker(hub), cursor);
    ws_push(ws, &json);
    if (!gw_hub_upstream(hub)->up)
        ws_upstream(&ws->session, gw_hub_upstream(hub));
}

const struct gw_transport gw_transport_ws = {.name = "websocket", .match = ws_match, .open = ws_open};
