/* packet.h: PUBLISH packets as they lie in a buffer (MQTT 3.1.1 section 3.3, MQTT 5.0 section 3.3). Pure functions.
 */
#ifndef GW_MQTT_PACKET_H
#define GW_MQTT_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Subscriptions that one message can name. More than that must overlap for a broker to name more. */
#define GW_PACKET_IDS_MAX 16

/* Topic and payload are not terminated, and belong to the giver of the packet. */
struct gw_packet {
    const char *topic, *payload;
    size_t topic_len, payload_len;
    uint32_t ids[GW_PACKET_IDS_MAX]; /* MQTT 5 subscription identifiers (section 3.3.2.3.8) */
    size_t id_count;
    /* MQTT 5: a block of properties.h, also with what is read out of it here; NULL: nothing that is passed on. */
    const char *properties;
    size_t properties_len;
    uint32_t expiry; /* MQTT 5 message expiry interval, seconds (section 3.3.2.3.3), if `expires` */
    uint16_t mid;    /* packet identifier; 0 at QoS 0 */
    uint8_t qos;
    bool expires;
    bool retain; /* it is a stored value */
    bool kept;   /* it is not, and the broker stores it; set where the subscriptions are known */
    bool dup;    /* it may have come before (MQTT 5.0 section 3.3.1.1); false where libmosquitto has read it */
};

/* The packet's length in bytes, if `data` begins with a whole PUBLISH of QoS 0 or 1 whose properties mean nothing to
 * us beyond the subscription identifiers and the expiry. 0: it does not, and libmosquitto has to see to it; *packet
 * is undefined then. */
size_t gw_packet_parse(const uint8_t *data, size_t len, bool v5, struct gw_packet *packet);

#endif
