/* request.c: requests out of the bytes of a connection, and on to api.c. */
#include <string.h>

#include "gateway/log.h"
#include "http/conn.h"
#include "http/forward.h"
#include "http/ticket.h"
#include "net/worker.h"

/* Empty lines before a request (RFC 9112 section 2.2 asks to ignore at least one). */
#define EMPTY_LINES_MAX 8

void gw_conn_refuse(struct gw_conn *conn, int status, enum gw_err err, const char *why)
{
    GW_STAT_ADD(gw_hub_stats(gw_conn_hub(conn)), requests_bad, 1);
    gw_conn_log_bad(conn, status, why);
    conn->keep_alive = false;
    conn->is_head = false;
    conn->state = GW_CONN_BUSY;
    gw_http_error_as(conn, status, err, why, NULL);
}

/* Whose request is this? A proxy that keeps its connections has many clients on one. Returns whether the client
 * speaks TLS, here or with a trusted proxy. */
static bool request_forwarded(struct gw_conn *conn, const struct gw_request *request)
{
    conn->address = conn->sock.origin;
    bool secure = gw_sock_secure(&conn->sock);
    if (!conn->sock.trusted)
        return secure;
    gw_forward_address(request, &gw_conn_config(conn)->web.trusted_proxies, &conn->address);
    return secure || gw_forward_secure(request);
}

static void request_dispatch(struct gw_conn *conn, struct gw_request *request)
{
    conn->state = GW_CONN_BUSY;
    conn->is_head = request->method == GW_HEAD;
    conn->http10 = request->http10;
    bool secure = request_forwarded(conn, request);
    gw_conn_log_arrival(conn, secure, "request", request->path);
    conn->keep_alive = request->keep_alive && !conn->sock.worker->stopping;
    gw_conn_no_deadline(conn);
    request->body = (struct gw_slice){conn->body.data ? conn->body.data : "", conn->body.len};
    GW_STAT_ADD(gw_hub_stats(gw_conn_hub(conn)), requests, conn->ticket.answered ? 0 : 1);
    if (request->path.len == 1 && *request->path.data == '*') /* RFC 9110 section 9.3.7: may be asked of any server */
        gw_http_reply(conn, 204, "Allow: GET, HEAD, POST, OPTIONS\r\n", NULL, NULL, 0);
    else
        gw_api_dispatch(conn, request);
    gw_outbox_uncork(&conn->sock);
    if (conn->ticket.wait) /* for the engine: gw_conn_read_again() comes next */
        return;
    gw_ticket_forget(conn);
    if (conn->state == GW_CONN_DRAIN)
        return;
    gw_buf_consume(&conn->in, conn->head_len);
    conn->head_len = 0;
    gw_buf_fini(&conn->body);
}

/* Takes empty lines off the front, so that they are neither kept nor looked at again. False: too many. */
static bool request_skip_empty_lines(struct gw_conn *conn)
{
    size_t skip = 0;
    while (skip < conn->in.len && (conn->in.data[skip] == '\r' || conn->in.data[skip] == '\n')) {
        if (conn->in.data[skip] == '\n' && ++conn->empty_lines > EMPTY_LINES_MAX)
            return false;
        if (conn->in.data[skip] == '\r' && skip + 1 < conn->in.len && conn->in.data[skip + 1] != '\n')
            return false; /* a bare CR is no line end */
        if (conn->in.data[skip] == '\r' && skip + 1 == conn->in.len)
            break; /* its LF is still to come */
        skip++;
    }
    gw_buf_consume(&conn->in, skip);
    return true;
}

bool gw_conn_read_head(struct gw_conn *conn)
{
    struct gw_request request;
    const char *why;
    if (!request_skip_empty_lines(conn)) {
        gw_conn_refuse(conn, 400, GW_ERR_BAD_REQUEST, "there is no request (METHOD TARGET HTTP/1.1 expected)");
        return true;
    }
    if (!conn->in.len)
        return false;
    const struct gw_cfg_limits *limits = &gw_conn_config(conn)->limits;
    int head = gw_http_parse(conn->in.data, conn->in.len, limits->header_bytes, &request, &why);
    if (head == 0)
        return false;
    if (head < 0) {
        gw_conn_refuse(conn, -head, GW_ERR_BAD_REQUEST, why);
        return true;
    }
    conn->head_len = (size_t)head;
    conn->empty_lines = 0;
    if (request.content_length > limits->frame_bytes) {
        gw_conn_refuse(conn, 413, GW_ERR_TOO_LARGE, "the body is larger than limits.frame allows");
        return true;
    }
    conn->body_left = request.content_length;
    conn->chunked_body = request.chunked;
    if (!request.chunked && !request.content_length) {
        request_dispatch(conn, &request);
        return true;
    }
    conn->chunked = (struct gw_chunked){0};
    conn->state = GW_CONN_BODY;
    if (request.expect_continue && conn->in.len == conn->head_len)
        gw_outbox_send_one(&conn->sock, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    return true;
}

bool gw_conn_read_body(struct gw_conn *conn)
{
    const char *data = conn->in.data + conn->head_len;
    size_t len = conn->in.len - conn->head_len, taken;
    bool complete;
    if (conn->chunked_body) {
        size_t max = gw_conn_config(conn)->limits.frame_bytes;
        long fed = gw_chunked_feed(&conn->chunked, data, len, max, &conn->body);
        if (fed == -1) {
            gw_conn_refuse(conn, 400, GW_ERR_BAD_REQUEST, "the chunked body is malformed");
            return true;
        }
        if (fed == -2) {
            gw_conn_refuse(conn, 413, GW_ERR_TOO_LARGE, "the body is larger than limits.frame allows");
            return true;
        }
        taken = (size_t)fed;
        complete = conn->chunked.state == GW_CHUNK_DONE;
    } else {
        taken = len < conn->body_left ? len : conn->body_left;
        gw_buf_add(&conn->body, data, taken);
        conn->body_left -= taken;
        complete = !conn->body_left;
    }
    /* The head stays at the front, because the request will point into it. */
    memmove(conn->in.data + conn->head_len, data + taken, len - taken);
    conn->in.len -= taken;
    return complete ? gw_conn_read_again(conn) : false;
}

bool gw_conn_read_again(struct gw_conn *conn)
{
    struct gw_request request;
    const char *why;
    size_t max = gw_conn_config(conn)->limits.header_bytes;
    if (gw_http_parse(conn->in.data, conn->head_len, max + 2, &request, &why) <= 0) {
        gw_conn_refuse(conn, 400, GW_ERR_BAD_REQUEST, why);
        return true;
    }
    request_dispatch(conn, &request);
    return true;
}
