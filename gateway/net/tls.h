/* tls.h: TLS for listeners, by OpenSSL on sockets in our own epoll sets (docs/decisions/0014). OpenSSL never touches
 * a socket: bytes go in and out through a BIO of ours, so that one event costs a bounded amount of work and what is
 * encrypted can leave together with that of others. Thread: the worker's, except where it says so. */
#ifndef GW_NET_TLS_H
#define GW_NET_TLS_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "gateway/buf.h"
#include "gateway/config.h"

struct gw_sock;
struct gw_tls;      /* one listener of one worker: the certificate in force */
struct gw_tls_conn; /* one connection's */
struct gw_tls_io;   /* what the connections of one worker share */
struct gw_worker;
struct ssl_st;

/* --- tls.c: listeners --- */

/* NULL: *error says why. Thread: main, before the worker starts. */
struct gw_tls *gw_tls_create(struct gw_worker *worker, const struct gw_cfg_listen *listen, struct gw_buf *error);
void gw_tls_destroy(struct gw_tls *tls);
/* New handshakes get this certificate; clients that are connected notice nothing. If it cannot be used, the old one
 * stays and the log says why. */
void gw_tls_renew(struct gw_tls *tls, const struct gw_cfg_listen *listen);
/* A new connection's state. NULL without memory. */
struct ssl_st *gw_tls_session(const struct gw_tls *tls);

/* --- tls_conn.c: connections; sock.h's functions for those with TLS --- */

struct gw_tls_io *gw_tls_io_create(void);
/* NULL is fine. */
void gw_tls_io_destroy(struct gw_tls_io *io);

/* Sets sock->tls. OpenSSL's state is made when the first bytes come. */
void gw_tls_open(struct gw_sock *sock);
void gw_tls_close(struct gw_sock *sock);
enum gw_tls_step { GW_TLS_MORE, GW_TLS_DONE, GW_TLS_FAILED };
/* Goes on with the handshake with the bytes that are there. If it fails, the peer has the alert and the log the
 * reason. */
enum gw_tls_step gw_tls_handshake(struct gw_sock *sock);
/* Hands what has come to input(), GW_INPUT_BYTES of it at most. Returns false if the connection has
 * ended. Nothing that could be decrypted stays behind. */
bool gw_tls_read(struct gw_sock *sock);
/* The same within what gw_tls_handshake() has left of its budget, right after it. */
bool gw_tls_read_rest(struct gw_sock *sock);
/* As gw_sock_send(). What was taken has been encrypted; gw_tls_flush() sends what the socket had no room for. */
ssize_t gw_tls_send(struct gw_sock *sock, struct iovec *parts, size_t count);
/* Returns false if the connection is broken. */
bool gw_tls_flush(struct gw_sock *sock);
/* Encrypted bytes wait for the socket. */
bool gw_tls_waiting(const struct gw_sock *sock);
size_t gw_tls_unsent(const struct gw_sock *sock); /* how many bytes of that */
/* Encrypted bytes that the ring could not send. */
void gw_tls_keep(struct gw_sock *sock, const char *data, size_t len);
/* Sends close_notify. Returns false if it waits for the socket. */
bool gw_tls_shutdown(struct gw_sock *sock);

#endif
