/* message.h: one immutable, reference-counted value on a channel, encoded once for every reader.
 *
 * One allocation holds the struct and all its bytes:
 *
 *   text      {"type":"message","channel":"rooms/k/t","data":21.5,"cursor":"E.7","ts":1764000000123}
 *   payload   the bytes that came over MQTT, for raw sockets; inside `text` where they are the same as `data`
 *   channel   the plain channel name, NUL-terminated
 *   properties  what came along with the payload (properties.h), mostly nothing
 *
 * The message object of polls and SSE is "{" followed by gw_message_tail(). The WebSocket frame headers (RFC 6455
 * section 5.2) for both forms are ready-made too, so that delivering is handing addresses to the kernel.
 *
 * Thread: any. Everything but the reference count is constant from gw_message_create() on. */
#ifndef GATEWAY_MESSAGE_H
#define GATEWAY_MESSAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/buf.h"
#include "gateway/hash.h"
#include "gateway/properties.h"

#define GW_MESSAGE_PREFIX "{\"type\":\"message\","
/* ... of one that tells of the channel's state. */
#define GW_STATUS_PREFIX "{\"type\":\"status\","
/* The field of an SSE stream that names its event, behind `data:`. */
#define GW_STATUS_EVENT  "event: status\n"
#define GW_WS_HEADER_MAX 10

/* What a channel's last value is worth. A message that has one is no value: it says that the channel's state has
 * changed. `data` is the state's name as a JSON string, and in `text` the member `state` has it in place of `data`.
 */
enum gw_state {
    GW_STATE_NONE,    /* a value */
    GW_STATE_LIVE,    /* it is true, so far as is known */
    GW_STATE_STALE,   /* nothing came for longer than its route allows */
    GW_STATE_OFFLINE, /* its availability says that its device is away */
    GW_STATE_UNKNOWN, /* of unknown age, or the gateway could not listen */
    GW_STATE_COUNT
};

/* msg->route of a message that was not made by the route table that is in force: its channel's name says which route.
 */
#define GW_ROUTE_BY_NAME  UINT32_MAX
#define GW_EVENT_HEAD_MAX 14

/* Another form of a message for some of its readers (what a role sees of it, a compressed frame): made once, kept as
 * long as the message. First member of what it is a form of. */
struct gw_variant {
    const void *key; /* for whom it is */
    void (*destroy)(struct gw_variant *variant);
    struct gw_variant *next;
};

struct gw_message {
    atomic_uint refs;
    uint32_t route;     /* index into the route table in force, or GW_ROUTE_BY_NAME; meaningful to the hub only */
    uint64_t seq;       /* position in the global sequence, from 1 */
    int64_t ts;         /* wall clock at arrival, ms since 1970 */
    int64_t expires_ms; /* wall clock; from then on it is no last value and in no history; 0: it does not expire */
    uint64_t hash;      /* gw_hash(channel) */
    int64_t born_ns;    /* monotonic clock at arrival, for the latency histogram */
    struct gw_slice watched; /* inside text: what policy on_change looks at; data NULL: nothing, it always passes */
    double number;           /* its value, if is_number */
    struct gw_slice text;
    struct gw_slice payload;
    struct gw_slice data; /* inside text */
    struct gw_slice channel;
    uint32_t properties_len; /* gw_message_properties() */
    uint32_t window;         /* gw_aggregate_id(): it is no value, `data` is a window of numbers that the hub made
                                (hub/windows/windows.h); 0: it is none */
    bool retained;  /* the broker sent it as a stored value, not as it happened; with `clear`: see the spec */
    bool stored;    /* the broker keeps a value of this channel, so far as is known: it sends it again to whoever
                       subscribes anew */
    bool multiline; /* text holds line ends (blanks of a device's JSON) */
    bool clear;     /* empty payload: data is null and the channel has no last value any more */
    bool is_number;
    uint8_t qos;   /* at which the broker sent it: 0 or 1 */
    uint8_t state; /* enum gw_state; GW_STATE_NONE: a value */
    uint8_t frame_len, raw_len;
    uint8_t frame[GW_WS_HEADER_MAX]; /* header of a text frame holding `text` */
    uint8_t raw[GW_WS_HEADER_MAX];   /* header of a text or binary frame holding `payload` */
    uint8_t event_len;
    char event[GW_EVENT_HEAD_MAX]; /* how its event of an SSE stream begins as a chunk (RFC 9112 section 7.1): size,
                                    * CRLF, "id: " */
    _Atomic(struct gw_variant *) variants; /* what some readers see in its place */
    char bytes[];
};

struct gw_message_spec {
    const char *channel;
    size_t channel_len;
    const char *json; /* the value of `data`, valid JSON text */
    size_t json_len;
    const char *payload; /* as it came over MQTT */
    size_t payload_len;
    const char *epoch;
    uint64_t seq;
    int64_t ts;
    int64_t expires_ms; /* 0: never */
    int64_t born_ns;
    uint32_t route;
    bool retained; /* with `clear`: the broker keeps the channel's value no more. It counts only where the last value
                      came before `ts`, and looks like any other clear to clients */
    bool stored;
    bool clear;
    bool binary;
    uint32_t window;
    uint8_t qos;
    uint8_t state; /* enum gw_state; then `json` and `payload` are gw_state_json() */
    int64_t since; /* with `state`: since when it is so, wall clock, ms since 1970 */
    int64_t seen;  /* ... when its newest live message came; 0: none did */
#define GW_KEEP_ALL UINT32_MAX
    uint32_t keep; /* GW_KEEP_ALL, or messages that the channel's history holds, for an engine that keeps them */
    struct gw_slice watched;    /* inside `json`; data NULL: none */
    struct gw_slice properties; /* a block of properties.h; len 0: none */
};

/* Copies everything out of *spec. The caller has the first reference. Never NULL. */
struct gw_message *gw_message_create(const struct gw_message_spec *spec);

struct gw_message *gw_message_ref(struct gw_message *msg);
/* NULL is fine. */
void gw_message_unref(struct gw_message *msg);
/* `count` references at once. Not NULL. */
void gw_message_ref_many(struct gw_message *msg, uint32_t count);
void gw_message_unref_many(struct gw_message *msg, uint32_t count);

/* The same message with the cursor of another position in its text. The caller has the first reference. */
struct gw_message *gw_message_at(const struct gw_message *msg, const char *epoch, uint64_t seq);

/* The form for those readers who go by `key`. Borrowed; NULL if there is none yet. */
struct gw_variant *gw_message_variant(const struct gw_message *msg, const void *key);
/* Takes `variant`, whose key and destroy() are set. Returns the one that is kept, borrowed: another thread may have
 * been first, and then this one was destroyed. */
struct gw_variant *gw_message_keep_variant(struct gw_message *msg, struct gw_variant *variant);

static inline bool gw_message_is_expired(const struct gw_message *msg, int64_t wall_ms)
{
    return msg->expires_ms && msg->expires_ms <= wall_ms;
}

/* `"channel":…}`: what follows "{" in the message object. */
static inline struct gw_slice gw_message_tail(const struct gw_message *msg)
{
    const size_t skip = (msg->state ? sizeof GW_STATUS_PREFIX : sizeof GW_MESSAGE_PREFIX) - 1;
    return (struct gw_slice){msg->text.data + skip, msg->text.len - skip};
}

/* The state's name, and the same as a JSON string; constants. */
const char *gw_state_name(enum gw_state state);
struct gw_slice gw_state_json(enum gw_state state);

/* `,"since":MS,"seen":MS,"state":"stale"` inside the text of one with a state. */
struct gw_slice gw_message_status(const struct gw_message *msg);

/* What came along with the payload: a block of properties.h, empty for most messages and for reduced forms of them.
 */
static inline struct gw_slice gw_message_properties(const struct gw_message *msg)
{
    return (struct gw_slice){msg->channel.data + msg->channel.len + 1, msg->properties_len};
}

/* `E.7` inside text, for SSE's id: and the like. */
struct gw_slice gw_message_cursor(const struct gw_message *msg);

/* Bytes that one reference keeps alive, the struct included. */
size_t gw_message_size(const struct gw_message *msg);

/* Writes an unmasked server frame header (RFC 6455 section 5.2) with FIN set; returns its length, 2 to 10. */
size_t gw_ws_header(uint8_t out[GW_WS_HEADER_MAX], unsigned opcode, uint64_t payload_len);

#endif
