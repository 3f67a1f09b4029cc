/* conn.h: an HTTP/1.1 connection (RFC 9112): requests in, answers out; and what it speaks instead of HTTP after an
 * upgrade, or from its first byte on. Transports see include/gateway/transport.h. Thread: the worker's. */
#ifndef GW_HTTP_CONN_H
#define GW_HTTP_CONN_H

#include "gateway/timer.h"
#include "gateway/transport.h"
#include "http/http1.h"
#include "net/admission.h"
#include "net/sock.h"

struct gw_listener;
struct gw_shared_wait;

/* A ticket that another gateway may have given out: the request waits for the engine, and is then dispatched again.
 */
struct gw_conn_ticket {
    struct gw_shared_wait *wait; /* NULL: nothing is on its way */
    bool answered;
    enum gw_err err; /* ... and with what; GW_OK: with `text`, malloc'd */
    char *text;
    size_t len;
};

enum gw_conn_state {
    GW_CONN_HEAD,   /* between requests, or a request head is incomplete */
    GW_CONN_BODY,   /* the head is at the front of `in`, the body is coming */
    GW_CONN_AGAIN,  /* a request that had to wait, whole at the front of `in` and in `body`, goes on */
    GW_CONN_BUSY,   /* a request is being answered; more input waits */
    GW_CONN_STREAM, /* ... without end: a peer that sends FIN has gone */
    GW_CONN_OTHER,  /* it speaks `protocol` and no HTTP */
    GW_CONN_DRAIN   /* everything is said; input is thrown away until the peer closes */
};

/* What a connection in GW_CONN_OTHER speaks. Any may be NULL, except process. */
struct gw_conn_protocol {
    /* Something is in conn->in, or there is something new to do with it: takes off its front what it can. */
    void (*process)(struct gw_conn *conn);
    /* Everything sent before has left. The transport's writable() comes next. */
    void (*writable)(struct gw_conn *conn);
    /* The deadline has passed. NULL: the connection is closed. */
    void (*timed_out)(struct gw_conn *conn);
    /* The gateway stops. NULL: what was sent still leaves, then it is closed. */
    void (*go_away)(struct gw_conn *conn);
    /* The last call: frees conn->speaker. */
    void (*closed)(struct gw_conn *conn);
};

struct gw_conn {
    struct gw_sock sock;           /* first member */
    struct gw_timer timer;         /* the one deadline of the state it is in */
    const struct gw_conn_ops *ops; /* of the transport, or whatever answers the request; NULL: none */
    void *context;                 /* theirs */
    const struct gw_conn_protocol *protocol;
    void *speaker;      /* the protocol's own state */
    struct gw_buf in;   /* bytes not handled yet; unallocated on an idle connection */
    struct gw_buf body; /* of the request */
    size_t head_len;    /* of the request at the front of `in` */
    size_t body_left;
    struct gw_chunked chunked;
    struct gw_identity *identity; /* of the client that makes the request that is being handed out (gate.c) */
    enum gw_err refused;          /* ... or why it is not known */
    struct gw_conn_ticket ticket; /* ... that it brought */
    enum gw_conn_state state;
    char *headers;           /* lines for every answer to this request, with CRLF; NULL: none */
    struct in6_addr address; /* of the client whose request this is: the origin, or what a trusted proxy said */
    size_t drained;          /* bytes thrown away after our last word */
    size_t unsent;           /* when the deadline was set */
    uint8_t empty_lines;     /* before the request that is to come */
    bool keep_alive;         /* another request may follow this one */
    bool is_head;            /* the answer has no body */
    bool http10;             /* the client that makes the request knows no interim responses */
    bool chunked_body;
    bool processing;  /* gw_conn_process() is on the stack */
    bool half_closed; /* the peer has sent FIN and waits for answers; there is nothing more to read */
    bool held_back;   /* the transport wants no more input (gw_conn_pause()) */
};

/* --- conn.c: its life ------------------------------------------------------------------------------------------- */

/* For struct gw_service. */
struct gw_sock *gw_conn_accept(const struct gw_arrival *arrival);
/* Goes on with what is in `in`, as far as the state allows. */
void gw_conn_process(struct gw_conn *conn);
/* Replaces the deadline. */
void gw_conn_deadline(struct gw_conn *conn, int64_t after_ms);
void gw_conn_no_deadline(struct gw_conn *conn);
/* From here on it speaks that. */
void gw_conn_speak(struct gw_conn *conn, const struct gw_conn_protocol *protocol, void *speaker);
/* Sends what is left, then closes: no new request is read. */
void gw_conn_finish(struct gw_conn *conn);
static inline bool gw_conn_dead(const struct gw_conn *conn)
{
    return gw_sock_dead(&conn->sock);
}
static inline const struct gw_config *gw_conn_config(const struct gw_conn *conn)
{
    return gw_hub_config(gw_conn_hub(conn));
}

/* --- request.c: requests out of `in`; false: more input is needed ---------------------------------------------- */

bool gw_conn_read_head(struct gw_conn *conn);
bool gw_conn_read_body(struct gw_conn *conn);
bool gw_conn_read_again(struct gw_conn *conn);
/* Answers and closes: the client broke the protocol. */
void gw_conn_refuse(struct gw_conn *conn, int status, enum gw_err err, const char *why);

/* --- bytes.c: connections of listeners that speak no HTTP
 * ----------------------------------------------------------- */

extern const struct gw_conn_protocol gw_bytes_protocol;

/* --- reply.c ---------------------------------------------------------------------------------------------------- */

/* As gw_http_reply_cached(), with `len` bytes of the message's payload as the body, from `from` on. They are not
 * copied where they are many: the message is held until they have left. */
void gw_http_reply_payload(struct gw_conn *conn, int status, const char *caching, const char *headers,
                           const char *type, struct gw_message *msg, size_t from, size_t len);

/* As gw_http_error_headers(), with another status than the error's. */
void gw_http_error_as(struct gw_conn *conn, int status, enum gw_err err, const char *message, const char *headers);

/* --- refusal.c: for struct gw_service ------------------------------------------------------------------------ */

const char *gw_conn_refusal(const struct gw_listener *listener, enum gw_admit why);

/* --- connlog.c: at debug --------------------------------------------------------------------------------------- */

/* The client broke the protocol. `status`: of HTTP, or a close code. */
void gw_conn_log_bad(const struct gw_conn *conn, int status, const char *why);
/* What came in: `text` is the path of a request, without the query, which may hold a ticket; or a protocol. */
void gw_conn_log_arrival(const struct gw_conn *conn, bool secure, const char *what, struct gw_slice text);

/* --- api.c: every request ends up here ----------------------------------------------------------------------- */

void gw_api_dispatch(struct gw_conn *conn, const struct gw_request *request);

#endif
