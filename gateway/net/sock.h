/* sock.h: the socket under a connection, plain or with TLS, in the worker's epoll sets (docs/decisions/0009, 0014).
 * conn.c and wire.c see no difference. Thread: the worker's. */
#ifndef GW_NET_SOCK_H
#define GW_NET_SOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

struct gw_conn;
struct gw_watch;
struct gw_worker;

/* Starts reading. False: it could not; the descriptor is closed or will be. */
bool gw_sock_open(struct gw_conn *conn);
/* After a PROXY header: the rest is TLS. */
bool gw_sock_start_tls(struct gw_conn *conn);

/* Hands the parts to the kernel. Returns how many bytes it took, possibly 0, or -1 if the connection is broken. What
 * was not taken must be given again, with or without more behind it. */
ssize_t gw_sock_send(struct gw_conn *conn, struct iovec *parts, size_t count);
/* gw_conn_on_writable() will be called once there is room. */
void gw_sock_want_write(struct gw_conn *conn);
void gw_sock_pause(struct gw_conn *conn, bool pause);
/* No more will be sent. Reading goes on. False: it has to be tried again when there is room. */
bool gw_sock_shutdown(struct gw_conn *conn);
/* Closes it: gw_conn_on_closed() comes before the loop sleeps again, not from here. */
void gw_sock_kill(struct gw_conn *conn);

/* In which epoll set a connection is. */
enum gw_sock_set {
    GW_SOCK_OPEN,    /* it speaks */
    GW_SOCK_ARRIVED, /* its TLS handshake has not begun */
    GW_SOCK_SHAKING  /* ... or is not complete */
};

/* What is ready in the set of open connections. */
void gw_sock_ready(struct gw_watch *watch);
/* What is ready in one of the other two, as much as fits into a slice of time. */
void gw_sock_handshakes(struct gw_watch *watch);
/* Takes apart what was killed. */
void gw_sock_reap(struct gw_worker *worker);

#endif
