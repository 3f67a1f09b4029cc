#include "net/ring.h"

#ifdef GW_HAVE_URING

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gateway/alloc.h"
#include "gateway/log.h"
#include "net/sock.h"

/* Sends that leave together. More are hardly cheaper, and the first would wait for the last. */
#define RING_SENDS      64
#define RING_BYTES      (128 * 1024)
#define RING_SEND_BYTES (16 * 1024)

struct send {
    struct gw_sock *sock;
    const char *data; /* inside bytes */
    size_t len;
};

struct gw_ring {
    struct io_uring uring;
    unsigned count;
    size_t used; /* of bytes */
    struct send sends[RING_SENDS];
    char bytes[RING_BYTES];
};

/* liburing 2.3 (Debian 12) declares functions for these two and does not export them. */
static int ring_register(const struct io_uring *uring, unsigned what, const void *data, unsigned count)
{
    return syscall(SYS_io_uring_register, uring->ring_fd, what, data, count) < 0 ? -errno : 0;
}

/* It can do nothing but send, even in the hands of an attacker. */
static int ring_restrict(const struct io_uring *uring)
{
    const struct io_uring_restriction only = {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_SEND};
    int err = ring_register(uring, IORING_REGISTER_RESTRICTIONS, &only, 1);
    return err ? err : ring_register(uring, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

struct gw_ring *gw_ring_create(void)
{
    struct gw_ring *ring = gw_malloc(sizeof *ring);
    ring->count = 0;
    ring->used = 0;
    int err = io_uring_queue_init(RING_SENDS, &ring->uring, IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER);
    if (err == -EINVAL) /* before Linux 6.0 */
        err = io_uring_queue_init(RING_SENDS, &ring->uring, IORING_SETUP_R_DISABLED);
    if (!err) {
        err = ring_restrict(&ring->uring);
        if (err)
            io_uring_queue_exit(&ring->uring);
    }
    if (!err)
        return ring;
    gw_log(GW_LOG_DEBUG, "web", "no io_uring (%s): one system call for each send", strerror(-err));
    free(ring);
    return NULL;
}

void gw_ring_destroy(struct gw_ring *ring)
{
    if (!ring)
        return;
    io_uring_queue_exit(&ring->uring);
    free(ring);
}

bool gw_ring_add(struct gw_ring *ring, struct gw_sock *sock, const struct iovec *parts, size_t count, size_t total)
{
    if (total > RING_SEND_BYTES)
        return false;
    if (ring->count == RING_SENDS || total > RING_BYTES - ring->used)
        gw_ring_submit(ring);
    char *to = ring->bytes + ring->used;
    ring->sends[ring->count++] = (struct send){sock, to, total};
    for (size_t i = 0; i < count; i++)
        to = mempcpy(to, parts[i].iov_base, parts[i].iov_len);
    ring->used += total;
    sock->out.queued = true;
    return true;
}

static void ring_done(const struct send *done, ssize_t result)
{
    done->sock->out.queued = false;
    gw_outbox_sent(done->sock, done->data, done->len, result);
}

/* Without waiting in the kernel: what a socket does not take at once comes back as EAGAIN. */
void gw_ring_submit(struct gw_ring *ring)
{
    unsigned count = ring->count;
    ring->count = 0;
    ring->used = 0;
    if (count == 1) {
        const struct send *one = &ring->sends[0];
        ssize_t sent = send(one->sock->fd, one->data, one->len, MSG_NOSIGNAL | MSG_DONTWAIT);
        ring_done(one, sent < 0 ? -errno : sent);
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        struct io_uring_sqe *entry = io_uring_get_sqe(&ring->uring); /* there are as many as sends */
        io_uring_prep_send(entry, ring->sends[i].sock->fd, ring->sends[i].data, ring->sends[i].len,
                           MSG_NOSIGNAL | MSG_DONTWAIT);
        io_uring_sqe_set_data64(entry, i);
    }
    for (unsigned seen = 0; seen < count;) {
        int err = io_uring_submit_and_wait(&ring->uring, count - seen);
        if (err < 0 && err != -EINTR && err != -EAGAIN && err != -EBUSY) {
            /* Nothing of this kind is known to happen; whatever was or was not sent, these connections are of no use
             * any more. */
            GW_LOG_ONCE_A_SECOND(GW_LOG_ERROR, "web", "io_uring: %s", strerror(-err));
            for (unsigned i = 0; i < count; i++) {
                if (ring->sends[i].sock->out.queued)
                    ring_done(&ring->sends[i], err);
            }
            return;
        }
        struct io_uring_cqe *result;
        unsigned head, found = 0;
        io_uring_for_each_cqe(&ring->uring, head, result)
        {
            ring_done(&ring->sends[io_uring_cqe_get_data64(result)], result->res);
            found++;
        }
        io_uring_cq_advance(&ring->uring, found);
        seen += found;
    }
}

#else

#include <stdlib.h>

struct gw_ring *gw_ring_create(void)
{
    return NULL;
}

void gw_ring_destroy(struct gw_ring *ring)
{
    (void)ring;
}

bool gw_ring_add(struct gw_ring *ring, struct gw_sock *sock, const struct iovec *parts, size_t count, size_t total)
{
    (void)ring, (void)sock, (void)parts, (void)count, (void)total;
    return false;
}

void gw_ring_submit(struct gw_ring *ring)
{
    (void)ring;
}

#endif
