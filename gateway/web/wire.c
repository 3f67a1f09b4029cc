/* wire.c: the fast path: frames that are ready to go, handed to the kernel many at a time.
 *
 * Invariants:
 *  1. Octets leave in the order of the calls. While `out` holds anything, everything new goes behind it.
 *  2. blocked is true from the moment the socket takes less than it was given until a writable callback found `out`
 *     empty; while it is true gw_conn_drain() takes nothing from the session, so what waits stays in the session's
 *     bounded queue, and `out` holds at most one batch.
 *  3. Nothing waits for more: a batch is whatever the queue holds now, so a single message goes at once, and joining
 *     happens only when several are there anyway.
 *
 * The octets go to the socket by sendmsg(2) and never through libwebsockets' own output list: while that list holds
 * something, libwebsockets does not read the socket but is woken by it again and again. */
#include <errno.h>
#include <libwebsockets.h>
#include <sys/socket.h>

#include "web/conn.h"
#include "web/server.h"

#define BATCH_ITEMS 64
#define BATCH_BYTES (256 * 1024)

static void wire_block(struct gw_conn *conn)
{
    conn->blocked = true;
    lws_callback_on_writable(conn->wsi);
}

static void wire_keep(struct gw_conn *conn, const struct iovec *parts, size_t count, size_t sent)
{
    for (size_t i = 0; i < count; i++) {
        size_t skip = sent < parts[i].iov_len ? sent : parts[i].iov_len;
        gw_buf_add(&conn->out, (const char *)parts[i].iov_base + skip, parts[i].iov_len - skip);
        sent -= skip;
    }
}

void gw_wire_send(struct gw_conn *conn, struct iovec *parts, size_t count)
{
    if (conn->dead)
        return;
    size_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += parts[i].iov_len;
    GW_STAT_ADD(gw_hub_stats(conn->worker->hub), bytes_out, total);
    if (conn->out.len) {
        wire_keep(conn, parts, count, 0);
        return;
    }
    struct msghdr header = {.msg_iov = parts, .msg_iovlen = count};
    ssize_t sent;
    do
        sent = sendmsg(conn->fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    if (sent < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK) {
            gw_conn_kill(conn);
            return;
        }
        sent = 0;
    }
    if ((size_t)sent < total) {
        wire_keep(conn, parts, count, (size_t)sent);
        wire_block(conn);
    }
}

void gw_wire_send_one(struct gw_conn *conn, const void *data, size_t len)
{
    struct iovec part = {(void *)(uintptr_t)data, len};
    gw_wire_send(conn, &part, 1);
}

bool gw_wire_flush(struct gw_conn *conn)
{
    while (conn->out_at < conn->out.len) {
        ssize_t sent = send(conn->fd, conn->out.data + conn->out_at, conn->out.len - conn->out_at,
                            MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            wire_block(conn);
            return true;
        }
        if (sent < 0)
            return false;
        conn->out_at += (size_t)sent;
    }
    gw_buf_fini(&conn->out);
    conn->out_at = 0;
    conn->blocked = false;
    return true;
}

void gw_conn_drain(struct gw_conn *conn, struct gw_session *session, gw_encode encode)
{
    struct gw_item items[BATCH_ITEMS];
    struct iovec parts[BATCH_ITEMS * GW_PARTS_MAX];

    while (!conn->blocked && !conn->dead && !conn->close_sent) {
        size_t count = 0, part_count = 0, bytes = 0;
        while (count < BATCH_ITEMS && bytes < BATCH_BYTES && gw_session_next(session, &items[count])) {
            size_t added = encode(session, &items[count], parts + part_count);
            for (size_t i = 0; i < added; i++)
                bytes += parts[part_count + i].iov_len;
            part_count += added;
            count++;
        }
        if (part_count)
            gw_wire_send(conn, parts, part_count);
        for (size_t i = 0; i < count; i++)
            gw_item_release(&items[i]);
        if (!count)
            return;
    }
}
