/* conn.c: the life of a connection: from what the socket says to the request, the protocol or the transport that it
 * concerns, one deadline at a time. */
#include "http/conn.h"

#include <stdlib.h>
#include <string.h>

#include "config/protocols.h"
#include "gateway/alloc.h"
#include "gateway/container.h"
#include "http/ticket.h"
#include "net/listener.h"
#include "net/worker.h"

/* How long a connection may take to close after the last answer has left, so that the answer isn't lost to a reset
 * (RFC 9112 section 9.6). */
#define LINGER_MS 2000
/* Thrown away in that time; beyond this the socket is not read. */
#define DRAIN_BYTES (4 * 1024 * 1024)
/* Pipelined requests that wait while one is answered; beyond this the socket isn't read. */
#define PIPELINE_BYTES (64 * 1024)

static const struct gw_sock_ops conn_sock_ops;

/* A long answer, or one with a slow reader, leaves as long as the socket takes some of it before each deadline. */
static bool conn_is_sending(struct gw_conn *conn)
{
    const struct gw_cfg_web *web = &gw_conn_config(conn)->web;
    size_t unsent = gw_outbox_unsent(&conn->sock);
    if ((conn->state != GW_CONN_HEAD && conn->state != GW_CONN_DRAIN) || unsent >= conn->unsent)
        return false;
    if (conn->state == GW_CONN_HEAD)
        gw_conn_deadline(conn, conn->in.len ? web->request_timeout_ms : web->keepalive_ms);
    else
        gw_conn_deadline(conn, unsent ? web->request_timeout_ms : LINGER_MS);
    return true;
}

static void conn_timed_out(struct gw_timer *timer)
{
    struct gw_conn *conn = GW_CONTAINER_OF(timer, struct gw_conn, timer);
    if (gw_conn_dead(conn) || conn_is_sending(conn))
        return;
    if (conn->state == GW_CONN_OTHER && conn->protocol->timed_out)
        conn->protocol->timed_out(conn);
    else if (conn->state == GW_CONN_BODY || (conn->state == GW_CONN_HEAD && conn->in.len))
        gw_conn_refuse(conn, 408, GW_ERR_TIMEOUT, "the request did not arrive in time");
    else
        gw_sock_kill(&conn->sock);
}

struct gw_sock *gw_conn_accept(const struct gw_arrival *arrival)
{
    struct gw_conn *conn = gw_calloc(1, sizeof *conn);
    gw_sock_init(&conn->sock, arrival, &conn_sock_ops);
    conn->address = arrival->origin;
    conn->timer.fire = conn_timed_out;
    if (strcmp(arrival->listener->protocol, GW_PROTOCOL_HTTP) != 0)
        gw_conn_speak(conn, &gw_bytes_protocol, NULL);
    gw_conn_deadline(conn, gw_conn_config(conn)->web.request_timeout_ms);
    return &conn->sock;
}

static void conn_on_closed(struct gw_sock *sock)
{
    struct gw_conn *conn = (struct gw_conn *)sock;
    if (conn->ops) {
        const struct gw_conn_ops *ops = conn->ops;
        conn->ops = NULL;
        ops->closed(conn);
    }
    if (conn->protocol && conn->protocol->closed)
        conn->protocol->closed(conn);
    gw_ticket_forget(conn);
    gw_conn_no_deadline(conn);
    gw_buf_fini(&conn->in);
    gw_buf_fini(&conn->body);
    free(conn->headers);
    free(conn);
}

void gw_conn_deadline(struct gw_conn *conn, int64_t after_ms)
{
    conn->unsent = gw_outbox_unsent(&conn->sock);
    gw_timer_set(&conn->sock.worker->timers, &conn->timer, gw_hub_now(gw_conn_hub(conn)) + after_ms);
}

void gw_conn_no_deadline(struct gw_conn *conn)
{
    gw_timer_cancel(&conn->sock.worker->timers, &conn->timer);
}

void gw_conn_speak(struct gw_conn *conn, const struct gw_conn_protocol *protocol, void *speaker)
{
    conn->state = GW_CONN_OTHER;
    conn->protocol = protocol;
    conn->speaker = speaker;
}

void gw_conn_finish(struct gw_conn *conn)
{
    if (gw_conn_dead(conn))
        return;
    conn->state = GW_CONN_DRAIN;
    gw_buf_fini(&conn->in);
    if (conn->held_back)
        gw_sock_pause(&conn->sock, false);
    conn->held_back = false;
    gw_conn_deadline(conn, LINGER_MS);
    gw_sock_finish(&conn->sock);
}

/* --- input ------------------------------------------------------------------------------------------------------ */

/* What a connection may hold of what it has read, by its state:
 *
 *   HEAD    one request head, limits.header; while answers wait to be read, PIPELINE_BYTES and one read
 *   BODY    a head and one body, limits.frame
 *   BUSY    PIPELINE_BYTES and one read; STREAM likewise
 *   OTHER   what the protocol leaves there: one message, limits.frame, and one read
 *   DRAIN   nothing: input is thrown away, up to DRAIN_BYTES
 *
 * Beyond that the socket is not read, and the peer's window closes. After a FIN there is nothing to read: epoll would
 * report it for ever. */
static bool conn_must_pause(const struct gw_conn *conn)
{
    bool waiting = conn->state == GW_CONN_BUSY || conn->state == GW_CONN_STREAM ||
                   (conn->state == GW_CONN_HEAD && conn->sock.out.blocked);
    return conn->half_closed || conn->held_back || conn->drained > DRAIN_BYTES ||
           (waiting && conn->in.len > PIPELINE_BYTES);
}

void gw_conn_process(struct gw_conn *conn)
{
    if (conn->processing)
        return; /* further up the stack the loop below goes on */
    conn->processing = true;
    bool more = true;
    while (more && !gw_conn_dead(conn)) {
        switch (conn->state) {
        case GW_CONN_HEAD:
            /* A client that doesn't read its answers gets no new ones made. */
            more = !conn->sock.out.blocked && gw_conn_read_head(conn);
            break;
        case GW_CONN_BODY:
            more = gw_conn_read_body(conn);
            break;
        case GW_CONN_AGAIN:
            more = gw_conn_read_again(conn);
            break;
        case GW_CONN_OTHER:
            conn->protocol->process(conn);
            more = false;
            break;
        case GW_CONN_BUSY:
        case GW_CONN_STREAM:
        case GW_CONN_DRAIN:
            more = false;
            break;
        }
    }
    conn->processing = false;
    if (gw_conn_dead(conn))
        return;
    if (conn->half_closed && conn->state == GW_CONN_HEAD && !conn->sock.out.blocked) {
        gw_conn_finish(conn); /* every request that came whole has been answered */
        return;
    }
    gw_sock_pause(&conn->sock, conn_must_pause(conn));
    if (!conn->in.len)
        gw_buf_fini(&conn->in); /* idle connections hold no buffer */
}

static bool conn_on_input(struct gw_sock *sock, const char *data, size_t len)
{
    struct gw_conn *conn = (struct gw_conn *)sock;
    if (gw_conn_dead(conn))
        return false;
    if (conn->state == GW_CONN_DRAIN) {
        conn->drained += len;
        if (conn->drained > DRAIN_BYTES)
            gw_sock_pause(sock, true); /* the deadline ends it */
        return true;
    }
    if (conn->state == GW_CONN_HEAD && !conn->in.len && !sock->paused)
        gw_conn_deadline(conn, gw_conn_config(conn)->web.request_timeout_ms); /* from its first byte */
    GW_STAT_ADD(gw_hub_stats(gw_conn_hub(conn)), bytes_in, len);
    gw_buf_add(&conn->in, data, len);
    gw_conn_process(conn);
    return !gw_conn_dead(conn);
}

/* A FIN may be that of a client that waits for its answer, or of one that is gone. That one's kernel refuses what it
 * is sent, and the connection ends. */
static void conn_probe(struct gw_conn *conn)
{
    static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (conn->ops && conn->ops->probe && conn->half_closed && !conn->sock.out.blocked && !conn->http10)
        gw_outbox_send_one(&conn->sock, interim, sizeof interim - 1);
}

static bool conn_on_eof(struct gw_sock *sock)
{
    struct gw_conn *conn = (struct gw_conn *)sock;
    if (gw_conn_dead(conn))
        return false;
    bool unread = conn->state == GW_CONN_HEAD && sock->out.blocked && conn->in.len;
    if (conn->state != GW_CONN_BUSY && !unread && !(sock->phase == GW_SOCK_FINISHING && sock->out.blocked))
        return false;
    conn->half_closed = true;
    gw_sock_pause(sock, true);
    conn_probe(conn);
    return !gw_conn_dead(conn);
}

static bool conn_on_writable(struct gw_sock *sock)
{
    struct gw_conn *conn = (struct gw_conn *)sock;
    if (conn->state == GW_CONN_OTHER && conn->protocol->writable)
        conn->protocol->writable(conn);
    if (gw_conn_dead(conn) || sock->out.blocked)
        return !gw_conn_dead(conn);
    if (conn->ops && conn->ops->writable)
        conn->ops->writable(conn);
    if (!gw_conn_dead(conn) && !sock->out.blocked && conn->state == GW_CONN_HEAD)
        gw_conn_process(conn);
    return !gw_conn_dead(conn);
}

/* Idle connections close, busy ones after their answer. */
static void conn_on_go_away(struct gw_sock *sock)
{
    struct gw_conn *conn = (struct gw_conn *)sock;
    conn->keep_alive = false;
    if (conn->state == GW_CONN_OTHER && conn->protocol->go_away)
        conn->protocol->go_away(conn);
    else if (conn->state == GW_CONN_OTHER || (conn->state == GW_CONN_HEAD && !conn->in.len))
        gw_conn_finish(conn);
}

static const struct gw_sock_ops conn_sock_ops = {
    .input = conn_on_input,
    .writable = conn_on_writable,
    .eof = conn_on_eof,
    .go_away = conn_on_go_away,
    .closed = conn_on_closed,
};

/* --- for transports --------------------------------------------------------------------------------------------- */

void gw_conn_attach(struct gw_conn *conn, const struct gw_conn_ops *ops, void *context)
{
    conn->ops = ops;
    conn->context = context;
    conn_probe(conn);
}

void *gw_conn_context(const struct gw_conn *conn)
{
    return conn->context;
}

struct gw_hub *gw_conn_hub(const struct gw_conn *conn)
{
    return conn->sock.worker->hub;
}

void gw_conn_send(struct gw_conn *conn, const char *data, size_t len)
{
    gw_outbox_send_one(&conn->sock, data, len);
}

void gw_conn_drain(struct gw_conn *conn, struct gw_session *session, gw_encode encode)
{
    gw_outbox_drain(&conn->sock, session, encode);
}

void gw_conn_send_message(struct gw_conn *conn, struct gw_message *msg, gw_encode encode)
{
    struct gw_item item = {.type = GW_ITEM_MESSAGE, .u.message = msg};
    struct iovec parts[GW_PARTS_MAX];
    size_t count = encode(&item, parts), len = 0;
    for (size_t i = 0; i < count; i++)
        len += parts[i].iov_len;
    gw_outbox_send_message(&conn->sock, msg, encode, 0, len);
}

bool gw_conn_blocked(const struct gw_conn *conn)
{
    return conn->sock.out.blocked;
}

size_t gw_conn_unsent(const struct gw_conn *conn)
{
    return gw_outbox_unsent(&conn->sock);
}

void gw_conn_pause(struct gw_conn *conn, bool pause)
{
    if (gw_conn_dead(conn) || conn->held_back == pause || conn->state == GW_CONN_DRAIN)
        return;
    conn->held_back = pause;
    gw_sock_pause(&conn->sock, conn_must_pause(conn));
    if (!pause)
        gw_conn_process(conn);
}

void gw_conn_heard(struct gw_conn *conn, bool hurry)
{
    struct gw_worker *worker = conn->sock.worker;
    if (hurry || worker->heard == GW_HEARD_NOTHING)
        worker->heard = hurry ? GW_HEARD_HURRY : GW_HEARD_CALM;
}

void gw_conn_close(struct gw_conn *conn)
{
    gw_conn_finish(conn);
}
