/* sock.h: an accepted socket, plain or with TLS, in the worker's epoll sets (docs/decisions/0009, 0014). What speaks
 * over it is above this layer: it embeds the struct and is called through gw_sock_ops. Thread: the worker's. */
#ifndef GW_NET_SOCK_H
#define GW_NET_SOCK_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "net/outbox.h"

struct gw_listener;
struct gw_sock;
struct gw_tls_conn;
struct gw_watch;
struct gw_worker;

/* Those that return false have the socket closed. None is called once it is GW_SOCK_DEAD, but closed(). */
struct gw_sock_ops {
    /* Bytes came, decrypted. The PROXY header is not among them. */
    bool (*input)(struct gw_sock *sock, const char *data, size_t len);
    /* Everything that was sent has left, after the socket had no room for it. */
    bool (*writable)(struct gw_sock *sock);
    /* The peer has sent FIN: it sends no more, and may still wait for something. */
    bool (*eof)(struct gw_sock *sock);
    /* The gateway stops: nothing new is to be begun. */
    void (*go_away)(struct gw_sock *sock);
    /* The last call, not from within another: the descriptor is closed. Frees what the socket is part of. */
    void (*closed)(struct gw_sock *sock);
};

enum gw_sock_phase {
    GW_SOCK_OPEN,
    GW_SOCK_PARTING,   /* the last word is said: gw_outbox_drain() takes nothing more from sessions */
    GW_SOCK_FINISHING, /* ... and FIN follows it; what still comes is read */
    GW_SOCK_DEAD       /* it will be closed; nothing happens any more */
};

/* In which epoll set it is. */
enum gw_sock_set {
    GW_SOCK_SPEAKING,
    GW_SOCK_ARRIVED, /* its TLS handshake has not begun */
    GW_SOCK_SHAKING  /* ... or is not complete */
};

struct gw_sock {
    const struct gw_sock_ops *ops;
    struct gw_worker *worker;
    const struct gw_listener *listener;
    struct gw_tls_conn *tls; /* NULL: plain, or TLS begins behind the PROXY header */
    struct gw_outbox out;
    struct gw_buf *proxy;         /* what is there of the PROXY header that comes first; NULL: none is expected */
    struct gw_sock *next, **link; /* the worker's list */
    struct gw_sock *next_dead;    /* the worker's list of what it will close */
    struct in6_addr counted; /* in the bounds per address, IPv4 mapped; in6addr_any: none (a proxy, a Unix socket) */
    struct in6_addr origin;  /* who connected, or whom the PROXY header named */
    int fd;
    uint8_t phase;     /* enum gw_sock_phase */
    uint8_t set;       /* enum gw_sock_set */
    bool paused;       /* not read */
    bool want_write;   /* EPOLLOUT is asked for */
    bool trusted;      /* the origin is a proxy whose word counts */
    bool proxy_secure; /* the PROXY header says that the client speaks TLS */
};

/* A connection that has just been accepted. */
struct gw_arrival {
    const struct gw_listener *listener;
    int fd; /* the socket's from gw_sock_init() on */
    struct in6_addr origin, counted;
    bool trusted;
};

/* Fills a zeroed socket and puts it into the worker's list: closed() will be called. */
void gw_sock_init(struct gw_sock *sock, const struct gw_arrival *arrival, const struct gw_sock_ops *ops);
/* Starts reading. False: it could not; the descriptor is closed or will be. */
bool gw_sock_open(struct gw_sock *sock);
/* After a PROXY header: the rest is TLS. */
bool gw_sock_start_tls(struct gw_sock *sock);
/* Does its client speak TLS, with us or with the proxy that said so? */
bool gw_sock_secure(const struct gw_sock *sock);

/* Hands the parts to the kernel. Returns how many bytes it took, possibly 0, or -1 if the connection is broken. What
 * was not taken must be given again, with or without more behind it. */
ssize_t gw_sock_send(struct gw_sock *sock, struct iovec *parts, size_t count);
/* The socket takes no more for now: writable() will be called once it has taken everything. */
void gw_sock_block(struct gw_sock *sock);
/* There is room again: sends what waits, and then calls writable(). False: close it. */
bool gw_sock_on_writable(struct gw_sock *sock);
void gw_sock_pause(struct gw_sock *sock, bool pause);

/* The last word is said. */
void gw_sock_part(struct gw_sock *sock);
/* Sends what is left, then FIN. Reading goes on. */
void gw_sock_finish(struct gw_sock *sock);
/* Closes it, without ceremony: closed() is called before the loop rests again, not from here. */
void gw_sock_kill(struct gw_sock *sock);
static inline bool gw_sock_dead(const struct gw_sock *sock)
{
    return sock->phase == GW_SOCK_DEAD;
}

/* What is ready in the set of open connections. */
void gw_sock_ready(struct gw_watch *watch);
/* What is ready in one of the other two, as much as fits into a slice of time. */
void gw_sock_handshakes(struct gw_watch *watch);
/* Takes apart what was killed. */
void gw_sock_reap(struct gw_worker *worker);

#endif
