/* transport.h: the seam of transports: ways for a session to get messages over one connection.
 *
 * A transport is a constant table; add one in gateway/transport/NAME.c, one line in builtins.c and one in
 * CMakeLists.txt. It sees a connection only through the functions here, and the hub only through session.h.
 * Thread: everything here belongs to the loop of the worker that accepted the connection. */
#ifndef GATEWAY_TRANSPORT_H
#define GATEWAY_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#include "gateway/buf.h"
#include "gateway/config.h"
#include "gateway/error.h"
#include "gateway/hub.h"
#include "gateway/message.h"
#include "gateway/session.h"

struct gw_conn; /* one accepted socket */
struct gw_identity;

enum gw_method { GW_GET, GW_HEAD, GW_POST, GW_OPTIONS, GW_OTHER_METHOD };

#define GW_HEADERS_MAX 64

/* A complete HTTP/1.1 request (RFC 9112). Every slice points into the connection's buffers and is valid until the
 * function that was given the request returns. */
struct gw_request {
    enum gw_method method;
    struct gw_slice path;  /* as sent, still percent-encoded, without the query */
    struct gw_slice query; /* without `?`; empty if there is none */
    struct gw_slice body;
    struct gw_slice authority; /* of a target in absolute form; it is the value of Host then. Else data is NULL */
    bool keep_alive;
    bool http10;  /* an HTTP/1.0 client: it knows neither chunks nor Upgrade */
    bool upgrade; /* a WebSocket handshake (RFC 6455 section 4.2.1): Upgrade and Connection say so */
    bool chunked, expect_continue;
    size_t content_length;
    unsigned header_count;
    struct {
        struct gw_slice name, value;
    } headers[GW_HEADERS_MAX];
};

/* The first header of that name (given in lower case), or an empty slice with data NULL. */
struct gw_slice gw_request_header(const struct gw_request *request, const char *name);

/* The parameters of a query, decoded, one after the other: {.query = request->query} before the first one. */
struct gw_params {
    struct gw_slice query;    /* what is left of it */
    struct gw_buf key, value; /* of the parameter that gw_params_next() has found; their data is never NULL then */
    bool bad;                 /* the query has ended at a broken percent-encoding */
};
/* False at the end. A `+` in a value stands for a blank as browsers send it, but where it makes up a whole topic
 * level it is the MQTT wildcard that people type: rooms/+/temperature. */
bool gw_params_next(struct gw_params *params);
/* Frees `key` and `value`. Returns `why` if there is one already, else what is wrong with the query's encoding
 * (static), else NULL. */
const char *gw_params_end(struct gw_params *params, const char *why);

/* If the path is `prefix` and something behind it: appends the rest, percent-decoded. False if it is not, or if the
 * encoding is broken (then *bad). */
bool gw_request_path_after(const struct gw_request *request, const char *prefix, struct gw_buf *rest, bool *bad);
/* What a client hears where such a rest names no channel. */
#define GW_CHANNEL_PATH_EXPECTED                                                                                     \
    "the path does not name a channel (percent-encoded UTF-8 without NUL, + and #, expected)"
bool gw_request_path_is(const struct gw_request *request, const char *path);

/* Which requests that bring no credentials, or bad ones, get to a transport all the same, since it lets clients say
 * later who they are, and says itself why one was refused. */
enum gw_late_identity {
    GW_LATE_NEVER,
    GW_LATE_ON_WEBSOCKET, /* handshakes only, and not with a bad Authorization header */
    GW_LATE_ALWAYS
};

struct gw_transport {
    const char *name;
    /* Its table in the configuration file. While that is off, match() is not called. NULL: it has none. */
    const struct gw_options *options;
    enum gw_late_identity late_identity;
    /* Is this request for this transport? The configuration is gw_hub_config(gw_conn_hub(conn)). NULL: no request is.
     */
    bool (*match)(const struct gw_conn *conn, const struct gw_request *request);
    /* Takes it: answers at once or later, or accepts the WebSocket. */
    void (*open)(struct gw_conn *conn, const struct gw_request *request);
    /* What `protocol` in `listen`, and ALPN with TLS (30 bytes at most), call connections that speak no HTTP and are
     * this transport's from their first byte on, with TLS and PROXY header as with HTTP. NULL: it takes none. */
    const char *stream_protocol;
    /* The first bytes of such a connection have come: attaches ops whose input() gets them next, or closes it. A
     * client that sends nothing within web.request_timeout has been closed; every later deadline is the transport's.
     */
    void (*accept)(struct gw_conn *conn);
    /* Appends to `sluice explain` what its clients get of a channel: lines that begin with two blanks. Not called
     * while the transport is off. Thread: main. NULL: nothing. */
    void (*explain)(const struct gw_config *config, const char *channel, size_t len, struct gw_buf *out);
};

/* Is the transport in force with this configuration? */
static inline bool gw_transport_on(const struct gw_transport *transport, const struct gw_config *config)
{
    return !transport->options || gw_options_of(config, transport->options);
}

/* What there is; NULL-terminated, asked in this order. */
extern const struct gw_transport *const *gw_transports;

/* The transport of that stream_protocol, or NULL. */
const struct gw_transport *gw_transport_of_stream(const char *protocol);

/* Sets them: NULL-terminated and static, GW_STREAM_PROTOCOLS_MAX with a stream_protocol at most. Thread: main, before
 * any other one. */
#define GW_STREAM_PROTOCOLS_MAX 15
void gw_transports_use(const struct gw_transport *const *list);

/* What a transport (or the HTTP interface) wants to hear of a connection it holds. */
struct gw_conn_ops {
    /* Everything sent before has left; more may be sent. NULL: no interest. */
    void (*writable)(struct gw_conn *conn);
    /* A whole WebSocket message, valid UTF-8 if text. May be changed in place. */
    void (*message)(struct gw_conn *conn, bool text, char *data, size_t len);
    /* Binary messages are a stream of bytes: message() may get several short ones as one. */
    bool stream;
    /* Bytes of a connection that accept() took, as they come: all of them are taken. What has to wait for more is the
     * transport's to keep, within a bound. */
    void (*input)(struct gw_conn *conn, const char *data, size_t len);
    /* HTTP: an answer that may take long, and holds something until then. A client that has ended its side of the
     * connection is sent an interim response (RFC 9110 section 15.2), to find out whether it is still there. */
    bool probe;
    /* The connection is gone, or the exchange was ended for the connection: last call, `context` can be freed. */
    void (*closed)(struct gw_conn *conn);
};

/* Holds the connection: `ops` apply until the answer is given (HTTP) or the connection closes. */
void gw_conn_attach(struct gw_conn *conn, const struct gw_conn_ops *ops, void *context);
void *gw_conn_context(const struct gw_conn *conn);
struct gw_hub *gw_conn_hub(const struct gw_conn *conn);
/* Call it after gw_session_open(): the log says at debug from where the session came. */
void gw_conn_log_session(const struct gw_conn *conn, const struct gw_session *session);
/* Who makes the request, borrowed, inside open(): for gw_session_identify(). NULL: not known, or nobody has to be;
 * only what late_identity says gets that far without. */
struct gw_identity *gw_conn_identity(const struct gw_conn *conn);
/* GW_OK, or why the credentials that it brought were refused. */
enum gw_err gw_conn_refused(const struct gw_conn *conn);

/* --- HTTP answers. Each ends the exchange: detaches the ops without calling closed(). --------------------------- */

/* `headers`: complete lines with CRLF, or NULL; Cache-Control is none of them. `type` NULL: no body at all (204).
 * No cache may keep the answer (`Cache-Control: no-store`). */
void gw_http_reply(struct gw_conn *conn, int status, const char *headers, const char *type, const char *body,
                   size_t len);
/* The same for an answer that caches may keep as `caching` says, which is the value of Cache-Control. */
void gw_http_reply_cached(struct gw_conn *conn, int status, const char *caching, const char *headers,
                          const char *type, const char *body, size_t len);
/* {"type":"error","code":…,"message":…} with the fitting status. `message` NULL: gw_err_text(). */
void gw_http_error(struct gw_conn *conn, enum gw_err err, const char *message);
void gw_http_error_headers(struct gw_conn *conn, enum gw_err err, const char *message, const char *headers);

/* What a Cross-Origin-Resource-Policy header (WHATWG Fetch) has to say in the answer to this request: is it for pages
 * of the gateway's own origin, or also for the one that asks, by web.origins? "same-origin" or "cross-origin". */
const char *gw_http_resource_policy(const struct gw_conn *conn, const struct gw_request *request);

/* Begins an answer without end: 200 with these headers, whose body is what is sent from now on until gw_conn_close().
 * `ops` are attached. */
void gw_http_stream(struct gw_conn *conn, const char *headers, const char *type, const struct gw_conn_ops *ops,
                    void *context);
void gw_conn_send(struct gw_conn *conn, const char *data, size_t len);
bool gw_conn_blocked(const struct gw_conn *conn);
/* 0: the socket has taken everything that was sent. Else how many bytes the peer has not taken yet. */
size_t gw_conn_unsent(const struct gw_conn *conn);
/* For connections with input() or message(): reads no more from the socket, so that the client's window closes, or
 * goes on. What has been read already may still come to input(), 64 KiB at most; message() gets nothing. While paused
 * nobody notices that the client closes the connection, until something is sent. */
void gw_conn_pause(struct gw_conn *conn, bool pause);
/* Within input() or message(): what came is in a hurry, or not, as acknowledgements are that nothing waits for. Input
 * of which nothing was said is in a hurry. While all connections of a worker bring only what is not, it reads them
 * every half a millisecond, instead of waking up for each. */
void gw_conn_heard(struct gw_conn *conn, bool hurry);
/* Closes once everything sent has left; closed() is called then. */
void gw_conn_close(struct gw_conn *conn);

/* --- WebSocket (RFC 6455) ------------------------------------------------------------------------------------- */

/* Checks the handshake and answers 101, or refuses it with the fitting HTTP error and returns false. On success `ops`
 * are attached. `protocols`: the subprotocols of the transport, NULL-terminated; the first that the client offers
 * among them is accepted (RFC 6455 section 4.2.2), and none of them is no reason to refuse. Pings, pongs, heartbeats,
 * fragments and the close handshake are the connection's own business. */
bool gw_ws_accept(struct gw_conn *conn, const struct gw_request *request, const char *const *protocols,
                  const struct gw_conn_ops *ops, void *context);
/* The subprotocol of that list that gw_ws_accept() chooses for the request, or NULL. */
const char *gw_ws_offered(const struct gw_request *request, const char *const *protocols);
/* Starts the close handshake; closed() is called when it is through. Nothing sent afterwards leaves. */
void gw_ws_close(struct gw_conn *conn, int code, const char *reason);
/* What of a message a frame holds. */
enum gw_ws_form { GW_WS_FORM_TEXT, GW_WS_FORM_RAW }; /* text, payload */
/* Has the connection negotiated permessage-deflate (web.compression)? */
bool gw_ws_deflates(const struct gw_conn *conn);
/* For such connections: the message as one compressed frame, the same for all of them, valid as long as the message.
 * False: send it as it is, compressing does not pay. */
bool gw_ws_compressed(struct gw_message *msg, enum gw_ws_form form, struct iovec *part);
/* Append a whole frame. */
void gw_ws_add_text(struct gw_buf *out, const char *text, size_t len);
void gw_ws_add_binary(struct gw_buf *out, const void *data, size_t len);

/* --- the fast path --------------------------------------------------------------------------------------------- */

/* Sends what waits for the session, many items in one system call, until there is nothing left or the socket takes no
 * more; then writable() comes later. */
void gw_conn_drain(struct gw_conn *conn, struct gw_session *session, gw_encode encode);
/* Sends a message, as encode() says, that is no longer in the queue of a session. What the socket does not take is
 * not copied if it is large, but the message is held until it has left. */
void gw_conn_send_message(struct gw_conn *conn, struct gw_message *msg, gw_encode encode);

#endif
