/* conn.h: one accepted socket, as the files of web/ see it. Transports see include/gateway/transport.h. */
#ifndef GW_HTTP_CONN_H
#define GW_HTTP_CONN_H

#include <netinet/in.h>

#include "base/timer.h"
#include "gateway/transport.h"
#include "http/http1.h"

struct gw_batches;
struct gw_held;
struct gw_listener;
struct gw_tls_conn;
struct gw_worker;

enum gw_conn_state {
    GW_CONN_PROXY, /* a PROXY header comes first; `in` holds what is there of it */
    GW_CONN_HEAD,  /* between requests, or a request head is incomplete */
    GW_CONN_BODY,  /* the head is at the front of `in`, the body is coming */
    GW_CONN_BUSY,  /* a request is being answered; more input waits */
    GW_CONN_WS,    /* a WebSocket */
    GW_CONN_BYTES, /* no HTTP: a transport gets the bytes as they come (`protocol` in `listen`) */
    GW_CONN_DRAIN  /* everything is said; input is thrown away until the peer closes */
};

/* A ping that came while the peer did not read (RFC 6455 section 5.5: at most 125 bytes). */
struct gw_ws_ping {
    uint8_t len;
    char data[125];
};

struct gw_conn {
    struct gw_timer timer;     /* the one deadline of the state it is in; first member */
    struct gw_conn *next_dead; /* the worker's list of what it will close */
    struct gw_tls_conn *tls;   /* NULL: plain */
    struct gw_worker *worker;
    const struct gw_listener *listener;
    const struct gw_conn_ops *ops;
    void *context;
    struct gw_conn *next, **link; /* the worker's list */
    struct gw_buf in;             /* bytes not handled yet; unallocated on an idle connection */
    struct gw_buf body;           /* HTTP body, or the fragments of a WebSocket message */
    struct gw_buf out;            /* bytes the socket did not take */
    struct gw_held *held; /* a large message that left in part, before what `out` holds (wire.c); NULL: none */
    size_t out_at;        /* of which so many are gone */
    size_t head_len;      /* of the request at the front of `in` */
    size_t body_left;
    struct gw_chunked chunked;
    int64_t heard_ms;             /* when something last came in (WebSocket) */
    struct gw_identity *identity; /* of whoever makes the request that is being handed out (gate.c) */
    enum gw_err refused;          /* ... or why it is not known */
    struct gw_ws_ping *ping;      /* to be answered once the socket takes it; NULL: none */
    char *headers;                /* lines for every answer to this request, with CRLF; NULL: none */
    struct in6_addr
        peer; /* counted in the bounds per address, IPv4 mapped; in6addr_any: none is (a proxy, a Unix socket) */
    struct in6_addr origin;  /* who connected, or whom the PROXY header named */
    struct in6_addr address; /* of the client whose request this is: the peer, or what a trusted proxy said */
    int fd;
    enum gw_conn_state state;
    uint8_t fragment; /* opcode of the fragmented message in `body`, 0 if none */
    bool deflate;     /* permessage-deflate was negotiated */
    bool deflated;    /* ... and the fragmented message is compressed */
    bool blocked;     /* the socket takes no more: a writable callback is on its way */
    bool processing;  /* gw_conn_process() is on the stack */
    bool keep_alive, is_head, chunked_body;
    bool close_sent;     /* WebSocket close frame */
    bool finish;         /* close once `out` is empty */
    bool paused;         /* not reading */
    bool held_back;      /* ... because the transport does not want more (gw_conn_pause()) */
    uint8_t set;         /* enum gw_sock_set: which epoll set it is in (sock.c) */
    bool want_write;     /* EPOLLOUT is asked for */
    bool queued;         /* bytes of it are in the worker's ring */
    bool corked;         /* what is sent gathers in `out` */
    bool trusted;        /* the peer is a proxy whose headers count */
    bool proxy_secure;   /* the PROXY header says that the client speaks TLS */
    bool secure;         /* the client of the current request speaks TLS, here or with a trusted proxy; for the log */
    size_t drained;      /* bytes thrown away after our last word */
    bool half_closed;    /* the peer has sent FIN and waits for answers; there is nothing more to read */
    bool streaming;      /* an answer without end: a peer that sends FIN has gone */
    uint8_t empty_lines; /* before the request that is to come */
    bool dead;           /* it will be closed; nothing happens any more */
};

/* conn.c. Thread: the worker's. */
struct gw_conn *gw_conn_create(const struct gw_listener *listener, int fd, const struct in6_addr *from,
                               const struct in6_addr *counted, bool trusted);
/* False: close the socket. */
bool gw_conn_on_input(struct gw_conn *conn, const char *data, size_t len);
bool gw_conn_on_writable(struct gw_conn *conn);
/* The peer has sent FIN: it sends no more, and may still wait for answers. */
bool gw_conn_on_eof(struct gw_conn *conn);
/* There is something to read and the PROXY header is not complete. */
void gw_conn_read_proxy(struct gw_conn *conn);
/* Last call; frees it. */
void gw_conn_on_closed(struct gw_conn *conn);
void gw_conn_process(struct gw_conn *conn);
/* Closes the socket soon, without ceremony. */
void gw_conn_kill(struct gw_conn *conn);
/* Sends what is left, then closes: no new request is read. */
void gw_conn_finish(struct gw_conn *conn);
/* SIGTERM: 1001 to WebSockets, idle connections close, busy ones close after their answer. */
void gw_conn_go_away(struct gw_conn *conn);

/* connlog.c: at debug: the client broke the protocol. `status`: of HTTP, or a close code. */
void gw_conn_log_bad(const struct gw_conn *conn, int status, const char *why);
/* At debug: there was no TLS handshake. */
void gw_conn_log_handshake(const struct gw_conn *conn, const char *why);

/* wsconn.c: the WebSocket side of a connection. */
void gw_ws_process(struct gw_conn *conn);
void gw_ws_heartbeat(struct gw_conn *conn);
/* The socket takes more: answers the ping that waits. */
void gw_ws_on_writable(struct gw_conn *conn);

/* wire.c: bytes to the socket. */
void gw_wire_send(struct gw_conn *conn, struct iovec *parts, size_t count);
void gw_wire_send_one(struct gw_conn *conn, const void *data, size_t len);
/* The ring has sent: `sent` as of send(2), or -errno. */
void gw_wire_sent(struct gw_conn *conn, const char *data, size_t len, ssize_t sent);
/* Afterwards nothing of it is in the ring. */
void gw_wire_settle(struct gw_conn *conn);
/* From here on what is sent gathers, until uncorked (nothing happens if it is not corked): for an answer made in
 * several steps. It must be uncorked before the loop gets control again. */
void gw_wire_cork(struct gw_conn *conn);
void gw_wire_uncork(struct gw_conn *conn);
/* The connection is closed: gives up what has not left. */
void gw_wire_drop(struct gw_conn *conn);
/* Sends what `out` holds; false if the socket is broken. */
bool gw_wire_flush(struct gw_conn *conn);
/* What the last sessions were sent, one for each worker. */
struct gw_batches *gw_batches_create(void);
/* The turn is over: lets go of the messages. */
void gw_batches_forget(struct gw_batches *batches);
/* NULL is fine. */
void gw_batches_destroy(struct gw_batches *batches);

/* api.c: every request ends up here. */
void gw_api_dispatch(struct gw_conn *conn, const struct gw_request *request);

#endif
