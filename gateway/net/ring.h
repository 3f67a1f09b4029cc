/* ring.h: the sends of one turn of the loop, handed to the kernel together by io_uring(7) where it has that. Sending
 * 200 bytes to each of 1,000 sockets costs a quarter less so: not the sending itself is cheaper, but the way in and
 * out of the kernel is made once for many, and readers on the same machine do not push the sender aside after each
 * (docs/benchmarks/optimisation.md).
 *
 * Nothing is left in flight: gw_ring_submit() returns with every result, so that a connection is as it would be after
 * send(2). Thread: the worker's. */
#ifndef GW_NET_RING_H
#define GW_NET_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

struct gw_ring;
struct gw_sock;

/* NULL: the kernel has none or does not allow it (containers often don't), or it was not there when this was built.
 */
struct gw_ring *gw_ring_create(void);
/* NULL is fine. */
void gw_ring_destroy(struct gw_ring *ring);

/* Copies the parts and sets out.queued, until gw_ring_submit() calls gw_outbox_sent() for it. False: they are too
 * large. The socket must not be queued already. */
bool gw_ring_add(struct gw_ring *ring, struct gw_sock *sock, const struct iovec *parts, size_t count, size_t total);
void gw_ring_submit(struct gw_ring *ring);

#endif
