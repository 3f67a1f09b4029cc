/* wsconn.c: WebSocket connections: handshake, messages from fragments, heartbeat, close (RFC 6455). */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/utf8.h"
#include "http/conn.h"
#include "net/server.h"
#include "websocket/deflate.h"
#include "websocket/wsframe.h"

/* How long the peer may take to answer a close frame. */
#define CLOSE_WAIT_MS 2000
/* A peer from which nothing came, no pong either, for this many heartbeats is gone. */
#define HEARTBEATS_MISSED 3

static int64_t ws_heartbeat_ms(const struct gw_conn *conn)
{
    return gw_hub_config(conn->worker->hub)->web.heartbeat_ms;
}

static void ws_send_control(struct gw_conn *conn, enum gw_ws_opcode opcode, const char *data, size_t len)
{
    uint8_t frame[2 + 125];
    frame[0] = (uint8_t)(0x80 | opcode);
    frame[1] = (uint8_t)len;
    if (len)
        memcpy(frame + 2, data, len);
    gw_wire_send_one(conn, frame, 2 + len);
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
    if (conn->dead || conn->close_sent)
        return;
    char payload[125];
    size_t len = strlen(reason);
    if (len > sizeof payload - 2)
        len = sizeof payload - 2;
    payload[0] = (char)(code >> 8);
    payload[1] = (char)code;
    memcpy(payload + 2, reason, len);
    ws_send_control(conn, GW_WS_CLOSE, payload, len + 2);
    conn->close_sent = true;
    gw_conn_pause(conn, false); /* to read the answer */
    gw_timer_set(&conn->worker->timers, &conn->timer, gw_hub_now(conn->worker->hub) + CLOSE_WAIT_MS);
}

/* --- handshake (section 4.2) ---------------------------------------------------------------------------------- */

static void ws_accept_key(struct gw_slice key, char out[32])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char joined[64 + sizeof guid], digest[20];
    memcpy(joined, key.data, key.len);
    memcpy(joined + key.len, guid, sizeof guid - 1);
    EVP_Digest(joined, key.len + sizeof guid - 1, digest, NULL, EVP_sha1(), NULL);
    EVP_EncodeBlock((unsigned char *)out, digest, sizeof digest); /* 28 characters and a NUL */
}

static unsigned ws_header_count(const struct gw_request *request, const char *name)
{
    unsigned count = 0;
    for (unsigned i = 0; i < request->header_count; i++) {
        struct gw_slice found = request->headers[i].name;
        count += found.len == strlen(name) && !strncasecmp(found.data, name, found.len);
    }
    return count;
}

/* 16 bytes in base64: 24 characters, the last two of them padding. */
static bool ws_key_valid(struct gw_slice key)
{
    if (key.len != 24 || key.data[22] != '=' || key.data[23] != '=')
        return false;
    for (size_t i = 0; i < 22; i++) {
        char c = key.data[i];
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/'))
            return false;
    }
    return true;
}

static const char *ws_find_protocol(const char *const *protocols, const char *name, size_t len)
{
    for (; *protocols; protocols++) {
        if (strlen(*protocols) == len && !memcmp(*protocols, name, len))
            return *protocols;
    }
    return NULL;
}

const char *gw_ws_offered(const struct gw_request *request, const char *const *protocols)
{
    for (unsigned i = 0; i < request->header_count; i++) {
        struct gw_slice name = request->headers[i].name, value = request->headers[i].value;
        if (name.len != 22 || strncasecmp(name.data, "sec-websocket-protocol", 22) != 0)
            continue;
        for (size_t at = 0; at < value.len;) {
            while (at < value.len && (value.data[at] == ' ' || value.data[at] == ',' || value.data[at] == '\t'))
                at++;
            size_t start = at;
            while (at < value.len && value.data[at] != ',' && value.data[at] != ' ' && value.data[at] != '\t')
                at++;
            const char *found = ws_find_protocol(protocols, value.data + start, at - start);
            if (found)
                return found;
        }
    }
    return NULL;
}

/* web.compression, which holds for those that connect while it is on. */
static bool ws_negotiate_deflate(struct gw_conn *conn, const struct gw_request *request,
                                 char answer[GW_DEFLATE_ANSWER_MAX])
{
    struct gw_worker *worker = conn->worker;
    if (!gw_hub_config(worker->hub)->web.compression)
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
    struct gw_slice key = gw_request_header(request, "sec-websocket-key");
    if (version.len != 2 || memcmp(version.data, "13", 2) != 0) {
        static const char body[] =
            "{\"type\":\"error\",\"code\":\"bad_request\",\"message\":\"WebSocket version 13 expected\"}";
        gw_http_reply(conn, 426, "Sec-WebSocket-Version: 13\r\n", "application/json", body, sizeof body - 1);
        return false;
    }
    if (!ws_key_valid(key) || ws_header_count(request, "sec-websocket-key") != 1) {
        gw_http_error(conn, GW_ERR_BAD_REQUEST,
                      "Sec-WebSocket-Key is missing, malformed or there twice (16 bytes in base64 expected)");
        return false;
    }
    char accept[32], extension[GW_DEFLATE_ANSWER_MAX];
    ws_accept_key(key, accept);
    conn->deflate = ws_negotiate_deflate(conn, request, extension);
    const char *protocol = gw_ws_offered(request, protocols);
    struct gw_buf head;
    gw_buf_init(&head);
    gw_buf_printf(&head,
                  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  "Sec-WebSocket-Accept: %s\r\n",
                  accept);
    if (protocol)
        gw_buf_printf(&head, "Sec-WebSocket-Protocol: %s\r\n", protocol);
    gw_buf_printf(&head, "%s\r\n", conn->deflate ? extension : "");
    gw_wire_cork(conn); /* until the request is done: what the transport says first goes along */
    gw_wire_send_one(conn, head.data, head.len);
    gw_buf_fini(&head);
    free(conn->headers);
    conn->headers = NULL;
    conn->state = GW_CONN_WS;
    conn->heard_ms = gw_hub_now(conn->worker->hub);
    gw_buf_fini(&conn->body);
    gw_conn_attach(conn, ops, context);
    gw_timer_set(&conn->worker->timers, &conn->timer, conn->heard_ms + ws_heartbeat_ms(conn));
    if (conn->worker->stopping)
        gw_ws_close(conn, 1001, "going_away: the gateway is shutting down");
    return true;
}

bool gw_ws_deflates(const struct gw_conn *conn)
{
    return conn->deflate;
}

bool gw_ws_compressed(struct gw_message *msg, enum gw_ws_form form, struct iovec *part)
{
    struct gw_slice frame = gw_deflate_message(msg, form);
    *part = (struct iovec){(void *)(uintptr_t)frame.data, frame.len};
    return frame.data != NULL;
}

void gw_ws_heartbeat(struct gw_conn *conn)
{
    int64_t now = gw_hub_now(conn->worker->hub), interval = ws_heartbeat_ms(conn);
    if (!conn->held_back && now - conn->heard_ms >= interval * HEARTBEATS_MISSED) {
        gw_conn_kill(conn);
        return;
    }
    /* Also when the peer talks: proxies watch each direction by itself. A blocked socket is busy enough. */
    if (!conn->blocked)
        ws_send_control(conn, GW_WS_PING, NULL, 0);
    if (!conn->dead)
        gw_timer_set(&conn->worker->timers, &conn->timer, now + interval);
}

/* --- frames ------------------------------------------------------------------------------------------------- */

static void ws_fail(struct gw_conn *conn, int code, const char *why)
{
    GW_STAT_ADD(gw_hub_stats(conn->worker->hub), requests_bad, 1);
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
    struct gw_buf plain;
    gw_buf_init(&plain);
    int code =
        gw_inflate(conn->worker->inflater, data, len, gw_hub_config(conn->worker->hub)->limits.frame_bytes, &plain);
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
    if (frame->opcode == GW_WS_CONTINUATION ? !conn->fragment : conn->fragment) {
        ws_fail(conn, 1002,
                conn->fragment ? "a new message begins inside a fragmented one"
                               : "a continuation frame continues nothing");
        return;
    }
    if (frame->fin && !conn->fragment) {
        ws_on_whole(conn, frame->opcode, frame->deflated, data, frame->payload_len);
        return;
    }
    if (!conn->fragment) {
        conn->fragment = (uint8_t)frame->opcode;
        conn->deflated = frame->deflated;
    }
    gw_buf_add(&conn->body, data, frame->payload_len);
    if (!frame->fin)
        return;
    enum gw_ws_opcode opcode = (enum gw_ws_opcode)conn->fragment;
    conn->fragment = 0;
    struct gw_buf body = conn->body;
    gw_buf_init(&conn->body);
    gw_buf_reserve(&body, 0);
    ws_on_whole(conn, opcode, conn->deflated, body.data, body.len);
    gw_buf_fini(&body);
}

/* While the peer does not read, answers would only pile up: the newest ping alone is answered, once it reads again
 * (section 5.5.3 allows that). */
static void ws_answer_ping(struct gw_conn *conn, const char *data, size_t len)
{
    if (!conn->blocked) {
        ws_send_control(conn, GW_WS_PONG, data, len);
        return;
    }
    if (!conn->ping)
        conn->ping = gw_malloc(sizeof *conn->ping);
    conn->ping->len = (uint8_t)len;
    if (len)
        memcpy(conn->ping->data, data, len);
}

void gw_ws_on_writable(struct gw_conn *conn)
{
    struct gw_ws_ping *ping = conn->ping;
    if (!ping)
        return;
    conn->ping = NULL;
    if (!conn->close_sent)
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
        if (!conn->close_sent)
            ws_answer_ping(conn, data, frame->payload_len);
        break;
    case GW_WS_PONG:
        break;
    case GW_WS_CONTINUATION:
    case GW_WS_TEXT:
    case GW_WS_BINARY:
        if (!conn->close_sent)
            ws_on_data(conn, frame, data);
        break;
    }
}

void gw_ws_process(struct gw_conn *conn)
{
    size_t at = 0;
    while (!conn->dead && conn->state == GW_CONN_WS && !conn->held_back && at < conn->in.len) {
        struct gw_ws_frame frame;
        const char *why;
        size_t max = gw_hub_config(conn->worker->hub)->limits.frame_bytes;
        size_t room = max > conn->body.len ? max - conn->body.len : 0;
        int read = gw_ws_read_header((const uint8_t *)conn->in.data + at, conn->in.len - at, room, conn->deflate,
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
    if (conn->state == GW_CONN_WS)
        gw_buf_consume(&conn->in, at < conn->in.len ? at : conn->in.len);
}
