/* wire.c: the fast path: frames that are ready to go, handed to the kernel many at a time.
 *
 * Invariants:
 *  1. Bytes leave in the order of the calls. While `out` holds anything, everything new goes behind it; while a
 * connection is corked, which it is only within the handling of one request and for one batch at most, everything
 * goes there.
 *  2. blocked is true from the moment the socket takes less than it was given until a writable callback found `out`
 *     empty; while it is true gw_conn_drain() takes nothing from the session, so what waits stays in the session's
 *     bounded queue, and `out` holds at most one batch.
 *  3. Nothing waits for more: a batch is whatever the queue holds now, so a single message goes at once, and joining
 *     happens only when several are there anyway. In the turn of the loop that hands messages to sessions
 * (`joining`), sends are collected in the ring and leave when it is full, or the turn is over, or
 * the same connection has more: `queued` means that its bytes are in there, and that blocked and `out` are not known
 * yet.
 *  4. What a socket did not take is given to it again unchanged and from the same place, with or without more behind
 * it. With TLS a part of it may be encrypted already: that waits in tls_conn.c and leaves before what `out` holds.
 *     A message of HELD_BYTES or more that a plain socket took in part is not copied: the connection holds the item
 * (struct gw_held) and sends the rest from where it lies. It leaves before what `out` holds.
 *  5. Sessions that are drained one after the other mostly have the same messages waiting. So a batch of small ones
 * is joined once, and kept (struct batch) for the next session that has exactly these messages and the same encode(),
 * whatever the transport: its bytes depend on nothing else. It keeps its messages alive, so that their addresses say
 * which they are, until another batch takes its place or a turn ends: at most BATCH_ITEMS of them in each of PLACES.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "http/conn.h"
#include "net/ring.h"
#include "net/server.h"
#include "net/sock.h"
#include "net/tls.h"

#define BATCH_ITEMS 64
#define BATCH_BYTES (256 * 1024)
/* Up to here copying is cheaper than an array of parts: send(2) of one piece and the copy against sendmsg(2)
 * (docs/benchmarks/optimisation.md). Batches, which others may have a use for too, may be longer. */
#define JOIN_BYTES       (16 * 1024)
#define JOIN_PART_BYTES  3072
#define BATCH_JOIN_BYTES (64 * 1024)
/* From here on a reference costs less than a copy. */
#define HELD_BYTES (32 * 1024)

/* A session's first batches of a drain have a place each, the last of these is for all that follow. */
#define PLACES 4

struct batch {
    gw_encode encode;
    unsigned count;  /* 0: it holds nothing */
    unsigned takers; /* whose references to the messages are ours now, to be given back all at once */
    size_t len;
    struct gw_message *messages[BATCH_ITEMS];
    char bytes[BATCH_JOIN_BYTES];
};

/* An item of which `sent` bytes have left. encode() gives the same bytes again. */
struct gw_held {
    struct gw_item item;
    gw_encode encode;
    size_t sent;
};

struct gw_batches {
    struct batch places[PLACES];
};

static void wire_block(struct gw_conn *conn)
{
    conn->blocked = true;
    gw_sock_want_write(conn);
}

static void wire_keep(struct gw_conn *conn, const struct iovec *parts, size_t count, size_t sent)
{
    for (size_t i = 0; i < count; i++) {
        size_t skip = sent < parts[i].iov_len ? sent : parts[i].iov_len;
        gw_buf_add(&conn->out, (const char *)parts[i].iov_base + skip, parts[i].iov_len - skip);
        sent -= skip;
    }
}

static size_t wire_total(const struct iovec *parts, size_t count)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += parts[i].iov_len;
    return total;
}

static bool wire_joins(size_t count, size_t total, size_t most)
{
    return count > 1 && total <= most && total <= count * JOIN_PART_BYTES;
}

static void wire_join(const struct iovec *parts, size_t count, char *to)
{
    for (size_t i = 0; i < count; i++)
        to = mempcpy(to, parts[i].iov_base, parts[i].iov_len);
}

void gw_wire_sent(struct gw_conn *conn, const char *data, size_t len, ssize_t sent)
{
    if (conn->dead)
        return;
    if (sent < 0 && sent != -EAGAIN && sent != -EWOULDBLOCK && sent != -EINTR) {
        gw_conn_kill(conn);
        return;
    }
    size_t taken = sent > 0 ? (size_t)sent : 0;
    if (taken < len) {
        if (conn->tls) /* encrypted already */
            gw_tls_keep(conn, data + taken, len - taken);
        else
            gw_buf_add(&conn->out, data + taken, len - taken);
        wire_block(conn);
    }
}

void gw_wire_settle(struct gw_conn *conn)
{
    if (conn->queued)
        gw_ring_submit(conn->worker->ring);
}

void gw_wire_cork(struct gw_conn *conn)
{
    conn->corked = true;
}

void gw_wire_uncork(struct gw_conn *conn)
{
    if (!conn->corked)
        return;
    conn->corked = false;
    if (!conn->dead && !conn->blocked && conn->out.len && !gw_wire_flush(conn))
        gw_conn_kill(conn);
}

static void wire_send(struct gw_conn *conn, struct iovec *parts, size_t count, size_t total)
{
    gw_wire_settle(conn);
    if (conn->dead)
        return;
    GW_STAT_ADD(gw_hub_stats(conn->worker->hub), bytes_out, total);
    if (conn->out.len || conn->held || conn->corked) {
        wire_keep(conn, parts, count, 0);
        return;
    }
    if (conn->worker->joining && !conn->tls && gw_ring_add(conn->worker->ring, conn, parts, count, total))
        return;
    ssize_t sent = gw_sock_send(conn, parts, count);
    if (sent < 0) {
        gw_conn_kill(conn);
        return;
    }
    if ((size_t)sent < total || (conn->tls && gw_tls_waiting(conn))) {
        wire_keep(conn, parts, count, (size_t)sent);
        wire_block(conn);
    }
}

void gw_wire_send_one(struct gw_conn *conn, const void *data, size_t len)
{
    struct iovec part = {(void *)(uintptr_t)data, len};
    wire_send(conn, &part, 1, len);
}

void gw_wire_send(struct gw_conn *conn, struct iovec *parts, size_t count)
{
    size_t total = wire_total(parts, count);
    char joined[JOIN_BYTES];
    if (wire_joins(count, total, JOIN_BYTES)) {
        wire_join(parts, count, joined);
        gw_wire_send_one(conn, joined, total);
    } else {
        wire_send(conn, parts, count, total);
    }
}

/* Leaves out the first `skip` bytes; returns the part from which on there is anything. */
static size_t wire_skip(struct iovec *parts, size_t count, size_t skip)
{
    size_t i = 0;
    while (i < count && skip >= parts[i].iov_len)
        skip -= parts[i++].iov_len;
    if (i < count) {
        parts[i].iov_base = (char *)parts[i].iov_base + skip;
        parts[i].iov_len -= skip;
    }
    return i;
}

void gw_wire_drop(struct gw_conn *conn)
{
    if (conn->held)
        gw_item_release(&conn->held->item);
    free(conn->held);
    conn->held = NULL;
}

/* Sends what is left of the held item. False: the socket takes no more, or is broken (*broken). */
static bool wire_flush_held(struct gw_conn *conn, bool *broken)
{
    struct gw_held *held = conn->held;
    struct iovec parts[GW_PARTS_MAX];
    size_t count = held->encode(&held->item, parts), total = wire_total(parts, count);
    size_t first = wire_skip(parts, count, held->sent);
    ssize_t sent = gw_sock_send(conn, parts + first, count - first);
    *broken = sent < 0;
    if (sent < 0)
        return false;
    held->sent += (size_t)sent;
    if (held->sent < total)
        return false;
    gw_wire_drop(conn);
    return true;
}

bool gw_wire_flush(struct gw_conn *conn)
{
    bool broken;
    if (conn->held && !wire_flush_held(conn, &broken)) {
        wire_block(conn);
        return !broken;
    }
    while (conn->out_at < conn->out.len) {
        struct iovec rest = {conn->out.data + conn->out_at, conn->out.len - conn->out_at};
        ssize_t sent = gw_sock_send(conn, &rest, 1);
        if (sent < 0)
            return false;
        if (!sent) {
            wire_block(conn);
            return true;
        }
        conn->out_at += (size_t)sent;
    }
    gw_buf_fini(&conn->out);
    conn->out_at = 0;
    if (conn->tls && !gw_tls_flush(conn))
        return false;
    conn->blocked = conn->tls && gw_tls_waiting(conn);
    if (conn->blocked)
        gw_sock_want_write(conn);
    return true;
}

/* --- batches --------------------------------------------------------------------------------------------------- */

struct gw_batches *gw_batches_create(void)
{
    return gw_calloc(1, sizeof(struct gw_batches));
}

static void batch_forget(struct batch *batch)
{
    for (unsigned i = 0; i < batch->count; i++)
        gw_message_unref_many(batch->messages[i], batch->takers);
    batch->count = 0;
}

void gw_batches_forget(struct gw_batches *batches)
{
    for (size_t i = 0; i < PLACES; i++)
        batch_forget(&batches->places[i]);
}

void gw_batches_destroy(struct gw_batches *batches)
{
    if (batches)
        gw_batches_forget(batches);
    free(batches);
}

static bool batch_is(const struct batch *batch, const struct gw_item *items, size_t count, gw_encode encode)
{
    if (batch->count != count || batch->encode != encode)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (items[i].type != GW_ITEM_MESSAGE || items[i].u.message != batch->messages[i])
            return false;
    }
    return true;
}

/* Takes the items' references if it can hold them: messages only, and small. */
static bool batch_fill(struct batch *batch, const struct gw_item *items, size_t count, gw_encode encode,
                       const struct iovec *parts, size_t part_count)
{
    size_t total = wire_total(parts, part_count);
    if (!wire_joins(part_count, total, BATCH_JOIN_BYTES))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (items[i].type != GW_ITEM_MESSAGE)
            return false;
    }
    batch_forget(batch);
    for (size_t i = 0; i < count; i++)
        batch->messages[i] = items[i].u.message;
    wire_join(parts, part_count, batch->bytes);
    batch->encode = encode;
    batch->count = (unsigned)count;
    batch->takers = 1;
    batch->len = total;
    return true;
}

/* Sends a large item without a copy of what the socket does not take. False: it is none, or something is to leave
 * before it. True: the item's reference is taken. */
static bool wire_send_held(struct gw_conn *conn, struct gw_item *item, const struct iovec *parts, size_t count,
                           gw_encode encode)
{
    size_t total = wire_total(parts, count);
    if (total < HELD_BYTES || conn->corked)
        return false;
    gw_wire_settle(conn);
    if (conn->dead || conn->out.len || conn->held)
        return false;
    GW_STAT_ADD(gw_hub_stats(conn->worker->hub), bytes_out, total);
    conn->held = gw_malloc(sizeof *conn->held);
    *conn->held = (struct gw_held){.item = *item, .encode = encode};
    bool broken = false;
    if (wire_flush_held(conn, &broken))
        return true;
    if (broken)
        gw_conn_kill(conn);
    else
        wire_block(conn);
    return true;
}

static void wire_send_items(struct gw_conn *conn, struct gw_session *session, struct batch *batch,
                            struct gw_item *items, size_t count, gw_encode encode)
{
    struct iovec parts[BATCH_ITEMS * GW_PARTS_MAX];
    size_t part_count = 0;
    for (size_t i = 0; i < count; i++)
        part_count += encode(&items[i], parts + part_count);
    if (batch_fill(batch, items, count, encode, parts, part_count)) {
        gw_wire_send_one(conn, batch->bytes, batch->len);
        return;
    }
    if (count == 1 && !conn->tls && wire_send_held(conn, items, parts, part_count, encode))
        return;
    if (part_count)
        gw_wire_send(conn, parts, part_count);
    for (size_t i = 0; i < count; i++)
        gw_session_release(session, &items[i]);
}

void gw_conn_drain(struct gw_conn *conn, struct gw_session *session, gw_encode encode)
{
    struct gw_item items[BATCH_ITEMS];
    struct batch *batch = conn->worker->batches->places, *last = batch + PLACES - 1;
    while (!conn->blocked && !conn->dead && !conn->close_sent) {
        size_t count = gw_session_next_batch(session, items, BATCH_ITEMS, BATCH_BYTES);
        if (!count)
            break;
        if (batch_is(batch, items, count, encode)) {
            batch->takers++;
            gw_wire_send_one(conn, batch->bytes, batch->len);
        } else {
            wire_send_items(conn, session, batch, items, count, encode);
        }
        gw_wire_uncork(conn); /* no more than one batch gathers */
        if (!gw_session_waiting(session))
            return;
        batch += batch < last;
    }
    gw_wire_uncork(conn);
}
