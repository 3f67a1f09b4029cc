#include "mqtt/packet.h"

#include <mqtt_protocol.h>

#define TYPE_PUBLISH 3

/* What is left to read. A read beyond the end makes it bad, and everything after that reads as 0. */
struct reader {
    const uint8_t *at, *end;
    bool bad;
};

static const uint8_t *reader_take(struct reader *reader, size_t len)
{
    if (reader->bad || (size_t)(reader->end - reader->at) < len) {
        reader->bad = true;
        return NULL;
    }
    const uint8_t *start = reader->at;
    reader->at += len;
    return start;
}

static uint8_t reader_u8(struct reader *reader)
{
    const uint8_t *at = reader_take(reader, 1);
    return at ? *at : 0;
}

static uint16_t reader_u16(struct reader *reader)
{
    const uint8_t *at = reader_take(reader, 2);
    return at ? (uint16_t)(at[0] << 8 | at[1]) : 0;
}

/* A variable byte integer (MQTT 5.0 section 1.5.5). */
static uint32_t reader_varint(struct reader *reader)
{
    uint32_t value = 0;
    for (unsigned shift = 0; shift < 28; shift += 7) {
        uint8_t byte = reader_u8(reader);
        value |= (uint32_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return value;
    }
    reader->bad = true;
    return 0;
}

static void reader_skip_string(struct reader *reader)
{
    reader_take(reader, reader_u16(reader));
}

/* False: there is one that we don't pass over: correlation data is for a request of ours, an alias needs a memory. */
static bool packet_properties(struct reader *reader, struct gw_packet *packet)
{
    uint32_t len = reader_varint(reader);
    const uint8_t *start = reader_take(reader, len);
    if (!start)
        return false;
    struct reader properties = {start, start + len, false};
    bool passed_on = false;
    while (properties.at < properties.end && !properties.bad) {
        switch (reader_u8(&properties)) {
        case MQTT_PROP_SUBSCRIPTION_IDENTIFIER:
            if (packet->id_count == GW_PACKET_IDS_MAX)
                return false;
            packet->ids[packet->id_count++] = reader_varint(&properties);
            break;
        case MQTT_PROP_PAYLOAD_FORMAT_INDICATOR:
            reader_take(&properties, 1);
            passed_on = true;
            break;
        case MQTT_PROP_MESSAGE_EXPIRY_INTERVAL:
            packet->expiry = (uint32_t)reader_u16(&properties) << 16;
            packet->expiry |= reader_u16(&properties);
            packet->expires = true;
            break;
        case MQTT_PROP_CONTENT_TYPE:
            reader_skip_string(&properties);
            passed_on = true;
            break;
        case MQTT_PROP_USER_PROPERTY:
            reader_skip_string(&properties);
            reader_skip_string(&properties);
            passed_on = true;
            break;
        default:
            return false;
        }
    }
    if (passed_on) {
        packet->properties = (const char *)start;
        packet->properties_len = len;
    }
    return !properties.bad;
}

size_t gw_packet_parse(const uint8_t *data, size_t len, bool v5, struct gw_packet *packet)
{
    struct reader reader = {data, data + len, false};
    uint8_t first = reader_u8(&reader);
    if (first >> 4 != TYPE_PUBLISH)
        return 0;
    uint32_t remaining = reader_varint(&reader);
    if (reader.bad || (size_t)(reader.end - reader.at) < remaining)
        return 0;
    reader.end = reader.at + remaining;

    packet->id_count = 0;
    packet->mid = 0;
    packet->qos = first >> 1 & 3;
    packet->retain = first & 1;
    packet->dup = first >> 3 & 1;
    packet->kept = packet->expires = false;
    packet->properties = NULL;
    packet->properties_len = 0;
    packet->topic_len = reader_u16(&reader);
    packet->topic = (const char *)reader_take(&reader, packet->topic_len);
    if (packet->qos)
        packet->mid = reader_u16(&reader);
    if (reader.bad || !packet->topic_len || packet->qos > 1 || (packet->qos && !packet->mid))
        return 0;
    if (v5 && !packet_properties(&reader, packet))
        return 0;
    packet->payload_len = (size_t)(reader.end - reader.at);
    packet->payload = (const char *)reader.at;
    return (size_t)(reader.end - data);
}
