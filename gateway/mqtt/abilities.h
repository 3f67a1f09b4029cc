/* abilities.h: what the broker said of itself in CONNACK (MQTT 5.0 section 3.2.2.3); docs/mqtt.md has the table.
 * Thread: the MQTT thread. */
#ifndef GW_MQTT_ABILITIES_H
#define GW_MQTT_ABILITIES_H

#include <mosquitto.h>
#include <stdbool.h>
#include <stdint.h>

#include "gateway/buf.h"
#include "gateway/config.h"

struct gw_abilities {
    bool v5;            /* false: MQTT 3.1.1, with everything else as that has it */
    bool retain;        /* it keeps retained messages */
    bool wildcards;     /* subscriptions may have + and # */
    bool ids;           /* subscriptions may have identifiers */
    int qos;            /* at most, of publishes */
    uint32_t packet;    /* bytes of a packet to it; 0: no bound that it names */
    uint32_t in_flight; /* publishes of QoS 1 and 2 that it takes without having acknowledged the one before */
};

/* What MQTT says where a broker says nothing. */
struct gw_abilities gw_abilities_default(bool v5);

/* Reads them, and logs what takes something away from the configuration. `properties` may be NULL. */
struct gw_abilities gw_abilities_read(bool v5, const mosquitto_property *properties,
                                      const struct gw_cfg_broker *broker);

#endif
