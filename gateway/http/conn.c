/* conn.c: the life of a connection: requests in, answers out, one deadline at a time. */
#include "http/conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/log.h"
#include "http/forward.h"
#include "net/server.h"
#include "net/sock.h"

/* How long a connection that has been answered for the last time may take to close, so that the answer isn't lost to
 * a reset (RFC 9112 section 9.6). */
#define LINGER_MS 2000
/* Thrown away in that time; beyond this the socket is not read. */
#define DRAIN_BYTES (4 * 1024 * 1024)
/* Pipelined requests that wait while one is answered; beyond this the socket isn't read. */
#define PIPELINE_BYTES (64 * 1024)
/* Empty lines before a request (RFC 9112 section 2.2 asks to ignore at least one). */
#define EMPTY_LINES_MAX 8

static const struct gw_cfg_web *conn_web(const struct gw_conn *conn)
{
    return &gw_hub_config(conn->worker->hub)->web;
}

static void conn_deadline(struct gw_conn *conn, int64_t after_ms)
{
    gw_timer_set(&conn->worker->timers, &conn->timer, gw_hub_now(conn->worker->hub) + after_ms);
}

static void conn_timed_out(struct gw_timer *timer);

/* What comes once a PROXY header, if there is one, has been read. */
static enum gw_conn_state conn_first_state(const struct gw_listener *listener)
{
    return listener->stream ? GW_CONN_BYTES : GW_CONN_HEAD;
}

struct gw_conn *gw_conn_create(const struct gw_listener *listener, int fd, const struct in6_addr *from,
                               const struct in6_addr *counted, bool trusted)
{
    struct gw_worker *worker = listener->watch.worker;
    struct gw_conn *conn = gw_calloc(1, sizeof *conn);
    conn->worker = worker;
    conn->listener = listener;
    conn->fd = fd;
    conn->peer = *counted;
    conn->origin = conn->address = *from;
    conn->trusted = trusted;
    conn->state = listener->proxy ? GW_CONN_PROXY : conn_first_state(listener);
    conn->timer.fire = conn_timed_out;
    conn->next = worker->conns;
    conn->link = &worker->conns;
    if (conn->next)
        conn->next->link = &conn->next;
    worker->conns = conn;
    GW_STAT_ADD(gw_hub_stats(worker->hub), connections, 1);
    conn_deadline(conn, conn_web(conn)->request_timeout_ms);
    return conn;
}

void gw_conn_on_closed(struct gw_conn *conn)
{
    conn->dead = true;
    if (conn->ops) {
        const struct gw_conn_ops *ops = conn->ops;
        conn->ops = NULL;
        ops->closed(conn);
    }
    gw_timer_cancel(&conn->worker->timers, &conn->timer);
    *conn->link = conn->next;
    if (conn->next)
        conn->next->link = conn->link;
    gw_server_release_address(conn->worker, &conn->peer);
    GW_STAT_ADD(gw_hub_stats(conn->worker->hub), connections, (uint64_t)-1);
    gw_wire_drop(conn);
    gw_buf_fini(&conn->in);
    gw_buf_fini(&conn->out);
    gw_buf_fini(&conn->body);
    free(conn->headers);
    free(conn->ping);
    free(conn);
}

void gw_conn_kill(struct gw_conn *conn)
{
    if (conn->dead)
        return;
    conn->dead = true;
    gw_timer_cancel(&conn->worker->timers, &conn->timer);
    gw_sock_kill(conn);
}

static void conn_shutdown(struct gw_conn *conn)
{
    if (gw_sock_shutdown(conn))
        return;
    conn->blocked = true;
    gw_sock_want_write(conn);
}

void gw_conn_finish(struct gw_conn *conn)
{
    gw_wire_uncork(conn);
    gw_wire_settle(conn);
    if (conn->dead)
        return;
    conn->finish = true;
    conn->state = GW_CONN_DRAIN;
    gw_buf_fini(&conn->in);
    if (conn->held_back)
        gw_sock_pause(conn, false);
    conn->held_back = false;
    conn_deadline(conn, LINGER_MS);
    if (!conn->blocked)
        conn_shutdown(conn);
}

void gw_conn_attach(struct gw_conn *conn, const struct gw_conn_ops *ops, void *context)
{
    conn->ops = ops;
    conn->context = context;
}

void *gw_conn_context(const struct gw_conn *conn)
{
    return conn->context;
}

struct gw_hub *gw_conn_hub(const struct gw_conn *conn)
{
    return conn->worker->hub;
}

/* --- requests ------------------------------------------------------------------------------------------------- */

static void conn_refuse(struct gw_conn *conn, int status, enum gw_err err, const char *why)
{
    GW_STAT_ADD(gw_hub_stats(conn->worker->hub), requests_bad, 1);
    gw_conn_log_bad(conn, status, why);
    conn->keep_alive = false;
    conn->is_head = false;
    conn->state = GW_CONN_BUSY;
    struct gw_buf body;
    gw_buf_init(&body);
    gw_buf_printf(&body, "{\"type\":\"error\",\"code\":\"%s\",\"message\":\"%s\"}", gw_err_code(err), why);
    gw_http_reply(conn, status, NULL, "application/json", body.data, body.len);
    gw_buf_fini(&body);
}

static void conn_timed_out(struct gw_timer *timer)
{
    struct gw_conn *conn = (struct gw_conn *)timer;
    if (conn->state == GW_CONN_WS && !conn->close_sent) {
        gw_ws_heartbeat(conn);
    } else if (conn->state == GW_CONN_BODY || (conn->state == GW_CONN_HEAD && conn->in.len)) {
        conn_refuse(conn, 408, GW_ERR_TIMEOUT, "the request did not arrive in time");
    } else {
        gw_conn_kill(conn);
    }
}

/* Whose request is this? A proxy that keeps its connections has many clients on one. */
static void conn_forwarded(struct gw_conn *conn, const struct gw_request *request)
{
    conn->address = conn->origin;
    conn->secure = conn->tls != NULL || conn->proxy_secure;
    if (!conn->trusted)
        return;
    gw_forward_address(request, &conn_web(conn)->trusted_proxies, &conn->address);
    conn->secure |= gw_forward_secure(request);
}

static void conn_log(const struct gw_conn *conn, const char *what, const char *text, size_t len)
{
    char address[INET6_ADDRSTRLEN] = "unix";
    if (!IN6_IS_ADDR_UNSPECIFIED(&conn->address))
        inet_ntop(AF_INET6, &conn->address, address, sizeof address);
    gw_log(GW_LOG_DEBUG, "web", "%s from %s%s: %.*s", what, address, conn->secure ? " with TLS" : "", (int)len, text);
}

static void conn_dispatch(struct gw_conn *conn, struct gw_request *request)
{
    conn->state = GW_CONN_BUSY;
    conn->is_head = request->method == GW_HEAD;
    conn_forwarded(conn, request);
    if (gw_log_enabled(GW_LOG_DEBUG))
        conn_log(conn, "request", request->path.data,
                 request->path.len); /* without the query: it may hold a ticket */
    conn->keep_alive = request->keep_alive && !conn->worker->stopping;
    gw_timer_cancel(&conn->worker->timers, &conn->timer);
    request->body = (struct gw_slice){conn->body.data ? conn->body.data : "", conn->body.len};
    GW_STAT_ADD(gw_hub_stats(conn->worker->hub), requests, 1);
    if (request->path.len == 1 && *request->path.data == '*') /* RFC 9110 section 9.3.7: may be asked of any server */
        gw_http_reply(conn, 204, "Allow: GET, HEAD, POST, OPTIONS\r\n", NULL, NULL, 0);
    else
        gw_api_dispatch(conn, request);
    gw_wire_uncork(conn);
    if (conn->state == GW_CONN_DRAIN)
        return;
    gw_buf_consume(&conn->in, conn->head_len);
    conn->head_len = 0;
    if (conn->state != GW_CONN_WS)
        gw_buf_fini(&conn->body);
}

/* Takes empty lines off the front, so that they are neither kept nor looked at again. False: too many. */
static bool conn_skip_empty_lines(struct gw_conn *conn)
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

/* False: more input is needed. */
static bool conn_read_head(struct gw_conn *conn)
{
    struct gw_request request;
    const char *why;
    if (!conn_skip_empty_lines(conn)) {
        conn_refuse(conn, 400, GW_ERR_BAD_REQUEST, "there is no request (METHOD TARGET HTTP/1.1 expected)");
        return true;
    }
    if (!conn->in.len)
        return false;
    const struct gw_cfg_limits *limits = &gw_hub_config(conn->worker->hub)->limits;
    int head = gw_http_parse(conn->in.data, conn->in.len, limits->header_bytes, &request, &why);
    if (head == 0)
        return false;
    if (head < 0) {
        conn_refuse(conn, -head, GW_ERR_BAD_REQUEST, why);
        return true;
    }
    conn->head_len = (size_t)head;
    conn->empty_lines = 0;
    if (request.content_length > limits->frame_bytes) {
        conn_refuse(conn, 413, GW_ERR_TOO_LARGE, "the body is larger than limits.frame allows");
        return true;
    }
    conn->body_left = request.content_length;
    conn->chunked_body = request.chunked;
    if (!request.chunked && !request.content_length) {
        conn_dispatch(conn, &request);
        return true;
    }
    conn->chunked = (struct gw_chunked){0};
    conn->state = GW_CONN_BODY;
    if (request.expect_continue && conn->in.len == conn->head_len)
        gw_wire_send_one(conn, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    return true;
}

static bool conn_read_body(struct gw_conn *conn)
{
    const char *data = conn->in.data + conn->head_len;
    size_t len = conn->in.len - conn->head_len, taken;
    bool complete;
    if (conn->chunked_body) {
        size_t max = gw_hub_config(conn->worker->hub)->limits.frame_bytes;
        long fed = gw_chunked_feed(&conn->chunked, data, len, max, &conn->body);
        if (fed == -1) {
            conn_refuse(conn, 400, GW_ERR_BAD_REQUEST, "the chunked body is malformed");
            return true;
        }
        if (fed == -2) {
            conn_refuse(conn, 413, GW_ERR_TOO_LARGE, "the body is larger than limits.frame allows");
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
    if (!complete)
        return false;
    struct gw_request request;
    const char *why;
    size_t max = gw_hub_config(conn->worker->hub)->limits.header_bytes;
    if (gw_http_parse(conn->in.data, conn->head_len, max + 2, &request, &why) <= 0) {
        conn_refuse(conn, 400, GW_ERR_BAD_REQUEST, why);
        return true;
    }
    conn_dispatch(conn, &request);
    return true;
}

/* What a connection may hold of what it has read, by its state:
 *
 *   PROXY   one PROXY header, read by peeking (gw_conn_read_proxy())
 *   HEAD    one request head, limits.header; while answers wait to be read, PIPELINE_BYTES and one read
 *   BODY    a head and one body, limits.frame
 *   BUSY    PIPELINE_BYTES and one read
 *   WS      one message, limits.frame, and one read
 *   BYTES   nothing: the transport takes all of them
 *   DRAIN   nothing: input is thrown away, up to DRAIN_BYTES
 *
 * Beyond that the socket is not read, and the peer's window closes. After a FIN there is nothing to read: epoll would
 * report it for ever. */
static bool conn_must_pause(const struct gw_conn *conn)
{
    bool waiting = conn->state == GW_CONN_BUSY || (conn->state == GW_CONN_HEAD && conn->blocked);
    return conn->half_closed || conn->held_back || conn->drained > DRAIN_BYTES ||
           (waiting && conn->in.len > PIPELINE_BYTES);
}

void gw_conn_process(struct gw_conn *conn)
{
    if (conn->processing)
        return; /* further up the stack the loop below goes on */
    conn->processing = true;
    bool more = true;
    while (more && !conn->dead) {
        switch (conn->state) {
        case GW_CONN_HEAD:
            /* A client that doesn't read its answers gets no new ones made. */
            more = !conn->blocked && conn_read_head(conn);
            break;
        case GW_CONN_BODY:
            more = conn_read_body(conn);
            break;
        case GW_CONN_WS:
            gw_ws_process(conn);
            more = false;
            break;
        case GW_CONN_PROXY: /* gw_conn_read_proxy() has it */
        case GW_CONN_BUSY:
        case GW_CONN_BYTES: /* conn_pass_on() has it */
        case GW_CONN_DRAIN:
            more = false;
            break;
        }
    }
    conn->processing = false;
    if (conn->dead)
        return;
    if (conn->half_closed && conn->state == GW_CONN_HEAD && !conn->blocked) {
        gw_conn_finish(conn); /* every request that came whole has been answered */
        return;
    }
    if (conn_must_pause(conn) != conn->paused)
        gw_sock_pause(conn, !conn->paused);
    if (!conn->in.len)
        gw_buf_fini(&conn->in); /* idle connections hold no buffer */
}

/* Takes the header off the socket and not one byte more: what follows may be a TLS handshake, which is OpenSSL's to
 * read. */
void gw_conn_read_proxy(struct gw_conn *conn)
{
    char peeked[GW_PROXY_HEADER_MAX];
    ssize_t got = recv(conn->fd, peeked, sizeof peeked - conn->in.len, MSG_PEEK | MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (got <= 0) {
        gw_conn_kill(conn);
        return;
    }
    struct gw_proxy_header header;
    size_t before = conn->in.len;
    gw_buf_add(&conn->in, peeked, (size_t)got);
    int len = gw_proxy_parse(conn->in.data, conn->in.len, &header);
    if (len < 0 || (!len && conn->in.len >= sizeof peeked)) {
        GW_STAT_ADD(gw_hub_stats(conn->worker->hub), requests_bad, 1);
        GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "web", "%s: a connection without a PROXY header was closed",
                             conn->listener->address);
        gw_conn_kill(conn);
        return;
    }
    if (recv(conn->fd, peeked, len ? (size_t)len - before : (size_t)got, MSG_DONTWAIT) < 0 || !len)
        return;
    gw_buf_fini(&conn->in);
    conn->state = conn_first_state(conn->listener);
    conn->proxy_secure = header.secure;
    if (header.has_address) {
        conn->origin = conn->address = header.address;
        conn->trusted = gw_forward_trusted(&conn_web(conn)->trusted_proxies, &header.address);
        if (!conn->trusted && !gw_listener_count(conn))
            return;
    }
    if (conn->listener->tls && !gw_sock_start_tls(conn))
        gw_conn_kill(conn);
}

/* Bytes of a connection that speaks no HTTP. */
static void conn_pass_on(struct gw_conn *conn, const char *data, size_t len)
{
    if (!conn->ops) {
        const struct gw_transport *stream = conn->listener->stream;
        conn->address = conn->origin;
        conn->secure = conn->tls != NULL || conn->proxy_secure;
        if (gw_log_enabled(GW_LOG_DEBUG))
            conn_log(conn, "connection", stream->stream_protocol, strlen(stream->stream_protocol));
        gw_timer_cancel(&conn->worker->timers, &conn->timer);
        stream->accept(conn);
        if (!conn->dead && conn->state == GW_CONN_BYTES && !conn->ops)
            gw_conn_kill(conn);
    }
    if (!conn->dead && conn->state == GW_CONN_BYTES && conn->ops->input)
        conn->ops->input(conn, data, len);
}

bool gw_conn_on_input(struct gw_conn *conn, const char *data, size_t len)
{
    if (conn->dead)
        return false;
    if (conn->state == GW_CONN_DRAIN) {
        conn->drained += len;
        if (conn->drained > DRAIN_BYTES && !conn->paused)
            gw_sock_pause(conn, true); /* the deadline ends it */
        return true;
    }
    if (conn->state == GW_CONN_HEAD && !conn->in.len && !conn->paused)
        conn_deadline(conn, conn_web(conn)->request_timeout_ms); /* from its first byte */
    conn->heard_ms = gw_hub_now(conn->worker->hub);
    GW_STAT_ADD(gw_hub_stats(conn->worker->hub), bytes_in, len);
    if (conn->state == GW_CONN_BYTES) {
        conn_pass_on(conn, data, len);
        return !conn->dead;
    }
    gw_buf_add(&conn->in, data, len);
    gw_conn_process(conn);
    return !conn->dead;
}

bool gw_conn_on_eof(struct gw_conn *conn)
{
    if (conn->dead)
        return false;
    bool unread = conn->state == GW_CONN_HEAD && conn->blocked && conn->in.len;
    if ((conn->state != GW_CONN_BUSY || conn->streaming) && !unread && !(conn->finish && conn->blocked))
        return false;
    conn->half_closed = true;
    if (!conn->paused)
        gw_sock_pause(conn, true);
    return true;
}

bool gw_conn_on_writable(struct gw_conn *conn)
{
    if (conn->dead || !gw_wire_flush(conn))
        return false;
    if (conn->blocked)
        return true;
    if (conn->finish) {
        conn_shutdown(conn);
        return true;
    }
    gw_ws_on_writable(conn);
    if (conn->dead || conn->blocked)
        return !conn->dead;
    if (conn->ops && conn->ops->writable)
        conn->ops->writable(conn);
    if (!conn->dead && !conn->blocked && conn->state == GW_CONN_HEAD)
        gw_conn_process(conn);
    return !conn->dead;
}

/* --- answers -------------------------------------------------------------------------------------------------- */

void gw_http_reply(struct gw_conn *conn, int status, const char *headers, const char *type, const char *body,
                   size_t len)
{
    if (conn->dead)
        return;
    conn->ops = NULL;
    conn->context = NULL;
    struct gw_buf head;
    gw_buf_init(&head);
    bool cached = headers && !strncmp(headers, "Cache-Control:", 14);
    gw_buf_printf(&head, "HTTP/1.1 %d %s\r\nServer: sluice\r\n%s", status, gw_http_reason(status),
                  cached ? "" : "Cache-Control: no-store\r\n");
    if (headers)
        gw_buf_adds(&head, headers);
    if (conn->headers)
        gw_buf_adds(&head, conn->headers);
    free(conn->headers);
    conn->headers = NULL;
    if (type)
        gw_buf_printf(&head, "Content-Type: %s\r\nX-Content-Type-Options: nosniff\r\n", type);
    if (status != 204 && status != 304)
        gw_buf_printf(&head, "Content-Length: %zu\r\n", len);
    gw_buf_adds(&head, conn->keep_alive ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n");
    struct iovec parts[2] = {{head.data, head.len}, {(void *)(uintptr_t)body, len}};
    gw_wire_send(conn, parts, len && !conn->is_head ? 2 : 1);
    gw_buf_fini(&head);
    if (conn->dead)
        return;
    if (!conn->keep_alive) {
        gw_conn_finish(conn);
        return;
    }
    conn->state = GW_CONN_HEAD;
    conn_deadline(conn, conn_web(conn)->keepalive_ms);
    gw_conn_process(conn);
}

void gw_http_error_headers(struct gw_conn *conn, enum gw_err err, const char *message, const char *headers)
{
    struct gw_buf body;
    gw_buf_init(&body);
    if (!message)
        message = gw_err_text(err);
    gw_buf_printf(&body, "{\"type\":\"error\",\"code\":\"%s\",\"message\":", gw_err_code(err));
    gw_buf_add_json_string(&body, message, strlen(message));
    gw_buf_addc(&body, '}');
    gw_http_reply(conn, gw_err_status(err), headers, "application/json", body.data, body.len);
    gw_buf_fini(&body);
}

void gw_http_error(struct gw_conn *conn, enum gw_err err, const char *message)
{
    int status = gw_err_status(err);
    gw_http_error_headers(conn, err, message, status == 503 || status == 429 ? "Retry-After: 1\r\n" : NULL);
}

void gw_http_stream(struct gw_conn *conn, const char *headers, const char *type, const struct gw_conn_ops *ops,
                    void *context)
{
    struct gw_buf head;
    gw_buf_init(&head);
    conn->streaming = true;
    conn->keep_alive = false; /* the end of the connection is the end of the body (RFC 9112 section 6.3) */
    gw_buf_printf(&head,
                  "HTTP/1.1 200 OK\r\nServer: sluice\r\nCache-Control: no-store, no-transform\r\nContent-Type: %s\r\n"
                  "X-Content-Type-Options: nosniff\r\n%s%sConnection: close\r\n\r\n",
                  type, headers ? headers : "", conn->headers ? conn->headers : "");
    free(conn->headers);
    conn->headers = NULL;
    gw_conn_attach(conn, ops, context);
    gw_wire_send_one(conn, head.data, head.len);
    gw_buf_fini(&head);
}

void gw_conn_send(struct gw_conn *conn, const char *data, size_t len)
{
    gw_wire_send_one(conn, data, len);
}

bool gw_conn_blocked(const struct gw_conn *conn)
{
    return conn->blocked;
}

void gw_conn_pause(struct gw_conn *conn, bool pause)
{
    if (conn->dead || conn->held_back == pause || conn->state == GW_CONN_DRAIN)
        return;
    conn->held_back = pause;
    if (conn->paused != conn_must_pause(conn))
        gw_sock_pause(conn, !conn->paused);
    conn->heard_ms = gw_hub_now(conn->worker->hub);
    if (!pause && conn->in.len)
        gw_conn_process(conn);
}

void gw_conn_close(struct gw_conn *conn)
{
    gw_conn_finish(conn);
}

void gw_conn_go_away(struct gw_conn *conn)
{
    if (conn->dead)
        return;
    conn->keep_alive = false;
    if (conn->state == GW_CONN_WS)
        gw_ws_close(conn, 1001, "going_away: the gateway is shutting down");
    else if (conn->state == GW_CONN_BYTES || (conn->state == GW_CONN_HEAD && !conn->in.len))
        gw_conn_finish(conn);
}
