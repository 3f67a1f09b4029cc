/* sse.c: GET /sse: text/event-stream (WHATWG HTML, "Server-sent events"). `id:` is the cursor, so that the browser
 * resumes by itself with Last-Event-ID. */
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/container.h"
#include "gateway/protocol.h"
#include "gateway/query.h"
#include "gateway/timer.h"
#include "gateway/transport.h"
#include "gateway/upstream.h"

/* What a browser waits before it connects again; it adds no jitter of its own, so ours is in the number. */
#define RETRY_MS        1000
#define RETRY_JITTER_MS 2000

/* To HTTP/1.1 each event, and each text of ours, is one chunk (RFC 9112 section 7.1): clients and proxies that read a
 * body without length until it ends would show nothing. HTTP/1.0 knows no chunks; there the end of the connection is
 * the end. */
struct sse {
    struct gw_session session; /* first member */
    bool chunked;
    struct gw_timer timer; /* comments on an idle stream, for proxies */
    struct gw_conn *conn;
};

/* A field whose value may hold line ends: each line is a field of its own. */
static void sse_add_data(struct gw_buf *out, const char *text, size_t len)
{
    size_t at = 0;
    do {
        size_t end = at;
        while (end < len && text[end] != '\n' && text[end] != '\r')
            end++;
        gw_buf_adds(out, "data: ");
        gw_buf_add(out, text + at, end - at);
        gw_buf_addc(out, '\n');
        at = end + 1;
        if (end + 1 < len && text[end] == '\r' && text[end + 1] == '\n')
            at++;
    } while (at < len);
    gw_buf_addc(out, '\n');
}

/* Frames a text for the stream, in place. */
static void sse_frame(const struct sse *sse, struct gw_buf *text)
{
    if (!sse->chunked)
        return;
    struct gw_buf chunk = {0};
    gw_buf_printf(&chunk, "%zx\r\n", text->len);
    gw_buf_add(&chunk, text->data, text->len);
    gw_buf_adds(&chunk, "\r\n");
    gw_buf_fini(text);
    *text = chunk;
}

static void sse_push(struct sse *sse, struct gw_buf *text)
{
    sse_frame(sse, text);
    gw_session_push(&sse->session, text);
}

static void sse_push_event(struct sse *sse, const char *event, struct gw_buf *json)
{
    struct gw_buf text = {0};
    gw_buf_printf(&text, "event: %s\n", event);
    sse_add_data(&text, json->data, json->len);
    gw_buf_fini(json);
    sse_push(sse, &text);
}

static struct iovec sse_part(const char *data, size_t len)
{
    return (struct iovec){(void *)(uintptr_t)data, len};
}

/* The two below differ in nothing but the frame; each is a function of its own because sessions share what one gives.
 */
static size_t sse_encode_as(struct gw_item *item, struct iovec parts[GW_PARTS_MAX], bool chunked)
{
    const struct sse framing = {.chunked = chunked};
    struct gw_buf text = {0};
    if (item->type == GW_ITEM_MESSAGE) {
        struct gw_message *msg = item->u.message;
        struct gw_slice tail = gw_message_tail(msg), cursor = gw_message_cursor(msg);
        if (!msg->multiline) {
            parts[0] = chunked ? sse_part(msg->event, msg->event_len) : sse_part("id: ", 4);
            parts[1] = sse_part(cursor.data, cursor.len);
            parts[2] = sse_part("\ndata: {", 8);
            parts[3] = sse_part(tail.data, tail.len);
            const char *end = msg->state ? "\n" GW_STATUS_EVENT "\n\r\n" : "\n\n\r\n";
            parts[4] = sse_part(end, strlen(end) - (chunked ? 0 : 2));
            return 5;
        }
        /* Line ends in a device's JSON are blanks between its tokens, so their kind does not matter. */
        struct gw_buf object = {0};
        gw_buf_addc(&object, '{');
        gw_buf_add(&object, tail.data, tail.len);
        gw_buf_printf(&text, "id: %.*s\n", (int)cursor.len, cursor.data);
        sse_add_data(&text, object.data, object.len);
        gw_buf_fini(&object);
        sse_frame(&framing, &text);
        gw_item_set_text(item, &text);
    } else if (item->type == GW_ITEM_GAP) {
        struct gw_buf json = {0};
        gw_json_gap(&json, item->u.gap);
        gw_buf_adds(&text, "event: gap\n");
        sse_add_data(&text, json.data, json.len);
        gw_buf_fini(&json);
        sse_frame(&framing, &text);
        gw_item_set_text(item, &text);
    }
    parts[0] = sse_part(item->u.text->data, item->u.text->len);
    return 1;
}

static size_t sse_encode(struct gw_item *item, struct iovec parts[GW_PARTS_MAX])
{
    return sse_encode_as(item, parts, false);
}

static size_t sse_encode_chunk(struct gw_item *item, struct iovec parts[GW_PARTS_MAX])
{
    return sse_encode_as(item, parts, true);
}

static void sse_drain(struct sse *sse)
{
    gw_conn_drain(sse->conn, &sse->session, sse->chunked ? sse_encode_chunk : sse_encode);
}

/* The stream is over, and says so. */
static void sse_end(struct sse *sse)
{
    if (sse->chunked)
        gw_conn_send(sse->conn, "0\r\n\r\n", 5);
    gw_conn_close(sse->conn);
}

static void sse_ready(struct gw_session *session)
{
    sse_drain((struct sse *)session);
}

static void sse_upstream(struct gw_session *session, const struct gw_upstream_state *state)
{
    struct gw_buf json = {0};
    gw_json_upstream(&json, state);
    sse_push_event((struct sse *)session, "upstream", &json);
}

static void sse_kick(struct gw_session *session, enum gw_err why)
{
    struct sse *sse = (struct sse *)session;
    struct gw_buf json = {0}, text = {0};
    gw_json_error(&json, NULL, why, NULL, 0);
    gw_buf_adds(&text, "event: error\n");
    sse_add_data(&text, json.data, json.len);
    sse_frame(sse, &text);
    gw_conn_send(sse->conn, text.data, text.len);
    gw_buf_fini(&json);
    gw_buf_fini(&text);
    sse_end(sse);
}

static void sse_revoked(struct gw_session *session, const char *filter, size_t len)
{
    struct gw_buf json = {0};
    gw_json_revoked(&json, "error", filter, len);
    sse_push_event((struct sse *)session, "error", &json);
    if (session->sub_count || session->window_count)
        return;
    sse_ready(session); /* nothing is left to come: that was the last word */
    sse_end((struct sse *)session);
}

static void sse_expiring(struct gw_session *session, int64_t expires_ms)
{
    struct gw_buf json = {0};
    gw_json_expiring(&json, expires_ms);
    sse_push_event((struct sse *)session, "expiring", &json);
}

static const struct gw_session_ops sse_session_ops = {
    .transport = "sse",
    .ready = sse_ready,
    .published = NULL, /* a stream never publishes */
    .upstream = sse_upstream,
    .revoked = sse_revoked,
    .expiring = sse_expiring,
    .kick = sse_kick,
    .states = true,
};

static void sse_keep_alive(struct gw_timer *timer)
{
    struct sse *sse = GW_CONTAINER_OF(timer, struct sse, timer);
    struct gw_hub *hub = sse->session.hub;
    gw_timer_set(gw_hub_timers(hub), timer, gw_hub_now(hub) + gw_hub_config(hub)->web.heartbeat_ms);
    if (!gw_conn_blocked(sse->conn))
        gw_conn_send(sse->conn, sse->chunked ? "3\r\n:\n\n\r\n" : ":\n\n", sse->chunked ? 8 : 3);
}

static void sse_on_writable(struct gw_conn *conn)
{
    sse_drain(gw_conn_context(conn));
}

static void sse_free(struct sse *sse)
{
    gw_timer_cancel(gw_hub_timers(sse->session.hub), &sse->timer);
    gw_session_close(&sse->session);
    free(sse);
}

static void sse_on_closed(struct gw_conn *conn)
{
    sse_free(gw_conn_context(conn));
}

static const struct gw_conn_ops sse_conn_ops = {
    .writable = sse_on_writable,
    .message = NULL,
    .closed = sse_on_closed,
};

static bool sse_match(const struct gw_conn *conn, const struct gw_request *request)
{
    (void)conn;
    return gw_request_path_is(request, "/sse");
}

/* The browser's own place wins over the one in the URL, which stays the same for ever. One that no gateway has given
 * must not be an error: browsers give up on those. It is a place of another epoch. */
static void sse_last_event_id(const struct gw_request *request, const struct gw_hub *hub, struct gw_query *query)
{
    struct gw_slice id = gw_request_header(request, "last-event-id");
    if (!id.len)
        return;
    uint64_t seq;
    bool ours = gw_hub_check_cursor(hub, id.data, id.len, &seq) != GW_CURSOR_BAD;
    gw_buf_clear(&query->cursor);
    if (ours)
        gw_buf_add(&query->cursor, id.data, id.len);
    else
        gw_buf_adds(&query->cursor, "unknown.0");
    query->has_cursor = query->pinned = true;
}

static void sse_start(struct gw_conn *conn, const struct gw_query *query, bool chunked)
{
    struct gw_hub *hub = gw_conn_hub(conn);
    struct sse *sse = gw_calloc(1, sizeof *sse);
    sse->conn = conn;
    sse->chunked = chunked;
    sse->timer.fire = sse_keep_alive;
    gw_session_open(&sse->session, hub, &sse_session_ops);
    gw_session_identify(&sse->session, gw_conn_identity(conn));
    gw_conn_log_session(conn, &sse->session);
    const char *why;
    enum gw_err err = gw_query_subscribe(query, &sse->session, GW_START_LAST, &why);
    if (err != GW_OK) {
        sse_free(sse);
        gw_http_error(conn, err, why);
        return;
    }
    gw_http_stream(conn,
                   chunked ? "X-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n" : "X-Accel-Buffering: no\r\n",
                   "text/event-stream", &sse_conn_ops, sse);
    gw_timer_set(gw_hub_timers(hub), &sse->timer, gw_hub_now(hub) + gw_hub_config(hub)->web.heartbeat_ms);
    struct gw_buf text = {0};
    gw_buf_printf(&text, "retry: %llu\n\n",
                  RETRY_MS + (unsigned long long)(sse->session.id * 0x9e3779b97f4a7c15u >> 33) % RETRY_JITTER_MS);
    sse_push(sse, &text);
    if (!gw_hub_upstream(hub)->up)
        sse_upstream(&sse->session, gw_hub_upstream(hub));
    gw_session_catch_up(&sse->session);
    if (!sse->session.lagging) {
        /* An id without data moves the browser's place and raises no event: also a stream that was silent so far
         * resumes here. */
        char cursor[64];
        gw_session_place(&sse->session, cursor);
        text = (struct gw_buf){0};
        gw_buf_printf(&text, "id: %s\n\n", cursor);
        sse_push(sse, &text);
    }
}

static void sse_open(struct gw_conn *conn, const struct gw_request *request)
{
    if (request->method != GW_GET) {
        gw_http_error_headers(conn, GW_ERR_METHOD, NULL, "Allow: GET\r\n");
        return;
    }
    const struct gw_hub *hub = gw_conn_hub(conn);
    struct gw_query query;
    const char *why = gw_query_read(&query, request, gw_hub_config(hub));
    sse_last_event_id(request, hub, &query);
    if (why)
        gw_http_error(conn, GW_ERR_BAD_REQUEST, why);
    else
        sse_start(conn, &query, !request->http10);
    gw_query_fini(&query);
}

const struct gw_transport gw_transport_sse = {.name = "sse", .match = sse_match, .open = sse_open};
