/* redelivery.h: knows again what the broker sends a second time. In a session that the broker keeps
 * (broker.session_expiry), messages of QoS 1 whose PUBACK it did not get before the connection broke come again after
 * a reconnect: the same packet identifiers, in the same order, before anything new (MQTT 5.0 sections 4.4 and 4.6).
 * libmosquitto hides the DUP flag, so the identifier and a hash of topic and payload are compared. Thread: the MQTT
 * thread. */
#ifndef GW_MQTT_REDELIVERY_H
#define GW_MQTT_REDELIVERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mqtt/packet.h"

/* Messages remembered: more than brokers have in flight to one client. */
#define GW_REDELIVERY_MAX 1024

struct gw_redelivery_entry {
    uint64_t hash;
    int mid;
};

struct gw_redelivery {
    struct gw_redelivery_entry ring[GW_REDELIVERY_MAX];
    uint64_t count; /* messages noted so far; the newest is at (count - 1) % GW_REDELIVERY_MAX */
    uint64_t from;  /* redelivered ones are from here on ... */
    uint64_t to;    /* ... and before here; from == to: none are expected */
};

/* A connection begins. Without `session_present` the broker has forgotten everything. */
void gw_redelivery_connected(struct gw_redelivery *redelivery, bool session_present);

/* Of its topic and payload. */
uint64_t gw_redelivery_hash(const struct gw_packet *packet);

/* Notes a message of QoS 1 or 2 that is no stored value, and tells whether it had come before. */
bool gw_redelivery_is_double(struct gw_redelivery *redelivery, const struct gw_packet *packet);

#endif
