/* receiver.h: takes messages from the broker's connection many at a time.
 *
 * libmosquitto reads a packet in four calls of read(2), three of them for one byte, which costs more than all that we
 * do with a message (docs/decisions/0012-reading-beside-libmosquitto.md). So we look at what has arrived (MSG_PEEK),
 * take the PUBLISH packets of QoS 0 and 1 at its head, and drop those bytes from the socket; any other packet, and
 * any that is not there as a whole, is left where it is, for libmosquitto. Over TLS the same is done with
 * SSL_peek(3), a record at a time (stream.h). What must hold:
 *   - we look only while libmosquitto is between two packets: it says so by errno 0 after mosquitto_loop_read(). It
 * leaves another number when it wakes a loop of its own that nobody runs, so the message callback must set errno to 0
 * at its end;
 *   - PUBACKs leave in the order of their messages (MQTT 5.0 section 4.6), and never inside of a packet of
 * libmosquitto's;
 *   - while a PUBACK can't leave, nothing more is read.
 * Where messages are safe only later (gw_receiver_defer()), a PUBACK waits until they are, and reading goes on.
 * Thread: the MQTT thread. */
#ifndef GW_MQTT_RECEIVER_H
#define GW_MQTT_RECEIVER_H

#include <mosquitto.h>

#include "mqtt/packet.h"

#define GW_RECEIVER_ACKS 1024
/* PUBACKs that wait for their messages to be safe: more packet identifiers there are none. */
#define GW_RECEIVER_WAITING 65536

/* When messages are safe. Both are called with the receiver's context. */
struct gw_receiver_safety {
    uint64_t (*taken)(void *context); /* messages taken so far, in a count that rises */
    uint64_t (*safe)(void *context);  /* how far they are safe */
    bool (*room)(void *context);      /* false: nothing is to be read */
};

struct gw_receiver_waiting {
    uint64_t ticket; /* taken() behind the message */
    uint16_t mid;
};

struct gw_receiver {
    void (*take)(void *context, const struct gw_packet *packet);
    void (*other)(void *context, const uint8_t *data, size_t len);
    void *context;
    uint8_t *buffer; /* NULL: libmosquitto reads everything: a version of it that we don't know */
    bool v5, tls;
    bool between;                       /* libmosquitto is not inside of a packet */
    uint8_t acks[GW_RECEIVER_ACKS * 4]; /* PUBACKs to be sent */
    size_t ack_len, ack_sent;
    bool blocked;                            /* TLS has some of them, and could not write them */
    const struct gw_receiver_safety *safety; /* NULL: a message is safe when `take` returns */
    struct gw_receiver_waiting *waiting;     /* a ring */
    size_t waiting_first, waiting_count;
    bool closing; /* nothing is read any more */
};

/* `take` gets every message that libmosquitto does not see; it belongs to the callee until that returns. `other`, if
 * it is given, may look at what has arrived of a packet that is left to libmosquitto, just before it reads that; it
 * may be shown the same one twice. */
void gw_receiver_init(struct gw_receiver *receiver, void (*take)(void *context, const struct gw_packet *packet),
                      void (*other)(void *context, const uint8_t *data, size_t len), void *context);

/* From now on PUBACKs wait for `safety`, which is static. */
void gw_receiver_defer(struct gw_receiver *receiver, const struct gw_receiver_safety *safety);
/* Makes PUBACKs of those whose messages are safe now, for gw_receiver_write(). */
void gw_receiver_settle(struct gw_receiver *receiver);
/* Do PUBACKs wait, or are they on their way? */
bool gw_receiver_owes(const struct gw_receiver *receiver);
/* Nothing is read any more; what has come before is acknowledged still. */
void gw_receiver_stop(struct gw_receiver *receiver);
void gw_receiver_fini(struct gw_receiver *receiver);

/* The connection is gone, or there has been none: libmosquitto reads until the next one. */
void gw_receiver_lost(struct gw_receiver *receiver);
/* A connection begins, with CONNACK just read. */
void gw_receiver_connected(struct gw_receiver *receiver, bool v5, bool tls);

/* Reads what is there, within bounds. Returns an error of libmosquitto's. */
int gw_receiver_read(struct gw_receiver *receiver, struct mosquitto *mosq);
/* Writes what waits: libmosquitto's packets and our PUBACKs. Returns an error of libmosquitto's. */
int gw_receiver_write(struct gw_receiver *receiver, struct mosquitto *mosq);

/* Sends PUBACKs only, while libmosquitto is inside of a packet. False: the connection is broken. */
bool gw_receiver_send(struct gw_receiver *receiver, struct mosquitto *mosq);

/* POLLIN, POLLOUT: what to wait for. */
short gw_receiver_events(const struct gw_receiver *receiver, struct mosquitto *mosq);
/* Is there something to be read that poll(2) does not tell of? */
bool gw_receiver_pending(const struct gw_receiver *receiver, struct mosquitto *mosq);

#endif
