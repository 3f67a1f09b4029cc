/* packet.h: MQTT packets of clients, read and written: MQTT 3.1.1 (and the older 3.1, which differs in its CONNECT
 * only) and MQTT 5.0. Section numbers are those of MQTT 5.0. Pure functions without state.
 *
 * Every function that reads returns 0, or the reason code that MQTT 5.0 has for what is wrong; *why then says in a
 * static sentence what was expected. Slices point into what was given. Thread: any. */
#ifndef GW_MQTTD_PACKET_H
#define GW_MQTTD_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/buf.h"
#include "gateway/error.h"

enum gw_mqttd_type {
    GW_MQTTD_CONNECT = 1,
    GW_MQTTD_CONNACK,
    GW_MQTTD_PUBLISH,
    GW_MQTTD_PUBACK,
    GW_MQTTD_PUBREC,
    GW_MQTTD_PUBREL,
    GW_MQTTD_PUBCOMP,
    GW_MQTTD_SUBSCRIBE,
    GW_MQTTD_SUBACK,
    GW_MQTTD_UNSUBSCRIBE,
    GW_MQTTD_UNSUBACK,
    GW_MQTTD_PINGREQ,
    GW_MQTTD_PINGRESP,
    GW_MQTTD_DISCONNECT,
    GW_MQTTD_AUTH
};

/* Section 2.4. */
enum gw_mqttd_reason {
    GW_MQTTD_SUCCESS = 0x00,
    GW_MQTTD_WITH_WILL = 0x04, /* DISCONNECT: publish the will all the same */
    GW_MQTTD_NO_SUBSCRIPTION = 0x11,
    GW_MQTTD_UNSPECIFIED = 0x80,
    GW_MQTTD_MALFORMED = 0x81,
    GW_MQTTD_PROTOCOL_ERROR = 0x82,
    GW_MQTTD_IMPLEMENTATION = 0x83,
    GW_MQTTD_UNSUPPORTED_VERSION = 0x84,
    GW_MQTTD_BAD_CLIENT_ID = 0x85,
    GW_MQTTD_BAD_PASSWORD = 0x86,
    GW_MQTTD_NOT_AUTHORIZED = 0x87,
    GW_MQTTD_UNAVAILABLE = 0x88,
    GW_MQTTD_BUSY = 0x89,
    GW_MQTTD_SHUTTING_DOWN = 0x8b,
    GW_MQTTD_BAD_AUTH_METHOD = 0x8c,
    GW_MQTTD_KEEP_ALIVE = 0x8d,
    GW_MQTTD_TAKEN_OVER = 0x8e,
    GW_MQTTD_BAD_FILTER = 0x8f,
    GW_MQTTD_BAD_TOPIC = 0x90,
    GW_MQTTD_ID_IN_USE = 0x91,
    GW_MQTTD_ID_NOT_FOUND = 0x92,
    GW_MQTTD_RECEIVE_MAXIMUM = 0x93,
    GW_MQTTD_BAD_ALIAS = 0x94,
    GW_MQTTD_TOO_LARGE = 0x95,
    GW_MQTTD_RATE = 0x96,
    GW_MQTTD_QUOTA = 0x97,
    GW_MQTTD_BAD_PAYLOAD = 0x99,
    GW_MQTTD_NO_SHARED = 0x9e,
    GW_MQTTD_CONNECTION_TIME = 0xa0
};

/* Section 2.2.2.2. */
enum gw_mqttd_property {
    GW_MQTTD_P_PAYLOAD_FORMAT = 0x01,
    GW_MQTTD_P_MESSAGE_EXPIRY = 0x02,
    GW_MQTTD_P_CONTENT_TYPE = 0x03,
    GW_MQTTD_P_RESPONSE_TOPIC = 0x08,
    GW_MQTTD_P_CORRELATION = 0x09,
    GW_MQTTD_P_SUBSCRIPTION_ID = 0x0b,
    GW_MQTTD_P_SESSION_EXPIRY = 0x11,
    GW_MQTTD_P_ASSIGNED_CLIENT_ID = 0x12,
    GW_MQTTD_P_SERVER_KEEP_ALIVE = 0x13,
    GW_MQTTD_P_AUTH_METHOD = 0x15,
    GW_MQTTD_P_AUTH_DATA = 0x16,
    GW_MQTTD_P_REQUEST_PROBLEM = 0x17,
    GW_MQTTD_P_WILL_DELAY = 0x18,
    GW_MQTTD_P_REQUEST_RESPONSE = 0x19,
    GW_MQTTD_P_REASON_STRING = 0x1f,
    GW_MQTTD_P_RECEIVE_MAXIMUM = 0x21,
    GW_MQTTD_P_ALIAS_MAXIMUM = 0x22,
    GW_MQTTD_P_ALIAS = 0x23,
    GW_MQTTD_P_USER = 0x26,
    GW_MQTTD_P_MAXIMUM_PACKET = 0x27,
    GW_MQTTD_P_SHARED_AVAILABLE = 0x2a
};

/* The properties of one packet. What is not there is zero, but for those whose default is another (3.1.2.11). */
struct gw_mqttd_properties {
    uint64_t present;    /* a bit for each identifier */
    struct gw_slice all; /* the block as it came; of a PUBLISH, will or SUBSCRIBE for gw_properties_next() */
    uint8_t request_problem;
    uint16_t receive_maximum, alias_maximum, alias;
    uint32_t message_expiry, session_expiry, maximum_packet, will_delay, subscription_id;
    struct gw_slice response_topic;
};

static inline bool gw_mqttd_has(const struct gw_mqttd_properties *properties, enum gw_mqttd_property id)
{
    return properties->present >> id & 1;
}

/* The value of the first user property of that name in a SUBSCRIBE, or data NULL. */
struct gw_slice gw_mqttd_user(const struct gw_mqttd_properties *properties, const char *name);

struct gw_mqttd_fixed {
    enum gw_mqttd_type type;
    uint8_t flags;
    uint8_t len; /* of this header, 2 to 5 bytes */
    uint32_t remaining;
};

/* The fixed header (2.1). GW_OK with out->len 0: there is more to come. */
GW_MUST_CHECK enum gw_mqttd_reason gw_mqttd_read_fixed(const char *data, size_t len, struct gw_mqttd_fixed *out,
                                                       const char **why);

struct gw_mqttd_connect {
    uint8_t version; /* 3, 4 (MQTT 3.1.1) or 5 */
    bool clean, has_will, will_retain, has_user, has_password;
    uint8_t will_qos;
    uint16_t keep_alive; /* seconds; 0: none */
    struct gw_slice client_id, will_topic, will_payload, user, password;
    struct gw_mqttd_properties properties, will;
};

/* out->version is set as far as it is known, so that the refusal can be written. */
GW_MUST_CHECK enum gw_mqttd_reason gw_mqttd_read_connect(struct gw_slice body, struct gw_mqttd_connect *out,
                                                         const char **why);

struct gw_mqttd_publish {
    bool dup, retain;
    uint8_t qos;
    uint16_t id;           /* 0 at QoS 0 */
    struct gw_slice topic; /* empty: properties.alias names it */
    struct gw_slice payload;
    struct gw_mqttd_properties properties;
};

/* Here and below, `body` is what follows the fixed header. */
GW_MUST_CHECK enum gw_mqttd_reason gw_mqttd_read_publish(uint8_t flags, struct gw_slice body, unsigned version,
                                                         struct gw_mqttd_publish *out, const char **why);

/* PUBACK, PUBREC, PUBREL, PUBCOMP; DISCONNECT, without an id. */
struct gw_mqttd_ack {
    uint16_t id;
    uint8_t reason;
    struct gw_mqttd_properties properties;
};

GW_MUST_CHECK enum gw_mqttd_reason gw_mqttd_read_ack(enum gw_mqttd_type type, struct gw_slice body, unsigned version,
                                                     struct gw_mqttd_ack *out, const char **why);
GW_MUST_CHECK enum gw_mqttd_reason gw_mqttd_read_disconnect(struct gw_slice body, unsigned version,
                                                            struct gw_mqttd_ack *out, const char **why);

struct gw_mqttd_filter {
    struct gw_slice text; /* UTF-8; whether it is a valid filter is not looked at */
    uint8_t qos;
    bool no_local, as_published;
    uint8_t retain_handling; /* 0, 1, 2 (3.8.3.1) */
};

/* SUBSCRIBE and UNSUBSCRIBE. */
struct gw_mqttd_subscribe {
    uint16_t id;
    uint32_t count; /* of filters, at least 1 */
    struct gw_slice filters;
    bool options; /* each filter is followed by its options (SUBSCRIBE) */
    struct gw_mqttd_properties properties;
};

GW_MUST_CHECK enum gw_mqttd_reason gw_mqttd_read_subscribe(enum gw_mqttd_type type, struct gw_slice body,
                                                           unsigned version, struct gw_mqttd_subscribe *out,
                                                           const char **why);
/* Its filters one after the other: start with *at = 0. False at the end. */
bool gw_mqttd_next_filter(const struct gw_mqttd_subscribe *packet, size_t *at, struct gw_mqttd_filter *out);

/* --- writing (write.c). Everything appends to `out`. `properties` NULL: none; it is not looked at below version 5.
 */

/* Properties are gathered in a buffer of their own, without their length. */
void gw_mqttd_put_byte(struct gw_buf *properties, enum gw_mqttd_property id, uint8_t value);
void gw_mqttd_put_u16(struct gw_buf *properties, enum gw_mqttd_property id, uint16_t value);
void gw_mqttd_put_u32(struct gw_buf *properties, enum gw_mqttd_property id, uint32_t value);
void gw_mqttd_put_varint(struct gw_buf *properties, enum gw_mqttd_property id, uint32_t value);
/* Cut to 65535 bytes. */
void gw_mqttd_put_text(struct gw_buf *properties, enum gw_mqttd_property id, const char *text, size_t len);
void gw_mqttd_put_user(struct gw_buf *properties, const char *name, const char *value, size_t len);

/* `reason` is translated for version 3 and 4. */
void gw_mqttd_write_connack(struct gw_buf *out, unsigned version, bool session_present, uint8_t reason,
                            const struct gw_buf *properties);
void gw_mqttd_write_ack(struct gw_buf *out, enum gw_mqttd_type type, unsigned version, uint16_t id, uint8_t reason,
                        const struct gw_buf *properties);
/* SUBACK, UNSUBACK: a code for each filter, those of version 5. */
void gw_mqttd_write_suback(struct gw_buf *out, enum gw_mqttd_type type, unsigned version, uint16_t id,
                           const uint8_t *codes, size_t count, const struct gw_buf *properties);
void gw_mqttd_write_pingresp(struct gw_buf *out);
/* Writes nothing below version 5: there the end of the connection says it. */
void gw_mqttd_write_disconnect(struct gw_buf *out, unsigned version, uint8_t reason, const struct gw_buf *properties);

#define GW_MQTTD_DUP    8
#define GW_MQTTD_RETAIN 1
/* All of a PUBLISH but its payload. flags: GW_MQTTD_DUP and GW_MQTTD_RETAIN. */
void gw_mqttd_write_publish(struct gw_buf *out, unsigned version, unsigned flags, unsigned qos, uint16_t id,
                            struct gw_slice topic, const struct gw_buf *properties, size_t payload_len);
/* The length of the whole packet. */
size_t gw_mqttd_publish_size(unsigned version, unsigned qos, size_t topic_len, size_t properties_len,
                             size_t payload_len);

#endif
