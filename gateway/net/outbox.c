/* outbox.c: the fast path: frames that are ready to go, handed to the kernel many at a time.
 *
 * Invariants:
 *  1. Bytes leave in the order of the calls. While `rest` holds anything, everything new goes behind it; while a
 * connection is corked, which it is only within the handling of one request and for one batch at most, everything
 * goes there.
 *  2. blocked is true from the moment the socket takes less than it was given until a writable callback found `rest`
 *     empty; while it is true gw_outbox_drain() takes nothing from the session, so what waits stays in the session's
 *     bounded queue, and `rest` holds at most one batch.
 *  3. Nothing waits for more: a batch is whatever the queue holds now, so a single message goes at once, and joining
 *     happens only when several are there anyway. In the turn of the loop that hands messages to sessions
 * (`joining`), sends are collected in the ring and leave when it is full, or the turn is over, or
 * the same connection has more: `queued` means that its bytes are in there, and that blocked and `rest` are not known
 * yet.
 *  4. What a socket did not take is given to it again unchanged and from the same place, with or without more behind
 * it. With TLS a part of it may be encrypted already: that waits in tls_conn.c and leaves before what `rest` holds.
 *     A message of HELD_BYTES or more that a socket took in part is not copied: the connection holds the item
 * (struct gw_held) and sends the rest from where it lies. It leaves before what `rest` holds.
 *  5. Sessions that are drained one after the other mostly have the same messages waiting. So a batch of small ones
 * is joined once, and kept (struct batch) for the next session that has exactly these messages and the same encode(),
 * whatever the transport: its bytes depend on nothing else. It keeps its messages alive, so that their addresses say
 * which they are, until another batch takes its place or a turn ends: at most BATCH_ITEMS of them in each of PLACES.
 */
#include "net/outbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "gateway/alloc.h"
#include "gateway/hub.h"
#include "net/ring.h"
#include "net/sock.h"
#include "net/tls.h"
#include "net/worker.h"

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

/* An item of which the bytes up to `sent` have left, and those from `end` on are not to. encode() gives the same
 * bytes again. */
struct gw_held {
    struct gw_item item;
    gw_encode encode;
    size_t sent, end;
};

struct gw_batches {
    struct batch places[PLACES];
};

static void outbox_keep(struct gw_sock *sock, const struct iovec *parts, size_t count, size_t sent)
{
    for (size_t i = 0; i < count; i++) {
        size_t skip = sent < parts[i].iov_len ? sent : parts[i].iov_len;
        gw_buf_add(&sock->out.rest, (const char *)parts[i].iov_base + skip, parts[i].iov_len - skip);
        sent -= skip;
    }
}

static size_t outbox_total(const struct iovec *parts, size_t count)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += parts[i].iov_len;
    return total;
}

static bool outbox_joins(size_t count, size_t total, size_t most)
{
    return count > 1 && total <= most && total <= count * JOIN_PART_BYTES;
}

static void outbox_join(const struct iovec *parts, size_t count, char *to)
{
    for (size_t i = 0; i < count; i++)
        to = mempcpy(to, parts[i].iov_base, parts[i].iov_len);
}

void gw_outbox_sent(struct gw_sock *sock, const char *data, size_t len, ssize_t sent)
{
    if (gw_sock_dead(sock))
        return;
    if (sent < 0 && sent != -EAGAIN && sent != -EWOULDBLOCK && sent != -EINTR) {
        gw_sock_kill(sock);
        return;
    }
    size_t taken = sent > 0 ? (size_t)sent : 0;
    if (taken < len) {
        if (sock->tls) /* encrypted already */
            gw_tls_keep(sock, data + taken, len - taken);
        else
            gw_buf_add(&sock->out.rest, data + taken, len - taken);
        gw_sock_block(sock);
    }
}

void gw_outbox_settle(struct gw_sock *sock)
{
    if (sock->out.queued)
        gw_ring_submit(sock->worker->ring);
}

void gw_outbox_cork(struct gw_sock *sock)
{
    sock->out.corked = true;
}

void gw_outbox_uncork(struct gw_sock *sock)
{
    if (!sock->out.corked)
        return;
    sock->out.corked = false;
    if (!gw_sock_dead(sock) && !sock->out.blocked && sock->out.rest.len && !gw_outbox_flush(sock))
        gw_sock_kill(sock);
}

static void outbox_send(struct gw_sock *sock, struct iovec *parts, size_t count, size_t total)
{
    if (sock->out.queued) /* asked here as well: most have nothing in the ring, and a call costs each delivery */
        gw_outbox_settle(sock);
    if (gw_sock_dead(sock))
        return;
    GW_STAT_ADD(gw_hub_stats(sock->worker->hub), bytes_out, total);
    if (sock->out.rest.len || sock->out.held || sock->out.corked) {
        outbox_keep(sock, parts, count, 0);
        return;
    }
    if (sock->worker->joining && !sock->tls && gw_ring_add(sock->worker->ring, sock, parts, count, total))
        return;
    ssize_t sent = gw_sock_send(sock, parts, count);
    if (sent < 0) {
        gw_sock_kill(sock);
        return;
    }
    if ((size_t)sent < total || (sock->tls && gw_tls_waiting(sock))) {
        outbox_keep(sock, parts, count, (size_t)sent);
        gw_sock_block(sock);
    }
}

void gw_outbox_send_one(struct gw_sock *sock, const void *data, size_t len)
{
    struct iovec part = {(void *)(uintptr_t)data, len};
    outbox_send(sock, &part, 1, len);
}

void gw_outbox_send(struct gw_sock *sock, struct iovec *parts, size_t count)
{
    size_t total = outbox_total(parts, count);
    char joined[JOIN_BYTES];
    if (outbox_joins(count, total, JOIN_BYTES)) {
        outbox_join(parts, count, joined);
        gw_outbox_send_one(sock, joined, total);
    } else {
        outbox_send(sock, parts, count, total);
    }
}

/* Leaves out what is behind the first `most` bytes; returns how many parts there are then. */
static size_t outbox_cut(struct iovec *parts, size_t count, size_t most)
{
    size_t i = 0;
    for (; i < count && most; i++) {
        if (parts[i].iov_len > most)
            parts[i].iov_len = most;
        most -= parts[i].iov_len;
    }
    return i;
}

/* Leaves out the first `skip` bytes; returns the part from which on there is anything. */
static size_t outbox_skip(struct iovec *parts, size_t count, size_t skip)
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

static void outbox_drop_held(struct gw_sock *sock)
{
    if (sock->out.held)
        gw_item_release(&sock->out.held->item);
    free(sock->out.held);
    sock->out.held = NULL;
}

/* Sends what is left of the held item. False: the socket takes no more, or is broken (*broken). */
static bool outbox_flush_held(struct gw_sock *sock, bool *broken)
{
    struct gw_held *held = sock->out.held;
    struct iovec parts[GW_PARTS_MAX];
    size_t count = outbox_cut(parts, held->encode(&held->item, parts), held->end);
    size_t first = outbox_skip(parts, count, held->sent);
    ssize_t sent = gw_sock_send(sock, parts + first, count - first);
    *broken = sent < 0;
    if (sent < 0)
        return false;
    held->sent += (size_t)sent;
    if (held->sent < held->end)
        return false;
    outbox_drop_held(sock);
    return true;
}

void gw_outbox_fini(struct gw_sock *sock)
{
    outbox_drop_held(sock);
    gw_buf_fini(&sock->out.rest);
}

bool gw_outbox_flush(struct gw_sock *sock)
{
    bool broken;
    if (sock->out.held && !outbox_flush_held(sock, &broken)) {
        gw_sock_block(sock);
        return !broken;
    }
    while (sock->out.rest_at < sock->out.rest.len) {
        struct iovec rest = {sock->out.rest.data + sock->out.rest_at, sock->out.rest.len - sock->out.rest_at};
        ssize_t sent = gw_sock_send(sock, &rest, 1);
        if (sent < 0)
            return false;
        if (!sent) {
            gw_sock_block(sock);
            return true;
        }
        sock->out.rest_at += (size_t)sent;
    }
    gw_buf_fini(&sock->out.rest);
    sock->out.rest_at = 0;
    if (sock->tls && !gw_tls_flush(sock))
        return false;
    sock->out.blocked = false;
    if (sock->tls && gw_tls_waiting(sock))
        gw_sock_block(sock);
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
    size_t total = outbox_total(parts, part_count);
    if (!outbox_joins(part_count, total, BATCH_JOIN_BYTES))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (items[i].type != GW_ITEM_MESSAGE)
            return false;
    }
    batch_forget(batch);
    for (size_t i = 0; i < count; i++)
        batch->messages[i] = items[i].u.message;
    outbox_join(parts, part_count, batch->bytes);
    batch->encode = encode;
    batch->count = (unsigned)count;
    batch->takers = 1;
    batch->len = total;
    return true;
}

/* Sends a large item, from one of its bytes to another, without a copy of what the socket does not take. False: it is
 * none, or something is to leave before it. True: the item's reference is taken. */
static bool outbox_send_held(struct gw_sock *sock, struct gw_item *item, size_t from, size_t end, gw_encode encode)
{
    if (end - from < HELD_BYTES || sock->out.corked)
        return false;
    gw_outbox_settle(sock);
    if (gw_sock_dead(sock) || sock->out.rest.len || sock->out.held)
        return false;
    GW_STAT_ADD(gw_hub_stats(sock->worker->hub), bytes_out, end - from);
    sock->out.held = gw_malloc(sizeof *sock->out.held);
    *sock->out.held = (struct gw_held){.item = *item, .encode = encode, .sent = from, .end = end};
    bool broken = false;
    bool left = outbox_flush_held(sock, &broken);
    if (broken)
        gw_sock_kill(sock);
    else if (!left || (sock->tls && gw_tls_waiting(sock)))
        gw_sock_block(sock);
    return true;
}

void gw_outbox_send_message(struct gw_sock *sock, struct gw_message *msg, gw_encode encode, size_t from, size_t len)
{
    struct gw_item item = {.type = GW_ITEM_MESSAGE, .u.message = gw_message_ref(msg)};
    struct iovec parts[GW_PARTS_MAX];
    if (outbox_send_held(sock, &item, from, from + len, encode))
        return;
    size_t count = outbox_cut(parts, encode(&item, parts), from + len), first = outbox_skip(parts, count, from);
    if (first < count)
        gw_outbox_send(sock, parts + first, count - first);
    gw_item_release(&item);
}

/* The kernel asks for more only when a third of its buffer, a megabyte perhaps, is free again: whether a slow reader
 * reads can be seen from what is in there. */
size_t gw_outbox_unsent(const struct gw_sock *sock)
{
    const struct gw_held *held = sock->out.held;
    size_t unsent = (held ? held->end - held->sent : 0) + sock->out.rest.len - sock->out.rest_at +
                    (sock->tls ? gw_tls_unsent(sock) : 0);
    int inside;
    return unsent && !ioctl(sock->fd, TIOCOUTQ, &inside) && inside > 0 ? unsent + (size_t)inside : unsent;
}

static void outbox_send_items(struct gw_sock *sock, struct gw_session *session, struct batch *batch,
                              struct gw_item *items, size_t count, gw_encode encode)
{
    struct iovec parts[BATCH_ITEMS * GW_PARTS_MAX];
    size_t part_count = 0;
    for (size_t i = 0; i < count; i++)
        part_count += encode(&items[i], parts + part_count);
    if (batch_fill(batch, items, count, encode, parts, part_count)) {
        gw_outbox_send_one(sock, batch->bytes, batch->len);
        return;
    }
    if (count == 1 && outbox_send_held(sock, items, 0, outbox_total(parts, part_count), encode))
        return;
    if (part_count)
        gw_outbox_send(sock, parts, part_count);
    for (size_t i = 0; i < count; i++)
        gw_session_release(session, &items[i]);
}

void gw_outbox_drain(struct gw_sock *sock, struct gw_session *session, gw_encode encode)
{
    struct gw_item items[BATCH_ITEMS];
    struct batch *batch = sock->worker->batches->places, *last = batch + PLACES - 1;
    while (!sock->out.blocked && sock->phase == GW_SOCK_OPEN) {
        size_t count = gw_session_next_batch(session, items, BATCH_ITEMS, BATCH_BYTES);
        if (!count)
            break;
        if (batch_is(batch, items, count, encode)) {
            batch->takers++;
            gw_outbox_send_one(sock, batch->bytes, batch->len);
        } else {
            outbox_send_items(sock, session, batch, items, count, encode);
        }
        if (sock->out.corked) /* no more than one batch gathers */
            gw_outbox_uncork(sock);
        if (!gw_session_waiting(session))
            return;
        batch += batch < last;
    }
    gw_outbox_uncork(sock);
}
