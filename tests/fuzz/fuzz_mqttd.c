/* What a client of the MQTT side sends: packets one after the other. Every one that is taken lies within what was
 * given, and is taken in the same way when it is alone. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/properties.h"
#include "gateway/topic.h"
#include "mqttd/packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(struct gw_slice part, struct gw_slice body)
{
    if (part.len && (part.data < body.data || part.data + part.len > body.data + body.len))
        abort();
}

static void users(const struct gw_mqttd_properties *properties, struct gw_slice body)
{
    struct gw_property property;
    size_t count = 0;
    for (size_t at = 0; gw_properties_next(properties->all, &at, &property);) {
        count += property.id == GW_PROPERTY_USER;
        inside(property.name, body);
        inside(property.value, body);
    }
    if (gw_mqttd_has(properties, GW_MQTTD_P_USER) != (count > 0))
        abort();
}

static void packet(const struct gw_mqttd_fixed *fixed, struct gw_slice body, unsigned version)
{
    const char *why = NULL;
    enum gw_mqttd_reason reason = GW_MQTTD_SUCCESS;
    struct gw_mqttd_connect connect;
    struct gw_mqttd_publish publish;
    struct gw_mqttd_subscribe subscribe;
    struct gw_mqttd_filter filter;
    struct gw_mqttd_ack ack;
    uint32_t count = 0;
    switch (fixed->type) {
    case GW_MQTTD_CONNECT:
        reason = gw_mqttd_read_connect(body, &connect, &why);
        if (reason)
            break;
        inside(connect.client_id, body);
        inside(connect.will_payload, body);
        inside(connect.password, body);
        users(&connect.will, body);
        if (connect.has_will && !gw_topic_name_valid(connect.will_topic.data, connect.will_topic.len))
            abort();
        break;
    case GW_MQTTD_PUBLISH:
        reason = gw_mqttd_read_publish(fixed->flags, body, version, &publish, &why);
        if (reason)
            break;
        inside(publish.payload, body);
        users(&publish.properties, body);
        if (publish.topic.len && !gw_topic_name_valid(publish.topic.data, publish.topic.len))
            abort();
        break;
    case GW_MQTTD_SUBSCRIBE:
    case GW_MQTTD_UNSUBSCRIBE:
        reason = gw_mqttd_read_subscribe(fixed->type, body, version, &subscribe, &why);
        if (reason)
            break;
        users(&subscribe.properties, body);
        for (size_t at = 0; gw_mqttd_next_filter(&subscribe, &at, &filter); count++)
            inside(filter.text, body);
        if (count != subscribe.count)
            abort();
        break;
    case GW_MQTTD_PUBACK:
    case GW_MQTTD_PUBREC:
    case GW_MQTTD_PUBREL:
    case GW_MQTTD_PUBCOMP:
        reason = gw_mqttd_read_ack(fixed->type, body, version, &ack, &why);
        break;
    case GW_MQTTD_DISCONNECT:
        reason = gw_mqttd_read_disconnect(body, version, &ack, &why);
        break;
    default:
        break;
    }
    if (reason && (reason < 0x80 || !why))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gw_mqttd_fixed fixed;
    const char *why, *bytes = (const char *)data;
    for (size_t at = 0; at < size; at += fixed.len + fixed.remaining) {
        if (gw_mqttd_read_fixed(bytes + at, size - at, &fixed, &why) || !fixed.len ||
            size - at - fixed.len < fixed.remaining)
            return 0;
        char *alone = malloc(fixed.remaining + 1);
        memcpy(alone, bytes + at + fixed.len, fixed.remaining);
        for (unsigned version = 3; version <= 5; version++)
            packet(&fixed, (struct gw_slice){alone, fixed.remaining}, version);
        free(alone);
    }
    return 0;
}
