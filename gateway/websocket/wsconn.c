/* wsconn.c: WebSocket connections: handshake, messages from fragments, heartbeat, close (RFC 6455). */
#include "websocket/wsconn.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "gateway/alloc.h"
#include "gateway/utf8.h"
#include "http/conn.h"
#include "net/worker.h"
#include "websocket/deflate.h"
#include "websocket/handshake.h"
#include "websocket/wsframe.h"

/* How long the peer may take to answer a close frame. */
#define CLOSE_WAIT_MS 2000
/* A peer from which nothing came, no pong either, for this many heartbeats is gone. */
#define HEARTBEATS_MISSED 3
/* Bytes of a brief message, and of its frame. */
#define BRIEF       4
#define BRIEF_FRAME (2 + 4 + BRIEF)

/* A ping that came while the peer did not read (RFC 6455 section 5.5: at most 125 bytes). */
struct ping {
    uint8_t len;
    char data[125];
};

struct ws {
    int64_t heard_ms;   /* when something last came in */
    struct ping *ping;  /* to be answered once the socket takes it; NULL: none */
    struct gw_buf body; /* the fragments of a message */
    uint8_t fragment;   /* opcode of the fragmented message in `body`, 0 if none */
    bool deflated;      /* ... and it is compressed */
    bool deflate;       /* permessage-deflate was negotiated */
};

static const struct gw_conn_protocol ws_protocol;

static int64_t ws_heartbeat_ms(const struct gw_conn *conn)
{
    return gw_conn_config(conn)->web.heartbeat_ms;
}

static void ws_send_control(struct gw_conn *conn, enum gw_ws_opcode opcode, const char *data, size_t len)
{
    uint8_t frame[2 + 125];
    frame[0] = (uint8_t)(0x80 | opcode);
    frame[1] = (uint8_t)len;
    if (len)
        memcpy(frame + 2, data, len);
    gw_outbox_send_one(&conn->sock, frame, 2 + len);
}

static void ws_add(struct gw_buf *out, enum gw_ws_opcode opcode, const void *data, size_t len)
{
    uint8_t header[GW_WS_HEADER_MAX];
    gw_buf_add(out, header, gw_ws_header(header, opcode, len));
    gw_buf_add(out, data, len);
}

void gw_ws_add_text(struct gw_buf *out, const char *text, size_t len)
{
    ws_add(out, GW_WS_TEXT, text, len);
}

void gw_ws_add_binary(struct gw_buf *out, const void *data, size_t len)
{
    ws_add(out, GW_WS_BINARY, data, len);
}

void gw_ws_close(struct gw_conn *conn, int code, const char *reason)
{
    if (conn->sock.phase != GW_SOCK_OPEN)
        return;
    char payload[125];
    size_t len = strlen(reason);
    if (len > sizeof payload - 2)
        len = sizeof payload - 2;
    payload[0] = (char)(code >> 8);
    payload[1] = (char)code;
    memcpy(payload + 2, reason, len);
    ws_send_control(conn, GW_WS_CLOSE, payload, len + 2);
    if (gw_conn_dead(conn))
        return;
    gw_sock_part(&conn->sock);
    gw_conn_deadline(conn, CLOSE_WAIT_MS);
    gw_conn_pause(conn, false); /* to read the answer */
}

/* --- handshake (section 4.2), with handshake.c -------------------------------------------------------------------
 */

/* web.compression, which holds for those that connect while it is on. */
static bool ws_negotiate_deflate(struct gw_conn *conn, const struct gw_request *request,
                                 char answer[GW_DEFLATE_ANSWER_MAX])
{
    struct gw_worker *worker = conn->sock.worker;
    if (!gw_conn_config(conn)->web.compression)
        return false;
    for (unsigned i = 0; i < request->header_count; i++) {
        struct gw_slice name = request->headers[i].name;
        if (name.len != 24 || strncasecmp(name.data, "sec-websocket-extensions", 24) != 0 ||
            !gw_deflate_negotiate(request->headers[i].value, answer))
            continue;
        if (!worker->inflater)
            worker->inflater = gw_inflater_create();
        return worker->inflater != NULL;
    }
    return false;
}

bool gw_ws_accept(struct gw_conn *conn, const struct gw_request *request, const char *const *protocols,
                  const struct gw_conn_ops *ops, void *context)
{
    struct gw_slice version = gw_request_header(request, "sec-websocket-version");
    char accept[32], extension[GW_DEFLATE_ANSWER_MAX];
    if (version.len != 2 || memcmp(version.data, "13", 2) != 0) {
        gw_http_error_as(conn, 426, GW_ERR_BAD_REQUEST, "WebSocket version 13 expected",
                         "Sec-WebSocket-Version: 13\r\n");
        return false;
    }
    if (!gw_ws_accept_key(request, accept)) {
        gw_http_error(conn, GW_ERR_BAD_REQUEST,
                      "Sec-WebSocket-Key is missing, malformed or there twice (16 bytes in base64 expected)");
        return false;
    }
    bool deflate = ws_negotiate_deflate(conn, request, extension);
    const char *protocol = gw_ws_offered(request, protocols);
    struct gw_buf head = {0};
    gw_buf_printf(&head,
                  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  "Sec-WebSocket-Accept: %s\r\n",
                  accept);
    if (protocol)
        gw_buf_printf(&head, "Sec-WebSocket-Protocol: %s\r\n", protocol);
    gw_buf_printf(&head, "%s\r\n", deflate ? extension : "");
    gw_outbox_cork(&conn->sock); /* until the request is done: what the transport says first goes along */
    gw_outbox_send_one(&conn->sock, head.data, head.len);
    gw_buf_fini(&head);
    free(conn->headers);
    conn->headers = NULL;
    struct ws *ws = gw_calloc(1, sizeof *ws);
    ws->heard_ms = gw_hub_now(gw_conn_hub(conn));
    ws->deflate = deflate;
    gw_conn_speak(conn, &ws_protocol, ws);
    gw_conn_attach(conn, ops, context);
    gw_conn_deadline(conn, ws_heartbeat_ms(conn));
    if (conn->sock.worker->stopping)
        gw_ws_close(conn, 1001, "going_away: the gateway is shutting down");
    return true;
}

bool gw_ws_deflates(const struct gw_conn *conn)
{
    return ((const struct ws *)conn->speaker)->deflate;
}

bool gw_ws_compressed(struct gw_message *msg, enum gw_ws_form form, struct iovec *part)
{
    struct gw_slice frame = gw_deflate_message(msg, form);
    *part = (struct iovec){(void *)(uintptr_t)frame.data, frame.len};
    return frame.data != NULL;
}

static void ws_timed_out(struct gw_conn *conn)
{
    if (conn->sock.phase != GW_SOCK_OPEN) { /* the peer has not answered our close frame */
        gw_sock_kill(&conn->sock);
        return;
    }
    const struct ws *ws = conn->speaker;
    int64_t now = gw_hub_now(gw_conn_hub(conn)), interval = ws_heartbeat_ms(conn);
    if (!conn->held_back && now - ws->heard_ms >= interval * HEARTBEATS_MISSED) {
        gw_sock_kill(&conn->sock);
        return;
    }
    /* Also when the peer talks: proxies watch each direction by itself. A blocked socket is busy enough. */
    if (!conn->sock.out.blocked)
        ws_send_control(conn, GW_WS_PING, NULL, 0);
    if (!gw_conn_dead(conn))
        gw_conn_deadline(conn, interval);
}

static void ws_go_away(struct gw_conn *conn)
{
    gw_ws_close(conn, 1001, "going_away: the gateway is shutting down");
}

/* --- frames ------------------------------------------------------------------------------------------------- */

static void ws_fail(struct gw_conn *conn, int code, const char *why)
{
    GW_STAT_ADD(gw_hub_stats(gw_conn_hub(conn)), requests_bad, 1);
    gw_conn_log_bad(conn, code, why);
    gw_ws_close(conn, code, why);
    /* Section 7.1.7: nothing more is read from a peer that broke the protocol. */
    gw_conn_finish(conn);
}

static void ws_on_close(struct gw_conn *conn, const char *data, size_t len)
{
    int code = 1000;
    if (len == 1) {
        ws_fail(conn, 1002, "a close frame has no payload or a code of two bytes");
        return;
    }
    if (len >= 2) {
        code = (unsigned char)data[0] << 8 | (unsigned char)data[1];
        if (!gw_ws_close_code_valid((unsigned)code)) {
            ws_fail(conn, 1002, "this close code is not for sending");
            return;
        }
        if (!gw_utf8_valid(data + 2, len - 2)) {
            ws_fail(conn, 1007, "the close reason is not UTF-8");
            return;
        }
    }
    gw_ws_close(conn, code, ""); /* the answer, unless this was the answer */
    gw_conn_finish(conn);
}

static void ws_on_message(struct gw_conn *conn, enum gw_ws_opcode opcode, char *data, size_t len)
{
    if (opcode == GW_WS_TEXT && !gw_utf8_valid(data, len)) {
        ws_fail(conn, 1007, "a text message is not UTF-8");
        return;
    }
    if (conn->ops && conn->ops->message)
        conn->ops->message(conn, opcode == GW_WS_TEXT, data, len);
}

static void ws_on_deflated(struct gw_conn *conn, enum gw_ws_opcode opcode, const char *data, size_t len)
{
    struct gw_buf plain = {0};
    int code = gw_inflate(conn->sock.worker->inflater, data, len, gw_conn_config(conn)->limits.frame_bytes, &plain);
    if (code)
        ws_fail(conn, code, code == 1009 ? "the message is too large" : "a compressed message is damaged");
    else
        ws_on_message(conn, opcode, plain.data, plain.len);
    gw_buf_fini(&plain);
}

static void ws_on_whole(struct gw_conn *conn, enum gw_ws_opcode opcode, bool deflated, char *data, size_t len)
{
    if (deflated)
        ws_on_deflated(conn, opcode, data, len);
    else
        ws_on_message(conn, opcode, data, len);
}

static void ws_on_data(struct gw_conn *conn, const struct gw_ws_frame *frame, char *data)
{
    struct ws *ws = conn->speaker;
    if (frame->opcode == GW_WS_CONTINUATION ? !ws->fragment : ws->fragment) {
        ws_fail(conn, 1002,
                ws->fragment ? "a new message begins inside a fragmented one"
                             : "a continuation frame continues nothing");
        return;
    }
    if (frame->fin && !ws->fragment) {
        ws_on_whole(conn, frame->opcode, frame->deflated, data, frame->payload_len);
        return;
    }
    if (!ws->fragment) {
        ws->fragment = (uint8_t)frame->opcode;
        ws->deflated = frame->deflated;
    }
    gw_buf_add(&ws->body, data, frame->payload_len);
    if (!frame->fin)
        return;
    enum gw_ws_opcode opcode = (enum gw_ws_opcode)ws->fragment;
    ws->fragment = 0;
    struct gw_buf body = gw_buf_move(&ws->body);
    gw_buf_reserve(&body, 0);
    ws_on_whole(conn, opcode, ws->deflated, body.data, body.len);
    gw_buf_fini(&body);
}

/* While the peer does not read, answers would only pile up: the newest ping alone is answered, once it reads again
 * (section 5.5.3 allows that). */
static void ws_answer_ping(struct gw_conn *conn, const char *data, size_t len)
{
    if (!conn->sock.out.blocked) {
        ws_send_control(conn, GW_WS_PONG, data, len);
        return;
    }
    struct ws *ws = conn->speaker;
    if (!ws->ping)
        ws->ping = gw_malloc(sizeof *ws->ping);
    ws->ping->len = (uint8_t)len;
    if (len)
        memcpy(ws->ping->data, data, len);
}

static void ws_on_writable(struct gw_conn *conn)
{
    struct ws *ws = conn->speaker;
    struct ping *ping = ws->ping;
    if (!ping)
        return;
    ws->ping = NULL;
    if (conn->sock.phase == GW_SOCK_OPEN)
        ws_send_control(conn, GW_WS_PONG, ping->data, ping->len);
    free(ping);
}

static void ws_on_frame(struct gw_conn *conn, const struct gw_ws_frame *frame, char *data)
{
    gw_ws_unmask(data, frame->payload_len, frame->mask);
    switch (frame->opcode) {
    case GW_WS_CLOSE:
        ws_on_close(conn, data, frame->payload_len);
        break;
    case GW_WS_PING:
        if (conn->sock.phase == GW_SOCK_OPEN)
            ws_answer_ping(conn, data, frame->payload_len);
        break;
    case GW_WS_PONG:
        break;
    case GW_WS_CONTINUATION:
    case GW_WS_TEXT:
    case GW_WS_BINARY:
        if (conn->sock.phase == GW_SOCK_OPEN)
            ws_on_data(conn, frame, data);
        break;
    }
}

static bool ws_takes_more(const struct gw_conn *conn)
{
    return !gw_conn_dead(conn) && conn->state == GW_CONN_OTHER && !conn->held_back;
}

/* Most of what clients of MQTT say are acknowledgements: binary messages of four bytes, one after the other. Those
 * that begin at `at` are handed on together, in the place of the first. Returns behind the last of them. */
static size_t ws_take_brief(struct gw_conn *conn, size_t at)
{
    char *first = conn->in.data + at, *end = first;
    while (conn->in.len - at >= BRIEF_FRAME && !memcmp(conn->in.data + at, "\x82\x84", 2)) {
        const char *frame = conn->in.data + at;
        uint32_t mask, word;
        memcpy(&mask, frame + 2, sizeof mask);
        memcpy(&word, frame + 6, sizeof word);
        word ^= mask;
        memcpy(end, &word, sizeof word);
        end += sizeof word;
        at += BRIEF_FRAME;
    }
    if (end > first)
        conn->ops->message(conn, false, first, (size_t)(end - first));
    return at;
}

static bool ws_may_be_brief(const struct gw_conn *conn, size_t max)
{
    const struct ws *ws = conn->speaker;
    return conn->ops && conn->ops->stream && !ws->fragment && max >= BRIEF && conn->sock.phase == GW_SOCK_OPEN;
}

static void ws_process(struct gw_conn *conn)
{
    struct ws *ws = conn->speaker;
    size_t at = 0, max = gw_conn_config(conn)->limits.frame_bytes;
    ws->heard_ms = gw_hub_now(gw_conn_hub(conn));
    while (ws_takes_more(conn) && at < conn->in.len) {
        size_t brief = ws_may_be_brief(conn, max) ? ws_take_brief(conn, at) : at;
        if (brief > at) {
            at = brief;
            continue;
        }
        struct gw_ws_frame frame;
        const char *why;
        size_t room = max > ws->body.len ? max - ws->body.len : 0;
        int read = gw_ws_read_header((const uint8_t *)conn->in.data + at, conn->in.len - at, room, ws->deflate,
                                     &frame, &why);
        if (read == 0)
            break;
        if (read < 0) {
            ws_fail(conn, -read, why);
            return;
        }
        if (conn->in.len - at - frame.header_len < frame.payload_len)
            break;
        char *data = conn->in.data + at + frame.header_len;
        at += frame.header_len + frame.payload_len;
        ws_on_frame(conn, &frame, data);
    }
    if (conn->state == GW_CONN_OTHER)
        gw_buf_consume(&conn->in, at < conn->in.len ? at : conn->in.len);
}

static void ws_closed(struct gw_conn *conn)
{
    struct ws *ws = conn->speaker;
    gw_buf_fini(&ws->body);
    free(ws->ping);
    free(ws);
}

static const struct gw_conn_protocol ws_protocol = {
    .process = ws_process,
    .writable = ws_on_writable,
    .timed_out = ws_timed_out,
    .go_away = ws_go_away,
    .closed = ws_closed,
};

/* --- for each worker -------------------------------------------------------------------------------------------- */

void gw_ws_configure(struct gw_worker *worker)
{
    gw_deflate_configure(gw_hub_config(worker->hub));
}

void gw_ws_leave(struct gw_worker *worker)
{
    gw_inflater_destroy(worker->inflater);
    worker->inflater = NULL;
}
