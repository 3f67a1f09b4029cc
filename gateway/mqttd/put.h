/* put.h: a PUBLISH, written where there is room for it: the packet of every delivery, so it is all inline. Section
 * numbers are those of MQTT 5.0. */
#ifndef GW_MQTTD_PUT_H
#define GW_MQTTD_PUT_H

#include <string.h>

#include "mqttd/packet.h"

static inline size_t gw_mqttd_varint_size(size_t value)
{
    return value < 128 ? 1 : value < 16384 ? 2 : value < 2097152 ? 3 : 4;
}

/* Returns its end. */
static inline char *gw_mqttd_put_number(char *to, size_t value)
{
    for (; value > 0x7f; value >>= 7)
        *to++ = (char)(0x80 | (value & 0x7f));
    *to++ = (char)value;
    return to;
}

static inline char *gw_mqttd_put_number_16(char *to, size_t value)
{
    *to++ = (char)(value >> 8);
    *to++ = (char)value;
    return to;
}

/* Properties with their length; nothing below version 5. */
static inline size_t gw_mqttd_properties_size(unsigned version, size_t len)
{
    return version < 5 ? 0 : gw_mqttd_varint_size(len) + len;
}

/* The remaining length of a PUBLISH (section 3.3.1.4). */
static inline size_t gw_mqttd_publish_remaining(unsigned version, unsigned qos, size_t topic_len, size_t properties,
                                                size_t payload_len)
{
    return 2 + topic_len + (qos ? 2 : 0) + gw_mqttd_properties_size(version, properties) + payload_len;
}

/* The whole packet without flags, `remaining` long. Returns its end. Below version 5 there are no `properties`. */
static inline char *gw_mqttd_put_publish(char *to, unsigned version, unsigned qos, uint16_t id, size_t remaining,
                                         struct gw_slice topic, struct gw_slice properties, struct gw_slice payload)
{
    *to++ = (char)(GW_MQTTD_PUBLISH << 4 | qos << 1);
    to = gw_mqttd_put_number(to, remaining);
    to = gw_mqttd_put_number_16(to, topic.len);
    to = mempcpy(to, topic.data, topic.len);
    if (qos)
        to = gw_mqttd_put_number_16(to, id);
    if (version >= 5) {
        to = gw_mqttd_put_number(to, properties.len);
        if (properties.len)
            to = mempcpy(to, properties.data, properties.len);
    }
    return payload.len ? mempcpy(to, payload.data, payload.len) : to;
}

#endif
