/* outbox.h: bytes on their way to a socket, and the fast path from a session to it (outbox.c says how).
 * Thread: the worker's. */
#ifndef GW_NET_OUTBOX_H
#define GW_NET_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "gateway/buf.h"
#include "gateway/session.h"

struct gw_batches;
struct gw_held;
struct gw_sock;

/* A member of struct gw_sock. */
struct gw_outbox {
    struct gw_buf rest;   /* bytes that the socket did not take */
    size_t rest_at;       /* of which this many have left */
    struct gw_held *held; /* a large message that left in part, before `rest`; NULL: none */
    bool blocked;         /* the socket takes no more: a writable callback is on its way */
    bool queued;          /* bytes of it are in the worker's ring */
    bool corked;          /* what is sent gathers in `rest` */
};

void gw_outbox_send(struct gw_sock *sock, struct iovec *parts, size_t count);
void gw_outbox_send_one(struct gw_sock *sock, const void *data, size_t len);
/* Sends what waits for the session, many items in one system call, until there is nothing left or the socket takes no
 * more; then writable() comes later. */
void gw_outbox_drain(struct gw_sock *sock, struct gw_session *session, gw_encode encode);

/* Sends `len` of the bytes that encode() makes of the message, from `from` on. Where they are many, what the socket
 * does not take at once leaves later from where it lies: the message is held meanwhile, and nothing is copied. */
void gw_outbox_send_message(struct gw_sock *sock, struct gw_message *msg, gw_encode encode, size_t from, size_t len);

/* 0: the socket has taken everything. Else how many bytes the peer has not taken yet; with TLS some of them are
 * encrypted already. */
size_t gw_outbox_unsent(const struct gw_sock *sock);

/* From here on what is sent gathers, until uncorked (nothing happens if it is not corked): for an answer made in
 * several steps. It must be uncorked before the loop gets control again. */
void gw_outbox_cork(struct gw_sock *sock);
void gw_outbox_uncork(struct gw_sock *sock);

/* The ring has sent: `sent` as of send(2), or -errno. */
void gw_outbox_sent(struct gw_sock *sock, const char *data, size_t len, ssize_t sent);
/* Afterwards nothing of it is in the ring. */
void gw_outbox_settle(struct gw_sock *sock);
/* Sends what is there. Returns false if the socket is broken. */
bool gw_outbox_flush(struct gw_sock *sock);
/* The socket is closed: frees what has not left. */
void gw_outbox_fini(struct gw_sock *sock);

/* What the last sessions were sent, one for each worker. */
struct gw_batches *gw_batches_create(void);
/* The turn is over: gives the messages back. */
void gw_batches_forget(struct gw_batches *batches);
/* NULL is fine. */
void gw_batches_destroy(struct gw_batches *batches);

#endif
