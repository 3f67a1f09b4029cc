/* client.h: one MQTT client: a hub session with the state that MQTT has for a connection. For the files of mqttd/.
 *
 * transport.c: from a connection's bytes to packets, the life of a client. connect.c: CONNECT. subscribe.c:
 * SUBSCRIBE, UNSUBSCRIBE. publish.c: PUBLISH of the client, its receipts. deliver.c, alike.c, parcel.c: messages to
 * the client. gaps.c: what it is told of those that are gone. window.c: what is on its way at QoS 1. names.c: client
 * identifiers and take-over. reason.c: reason codes. options.c: the configuration. Thread: the loop of the worker
 * that has the connection.
 */
#ifndef GW_MQTTD_CLIENT_H
#define GW_MQTTD_CLIENT_H

#include "gateway/auth.h"
#include "gateway/bucket.h"
#include "gateway/options.h"
#include "gateway/timer.h"
#include "gateway/transport.h"
#include "mqttd/packet.h"

/* `mqtt:` in the configuration. */
struct gw_mqttd_options {
    char *path; /* of the WebSocket */
    int names;  /* what clients call topics: enum gw_mqttd_names */
    uint32_t receive_maximum;
    uint32_t sessions; /* that are kept without a connection */
    int64_t session_expiry_ms;
};

enum gw_mqttd_names { GW_MQTTD_CHANNELS };

/* Topic aliases that a client may set (3.2.2.3.8), and that are set for it at most (3.1.2.11.5). */
#define GW_MQTTD_ALIASES 16
/* Gaps that wait for a message of their channel, or for its acknowledgement. */
#define GW_MQTTD_GAPS 16

struct gw_mqttd_kept;
struct gw_shared_wait;
struct gw_mqttd_client;
/* What the engine has of a client's session: NULL: there is none, or the error that the engine is away. */
typedef void (*gw_mqttd_recalled)(struct gw_mqttd_client *client, struct gw_mqttd_kept *kept, enum gw_err err);

struct gw_mqttd_sub {
    char *filter;
    size_t len;
    uint64_t from;     /* it has nothing of what was before, but for last values */
    uint64_t fresh_to; /* last values up to here are its retained messages */
    int64_t since_ms;  /* it wants nothing from before this time (wall clock); 0: all */
    uint32_t id;       /* subscription identifier; 0: none */
    uint8_t qos;       /* granted: 0 or 1 */
    bool as_published;
    bool no_local;
    bool cursors;    /* messages bring theirs as a user property */
    char *aggregate; /* FIELD:EVERY, valid: it brings windows in place of messages; NULL: messages */
    uint32_t window; /* gw_aggregate_id(); 0: messages */
};

/* A message at QoS 1 that the client has not acknowledged. */
struct gw_mqttd_inflight {
    uint64_t seq;
    uint16_t id;
};

/* To be told with the next message of its channel, until that is acknowledged. */
struct gw_mqttd_gap {
    struct gw_gap *gap;
    uint16_t id; /* of the message that told it, on its way at QoS 1; 0: not told yet */
    bool put;    /* it is in the message that is being written */
};

struct gw_mqttd_will {
    struct gw_buf topic, payload, properties;
    int64_t delay_ms;
    bool expires;
    uint32_t expiry; /* seconds, if `expires` */
    bool wanted;     /* it is published if the connection ends now */
};

/* User properties of a PUBLISH that are meant for the gateway. */
#define GW_MQTTD_CONFIRM "sluice-confirm"
#define GW_MQTTD_KEY     "sluice-idempotency-key"

struct gw_mqttd_client {
    struct gw_session session; /* first member; open from the CONNECT that was accepted on */
    /* What every delivery looks at, side by side: with many clients each line of the cache that it needs costs more
     * than what is done with it. */
    struct gw_conn *conn;
    struct gw_buf out;     /* packets of ours, framed, that the socket did not take yet */
    uint32_t exact;        /* subscriptions whose messages differ from those of other clients */
    uint32_t gaps_waiting; /* of `gaps`, those that were not told yet */
    uint8_t version;       /* 0: CONNECT has not come */
    bool plain;            /* no WebSocket */
    bool ended;            /* nothing more is read or sent */
    bool connected;
    bool tailored;  /* all its messages differ from those of others: aliases, a maximum packet size, a kept session */
    bool careful;   /* what waits may be retained messages, or gaps */
    bool gathering; /* what is sent waits in `out` until the input is done */
    bool held;      /* packets wait in `in` for the broker's acknowledgements */

    bool refused;          /* the handshake's credentials were */
    bool clean;            /* it wants no session that was kept */
    bool waiting;          /* for the engine, or another client with its name; packets wait in `in` */
    bool problems;         /* it wants reason strings (3.1.2.11.7) */
    struct gw_timer timer; /* for CONNECT, then for what the client has to send within its keep-alive */
    struct gw_mqttd_client *next, **link; /* the worker's list of those that are connected */
    struct gw_identity *offered;          /* by the handshake, until CONNECT; NULL: nobody */
    char *name;                           /* identity and client identifier (names.c); NULL: none yet */
    char origin[GW_ORIGIN_SIZE + 1];      /* what its publishes are known by; empty: it need not know its own */
    char assigned[40];                    /* client identifier that we gave; empty: it has its own */
    uint64_t serial;                      /* of this client in the process */
    int64_t keep_alive_ms;                /* 0: none */
    int64_t heard_ms;
    struct gw_buf in;              /* the beginning of a packet, or packets that wait while `held` */
    struct gw_bucket frames;       /* limits.message_rate */
    struct gw_shared_wait *recall; /* for its session, which the engine is asked for; NULL: not */
    gw_mqttd_recalled recalled;    /* ... and who gets it */
    struct gw_shared_wait *asking; /* for the ticket that is its password; NULL: not */
    struct gw_buf asked;           /* ... in this CONNECT */
    struct gw_mqttd_will will;
    int64_t expiry_ms; /* how long its session is kept */
    int64_t asked_ms;  /* ... and how long it asked for */

    /* publish.c */
    struct gw_slice *aliases; /* GW_MQTTD_ALIASES topics, malloc'd; NULL: none was set yet */
    uint32_t receive_maximum; /* publishes of the client that wait for the broker */
    struct gw_mqttd_ids *ids; /* identifiers of QoS 2 in use; NULL: none ever */

    /* subscribe.c, deliver.c, window.c */
    struct gw_mqttd_sub *subs;
    uint32_t sub_count, sub_allocated;
    uint32_t maximum_packet; /* that the client takes */
    uint32_t window;         /* messages at QoS 1 on their way */
    uint32_t inflight_count, inflight_first, inflight_mask;
    struct gw_mqttd_inflight *inflight; /* a ring (window.c); NULL: none yet */
    uint16_t last_id;
    uint16_t free_ids;                /* identifiers after last_id that are not in use */
    uint32_t alias_maximum;           /* of topic aliases for the client */
    char **names;                     /* alias_maximum channels, those that have one, from 1 on; NULL: none yet */
    uint64_t handed;                  /* number of the last message that was written */
    struct gw_mqttd_inflight *replay; /* of the kept session, up to `replay_to`: to be sent again; NULL: none */
    uint32_t replay_count;
    uint64_t replay_to;
    struct gw_mqttd_gap *gaps; /* GW_MQTTD_GAPS (gaps.c); NULL: none yet */
    uint32_t gap_count;
};

/* --- options.c -------------------------------------------------------------------------------------------------- */

extern const struct gw_options gw_mqttd_options;
const struct gw_mqttd_options *gw_mqttd_config(const struct gw_mqttd_client *client);

/* --- transport.c ------------------------------------------------------------------------------------------------ */

/* Sends a packet; takes the content. */
void gw_mqttd_send(struct gw_mqttd_client *client, struct gw_buf *packet);
/* Sends what waits in `out`; false: the socket takes no more. */
bool gw_mqttd_flush(struct gw_mqttd_client *client);
/* Ends the connection: CONNACK or DISCONNECT with the reason, then the close. `why`: a sentence for the client. */
void gw_mqttd_fail(struct gw_mqttd_client *client, uint8_t reason, const char *why);
/* The same, with another close code of the WebSocket than the reason's. */
void gw_mqttd_fail_as(struct gw_mqttd_client *client, uint8_t reason, int close_code, const char *why);
/* Goes on with the packets that wait. */
void gw_mqttd_resume(struct gw_mqttd_client *client);

/* --- connect.c, subscribe.c, publish.c, deliver.c -------------------------------------------------------------- */

void gw_mqttd_on_connect(struct gw_mqttd_client *client, struct gw_slice body);
/* The client has its name, and `kept` (NULL: nothing) was kept for it, which is taken. */
void gw_mqttd_connected(struct gw_mqttd_client *client, struct gw_mqttd_kept *kept);
/* The will is published, if there is one. */
void gw_mqttd_send_will(struct gw_mqttd_client *client);
enum gw_err gw_mqttd_publish_will(struct gw_session *session, const struct gw_mqttd_will *will);
void gw_mqttd_forget_will(struct gw_mqttd_will *will);

void gw_mqttd_on_subscribe(struct gw_mqttd_client *client, struct gw_slice body);
void gw_mqttd_on_unsubscribe(struct gw_mqttd_client *client, struct gw_slice body);
void gw_mqttd_forget_subs(struct gw_mqttd_client *client);

/* Must this PUBLISH wait for the broker's acknowledgements of those before it? */
bool gw_mqttd_publish_waits(const struct gw_mqttd_client *client);
void gw_mqttd_on_publish(struct gw_mqttd_client *client, uint8_t flags, struct gw_slice body);
void gw_mqttd_on_pubrel(struct gw_mqttd_client *client, uint16_t id);
void gw_mqttd_confirmed(struct gw_session *session, const char *reference, const struct gw_confirmed *confirmed);
void gw_mqttd_published(struct gw_session *session, const char *reference, enum gw_err err, int reason);
void gw_mqttd_forget_publishes(struct gw_mqttd_client *client);
/* From now on its publishes are known by its origin, for subscriptions with No Local (section 3.8.3.1). */
void gw_mqttd_make_origin(struct gw_mqttd_client *client);

void gw_mqttd_drain(struct gw_mqttd_client *client);
void gw_mqttd_forget_messages(struct gw_mqttd_client *client);
/* Has its time passed, it is not delivered any more (section 3.3.2.3.3). */
bool gw_mqttd_is_late(const struct gw_message *msg);
/* What came along with a message from the broker, as properties. */
void gw_mqttd_put_along(const struct gw_message *msg, struct gw_buf *properties);

/* --- alike.c ---------------------------------------------------------------------------------------------------- */

/* For gw_conn_drain(): messages at QoS 0 as they are for all clients like this one. */
gw_encode gw_mqttd_encoder(const struct gw_mqttd_client *client);
/* --- parcel.c --------------------------------------------------------------------------------------------------- */

/* A client of this worker begins, or has ended: with the last one what is kept for others goes. */
void gw_mqttd_parcels_open(void);
void gw_mqttd_parcels_close(void);

/* `text` is empty: it brings messages. */
void gw_mqttd_sub_aggregate(struct gw_mqttd_sub *sub, struct gw_slice text);

/* --- window.c --------------------------------------------------------------------------------------------------- */

/* Makes `inflight`, or makes it larger. Most clients have few messages on their way, and only one that has missed
 * many needs all of its window. */
void gw_mqttd_window_grow(struct gw_mqttd_client *client);
/* Looks for identifiers that are not in use: free_ids > 0. */
void gw_mqttd_find_ids(struct gw_mqttd_client *client);

/* A packet identifier that is not in use. */
static inline uint16_t gw_mqttd_next_id(struct gw_mqttd_client *client)
{
    if (!client->free_ids)
        gw_mqttd_find_ids(client);
    client->free_ids--;
    return ++client->last_id;
}

/* Those on their way, oldest first; index < inflight_count. */
static inline struct gw_mqttd_inflight *gw_mqttd_window_at(const struct gw_mqttd_client *client, uint32_t index)
{
    return &client->inflight[(client->inflight_first + index) & client->inflight_mask];
}

/* A message is on its way. There must be room in the window. */
static inline void gw_mqttd_window_add(struct gw_mqttd_client *client, uint64_t seq, uint16_t id)
{
    if (!client->inflight || client->inflight_count > client->inflight_mask)
        gw_mqttd_window_grow(client);
    *gw_mqttd_window_at(client, client->inflight_count++) = (struct gw_mqttd_inflight){seq, id};
}

/* A kept session goes on before what the client had not acknowledged. What it had, it is not sent again. Returns the
 * identifier of before, or 0; *skip: it has it. */
uint16_t gw_mqttd_replayed(struct gw_mqttd_client *client, const struct gw_message *msg, bool *skip);
void gw_mqttd_on_puback(struct gw_mqttd_client *client, uint16_t id);
/* Clients at QoS 1 mostly send acknowledgements. PUBACKs that have no reason code or that of success
 * (sections 3.4.2.1, 3.4.2.2) need nothing of what is done for other packets. Takes those that `data` begins with;
 * returns how many bytes they are. Only where no input waits. */
size_t gw_mqttd_take_pubacks(struct gw_mqttd_client *client, const char *data, size_t len);
/* It answers to nothing: the gateway sends nothing at QoS 2. */
void gw_mqttd_on_pubrec(struct gw_mqttd_client *client, uint16_t id);
void gw_mqttd_forget_window(struct gw_mqttd_client *client);

/* --- subscribe.c: its part of a session that is kept ------------------------------------------------------------ */

void gw_mqttd_restore_sub(struct gw_mqttd_client *client, struct gw_mqttd_sub *sub, const struct gw_start *start);

/* --- names.c: who has a client identifier, in the whole process ------------------------------------------------ */

/* The client gets its identifier. Another client of the same identity that has it is ended. Then, now or later,
 * gw_mqttd_connected() is called. */
void gw_mqttd_take_name(struct gw_mqttd_client *client, struct gw_slice client_id);
/* Keeps its session, if that is to be kept. The hub's session is still open. Fine if it has no name. */
void gw_mqttd_leave(struct gw_mqttd_client *client);

/* --- gaps.c ----------------------------------------------------------------------------------------------------- */

/* Takes the item's gap, and logs it. */
void gw_mqttd_keep_gap(struct gw_mqttd_client *client, struct gw_item *item);
/* Puts those that go with this message among its properties. */
void gw_mqttd_put_gaps(struct gw_mqttd_client *client, const struct gw_message *msg, struct gw_buf *properties);
/* The message that they were put into leaves with this identifier; 0: it has none, and they are done with. If it does
 * not leave, they wait for the next one. */
void gw_mqttd_gaps_told(struct gw_mqttd_client *client, uint16_t id);
void gw_mqttd_gaps_acknowledged(struct gw_mqttd_client *client, uint16_t id);
/* Those of a kept session are told again. */
void gw_mqttd_restore_gaps(struct gw_mqttd_client *client, const struct gw_mqttd_kept *kept);
/* NULL and 0 are fine. */
void gw_mqttd_forget_gaps(struct gw_mqttd_gap *gaps, uint32_t count);
/* Behind the text of a kept session. What can't be read is left out. */
void gw_mqttd_gaps_write(const struct gw_mqttd_kept *kept, struct gw_buf *out);
void gw_mqttd_gaps_read(const char *at, const char *end, struct gw_mqttd_kept *kept);

/* --- kept.c: sessions without a connection --------------------------------------------------------------------- */

struct gw_mqttd_late;

struct gw_mqttd_kept {
    int64_t until_ms;
    uint64_t place; /* everything up to here was handed out */
    char cursor[64];
    bool windows_waited; /* not all windows that were due had been handed out */
    struct gw_mqttd_sub *subs;
    uint32_t sub_count;
    struct gw_mqttd_inflight *inflight; /* not acknowledged */
    uint32_t inflight_count;
    uint16_t last_id;
    char origin[GW_ORIGIN_SIZE + 1];
    struct gw_mqttd_ids *ids;
    struct gw_mqttd_gap *gaps; /* not told for certain; NULL: none */
    uint32_t gap_count;
    struct gw_mqttd_late *late; /* will with a delay; NULL: none */
};

/* Moves the client's session out of it; NULL: nothing is to be kept. */
struct gw_mqttd_kept *gw_mqttd_keep(struct gw_mqttd_client *client, int64_t now_ms);
int64_t gw_mqttd_kept_until(const struct gw_mqttd_kept *kept); /* monotonic, ms */
/* Moves the session into the client. */
void gw_mqttd_restore(struct gw_mqttd_client *client, struct gw_mqttd_kept *kept);
/* NULL is fine. Thread: any. */
void gw_mqttd_kept_free(struct gw_mqttd_kept *kept);

/* --- recall.c: kept sessions where several gateways share an engine --------------------------------------------- */

/* Leaves it at the engine as well, so that the client may come back to any gateway. */
void gw_mqttd_share(const struct gw_mqttd_client *client, const struct gw_mqttd_kept *kept);
/* Takes it from there; `done` gets it. */
void gw_mqttd_recall(struct gw_mqttd_client *client, gw_mqttd_recalled done);
/* The client goes: what has been taken for it meanwhile is put back. */
void gw_mqttd_recall_forget(struct gw_mqttd_client *client);

/* publish.c: identifiers of QoS 2 as text, and back. */
void gw_mqttd_ids_write(const struct gw_mqttd_ids *ids, struct gw_buf *out);
struct gw_mqttd_ids *gw_mqttd_ids_read(const char **at);

/* --- reason.c -------------------------------------------------------------------------------------------------- */

/* Codes for PUBACK and PUBREC, for SUBACK, and for DISCONNECT. `reason`: the broker's, or 0. */
uint8_t gw_mqttd_publish_code(enum gw_err err, int reason);
uint8_t gw_mqttd_subscribe_code(enum gw_err err);
uint8_t gw_mqttd_disconnect_code(enum gw_err err);
/* The close code of a WebSocket (RFC 6455 section 7.4) that goes with a reason code. */
int gw_mqttd_close_code(uint8_t reason);
/* "forbidden: …" as a reason string. `why` NULL: gw_err_text(). */
void gw_mqttd_put_reason(struct gw_buf *properties, enum gw_err err, const char *why);

#endif
