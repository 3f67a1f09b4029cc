/* engine.h: a connection of Engine.IO and the sessions of Socket.IO on it, as the files of this folder share them.
 *
 *   engine.c     requests, refusals, the life of a connection, packets of Engine.IO
 *   polling.c    requests of sessions that poll: they come to any worker, and go to the one that has the session
 *   upgrade.c    a WebSocket takes a session over, and its worker gets it
 *   move.c       what travels then
 *   sockets.c    sessions of Socket.IO: what the hub says of them, and packets of their clients
 *   connect.c    CONNECT: who a client is, and what it has
 *   outlet.c     what goes down to a client
 *   events.c     what clients ask for: subscribe, publish and so on
 *
 * Thread: the worker's that has the connection, for everything here. */
#ifndef GW_SOCKETIO_ENGINE_H
#define GW_SOCKETIO_ENGINE_H

#include <string.h>

#include "gateway/bucket.h"
#include "gateway/timer.h"
#include "gateway/transport.h"
#include "socketio/directory.h"
#include "socketio/form.h"
#include "socketio/packet.h"
#include "socketio/recall.h"

struct eio_binary;
struct eio_call;
struct eio_probe;
struct sio;
struct sio_arguments;

/* What only a connection has that polls. */
struct eio_polling {
    struct eio_call *get;      /* the request that is held; NULL: none */
    struct gw_buf control;     /* packets of Engine.IO that wait for one */
    unsigned control_count;    /* of them */
    struct eio_probe *leaving; /* the WebSocket that takes it over, once nothing waits any more; NULL: none */
    struct gw_buf frames;      /* what waited, for it */
    int64_t part_by_ms;        /* it is over, but a last poll may be on its way, until then; 0: no */
    bool probing;              /* requests are answered at once, for a WebSocket waits for the last of them */
};

/* A connection of Engine.IO: a WebSocket, or requests that poll. */
struct eio {
    struct gw_timer timer; /* first member */
    struct gw_hub *hub;
    struct gw_config *config; /* with which it began; a reload changes no names under a page */
    const struct gw_sio_options *options;
    struct gw_conn *conn;         /* its WebSocket; NULL: it polls */
    struct eio_polling *polling;  /* NULL: it does not */
    struct sio *sockets;          /* one for each namespace that the client has joined */
    struct gw_identity *identity; /* of the request that opened it; NULL: not known, or nobody has to be */
    enum gw_err refused;          /* ... or why it is not known */
    struct eio_binary *binary;    /* a packet whose attachments have not all come; NULL: none */
    struct sio_joining *joining;  /* a CONNECT whose ticket the engine is asked for; NULL: none */
    struct gw_bucket packets;     /* limits.message_rate */
    uint32_t refused_packets;     /* beyond it, in a row */
    int64_t ping_due_ms;
    int64_t pong_by_ms;    /* 0: no ping is unanswered */
    int64_t connect_by_ms; /* 0: it has joined a namespace once */
    bool listed;           /* it is in the directory */
    bool over;             /* it has been told to go; nothing happens any more */
    char sid[SIO_ID_SIZE];
};

/* What a session subscribes to. */
struct sio_filter {
    struct sio_filter *next;
    int64_t interval_ms;
    uint64_t fresh_to; /* what it began with, last values or what came after a cursor, goes up to here. Of windows:
                        * what was wanted of the past has been sent there; UINT64_MAX: not yet, or some may be lost */
    uint32_t generation;
    uint32_t size; /* of `text` */
    bool first;    /* it began with a cursor, and what came after that has offsets: there was nothing else */
    char text[]; /* the filter; the aggregate as clients write it, empty for messages; the cursor with which it began,
                  * empty for last values. Each ends with a NUL */
};
static inline const char *gw_sio_filter_aggregate(const struct sio_filter *filter)
{
    return filter->text + strlen(filter->text) + 1;
}
static inline const char *gw_sio_filter_from(const struct sio_filter *filter)
{
    const char *aggregate = gw_sio_filter_aggregate(filter);
    return aggregate + strlen(aggregate) + 1;
}

/* Where the answers go of a session whose connection has moved. */
struct sio_errand {
    unsigned worker;
    char sid[SIO_ID_SIZE];
};

/* A session of Socket.IO: a namespace that a client has joined. */
struct sio {
    struct gw_session session; /* first member */
    struct eio *eio;
    struct sio *next;
    const struct sio_shape *shape;
    gw_encode encode; /* the shape's; NULL: it has none, and every session makes its own packets */
    /* Last values of new subscriptions are on their way, or what a recovered one missed: up to this number. They are
     * older than where the client stands, so they come without an offset, except for those beyond `told`. */
    bool fresh;
    uint64_t fresh_to, told;
    uint32_t generation; /* of the newest of those subscriptions */
    uint32_t falls;      /* session.window_falls, as it was last looked at */
    uint32_t pending;    /* publishes and requests without an answer yet */
    struct sio_filter *filters;
    struct sio_owner *owner;   /* by which it is recovered; NULL: it is not */
    struct sio_errand *errand; /* it only waits for those answers, since its connection has moved; NULL: it has not */
    struct gw_buf syncing;     /* their filters as JSON strings, with commas */
    char sid[SIO_ID_SIZE];
};

/* --- engine.c --- */

/* Sends a packet of Engine.IO, which belongs to no session. */
void gw_eio_send(struct eio *eio, const char *packet, size_t len);
enum sio_carrier gw_eio_carrier(const struct eio *eio);
/* Ends it: `code` and `reason` for a WebSocket. The sessions go with it, soon. */
void gw_eio_end(struct eio *eio, int code, const char *reason);
/* The same because the client broke the protocol. */
void gw_eio_end_bad(struct eio *eio, const char *why);
/* A packet of Engine.IO from the client, with its type; or binary data. */
void gw_eio_take(struct eio *eio, const char *packet, size_t len);
void gw_eio_take_binary(struct eio *eio, const char *data, size_t len);
/* Answers a request like engine.io does: status 400 and a code. Its code 4 (allowRequest) is not among them. */
enum eio_refusal {
    EIO_TRANSPORT_UNKNOWN,
    EIO_SESSION_UNKNOWN,
    EIO_BAD_METHOD,
    EIO_BAD_REQUEST,
    EIO_BAD_VERSION = 5,
    EIO_FINE
};
void gw_eio_refuse(struct gw_conn *conn, enum eio_refusal code);
/* A new one, of the client that makes the request, with this configuration. */
struct eio *gw_eio_create(struct gw_conn *conn, const struct gw_config *config);
void gw_eio_set_timer(struct eio *eio);
/* Does what is due by now: pings, or ends it. */
void gw_eio_look(struct eio *eio);
/* Opens a WebSocket for a session that has one already, or another that tries, and closes it at once, as engine.io
 * does: to clients a refused handshake is an error, and this an end. */
void gw_eio_open_in_vain(struct gw_conn *conn, const struct gw_request *request);
void gw_eio_free(struct eio *eio);
extern const struct gw_conn_ops gw_eio_conn_ops; /* of its WebSocket */

/* --- polling.c --- */

/* A request of the session `sid`, which worker `home` has. */
void gw_eio_polling_request(struct gw_conn *conn, const struct gw_request *request, const char *sid, unsigned home);
/* Gives the request that is held what waits, if there is anything. */
void gw_eio_flush(struct eio *eio);
/* The session is over: the request that is held gets this one packet. */
void gw_eio_polling_end(struct eio *eio, enum gw_eio_type farewell);
/* It is over: true if it waits for a last poll that is on its way. Nothing else of it is left then. */
bool gw_eio_polling_part(struct eio *eio);
void gw_eio_polling_free(struct eio *eio);

/* --- upgrade.c --- */

/* A WebSocket for the session `sid`, which worker `home` has and which polls. */
void gw_eio_upgrade_request(struct gw_conn *conn, const struct gw_request *request, const char *sid, unsigned home);
/* The session leaves for its WebSocket as soon as nothing waits. */
void gw_eio_leave(struct eio *eio);
/* It has ended before that. */
void gw_eio_stay(struct eio *eio);

/* --- sockets.c --- */

/* A message of Engine.IO. Returns NULL, or why the connection must end. */
const char *gw_sio_take_text(struct eio *eio, const char *text, size_t len);
const char *gw_sio_take_binary(struct eio *eio, const char *data, size_t len);
/* All of a connection's, with what they hold. */
void gw_sio_free_all(struct eio *eio);
void gw_sio_binary_free(struct eio *eio);

/* --- connect.c --- */

void gw_sio_connect(struct eio *eio, const struct gw_sio_packet *packet);
/* Forgets a CONNECT that waits. */
void gw_sio_joining_free(struct eio *eio);
/* `44`: the client hears `connect_error` and does not try again by itself. `code` NULL: none of ours. */
void gw_sio_connect_error(struct eio *eio, struct gw_slice space, const char *message, const char *code);

/* --- share.c: where gateways share an engine --- */

#define SIO_SHARE_KEY_SIZE 72
void gw_sio_share_key(const char *pid, char key[SIO_SHARE_KEY_SIZE]);
/* Leaves what the session subscribes to at the engine; keep_ms 0: it goes on. */
void gw_sio_share(struct sio *sio, int64_t keep_ms);
/* It is over for good. */
void gw_sio_unshare(struct sio *sio);
/* What was left, if it is this client's; *filters is the caller's. */
bool gw_sio_shared_read(const char *text, size_t len, const char *space, const struct gw_identity *identity,
                        struct sio_filter **filters);

/* --- outlet.c --- */

/* Queues a packet for the client, one of Engine.IO with its type. */
void gw_sio_push(struct sio *sio, const struct gw_buf *packet);
/* Queues an event: `json` is its argument, `offset` another one (NULL: none). */
void gw_sio_emit(struct sio *sio, const char *event, const char *json, const char *offset);
/* Queues the acknowledgement `id` (decimal digits) with one object; NULL: none was asked for. */
void gw_sio_acknowledge(struct sio *sio, const char *id, const char *json);
/* The same with an object of protocol.h, whose `type` becomes the `status`. */
void gw_sio_acknowledge_typed(struct sio *sio, const char *id, const struct gw_buf *json);
/* Queues an error as acknowledgement or, if none was asked for, as an event. */
void gw_sio_refuse(struct sio *sio, const char *id, enum gw_err err, const char *message, int reason);
/* Sends what waits for the client. */
void gw_sio_drain(struct sio *sio);
/* Moves what waits into `out` until it has `most` bytes or there are no packets left; true: nothing is left now. */
bool gw_sio_collect(struct sio *sio, struct gw_buf *out, size_t most, unsigned *packets);
/* A session without subscriptions for a namespace. */
struct sio *gw_sio_create(struct eio *eio, const char *space, struct gw_identity *identity);
struct sio *gw_sio_find(const struct eio *eio, struct gw_slice space);
/* The client has left, or it was not let in: it is forgotten. */
void gw_sio_forget(struct sio *sio);
/* The connection has moved: the session goes, once publishes and requests have their answers. */
void gw_sio_leave(struct sio *sio, unsigned worker, const char *sid);
/* Notes a filter, or that it is no longer subscribed to. `aggregate` and `from` as in struct sio_filter; when a
 * filter is removed, `aggregate` NULL means either. */
struct sio_wanted {
    const char *text, *aggregate, *from;
    int64_t interval_ms;
    uint64_t fresh_to;
    uint32_t generation;
    bool first;
};
void gw_sio_filter_add(struct sio *sio, const struct sio_wanted *wanted);
struct sio_filter *gw_sio_filter_create(const struct sio_wanted *wanted);
void gw_sio_filter_remove(struct sio *sio, const char *text, size_t len, const char *aggregate);
/* The number up to which everything has been sent or waits. */
uint64_t gw_sio_place(const struct sio *sio);
/* A subscription has begun: what comes up to where it says is not new. Call it before gw_session_subscribe(). */
void gw_sio_before_subscribe(struct sio *sio);
void gw_sio_after_subscribe(struct sio *sio, const char *filter);
/* It has begun: it is noted. */
void gw_sio_subscribed(struct sio *sio, const char *name, const struct sio_arguments *arguments,
                       const struct gw_subscribed *subscribed, bool first);

/* --- events.c --- */

/* An event of the client. `attachments`: what came with it. Returns NULL, or why the connection must end. */
const char *gw_sio_event(struct sio *sio, const struct gw_sio_packet *packet, const struct gw_buf *attachments);

#endif
