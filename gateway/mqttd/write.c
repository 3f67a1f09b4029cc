/* write.c: the packets that a server sends. */
#include <string.h>

#include "mqttd/put.h"

static void put_u16(struct gw_buf *out, uint16_t value)
{
    gw_buf_addc(out, (char)(value >> 8));
    gw_buf_addc(out, (char)value);
}

static void put_varint(struct gw_buf *out, uint32_t value)
{
    while (value > 0x7f) {
        gw_buf_addc(out, (char)(0x80 | (value & 0x7f)));
        value >>= 7;
    }
    gw_buf_addc(out, (char)value);
}

static void put_string(struct gw_buf *out, const char *text, size_t len)
{
    if (len > UINT16_MAX)
        len = UINT16_MAX;
    put_u16(out, (uint16_t)len);
    gw_buf_add(out, text, len);
}

void gw_mqttd_put_byte(struct gw_buf *properties, enum gw_mqttd_property id, uint8_t value)
{
    gw_buf_addc(properties, (char)id);
    gw_buf_addc(properties, (char)value);
}

void gw_mqttd_put_u16(struct gw_buf *properties, enum gw_mqttd_property id, uint16_t value)
{
    gw_buf_addc(properties, (char)id);
    put_u16(properties, value);
}

void gw_mqttd_put_u32(struct gw_buf *properties, enum gw_mqttd_property id, uint32_t value)
{
    gw_buf_addc(properties, (char)id);
    put_u16(properties, (uint16_t)(value >> 16));
    put_u16(properties, (uint16_t)value);
}

void gw_mqttd_put_varint(struct gw_buf *properties, enum gw_mqttd_property id, uint32_t value)
{
    gw_buf_addc(properties, (char)id);
    put_varint(properties, value);
}

void gw_mqttd_put_text(struct gw_buf *properties, enum gw_mqttd_property id, const char *text, size_t len)
{
    gw_buf_addc(properties, (char)id);
    put_string(properties, text, len);
}

void gw_mqttd_put_user(struct gw_buf *properties, const char *name, const char *value, size_t len)
{
    size_t name_len = 0;
    while (name[name_len])
        name_len++;
    gw_buf_addc(properties, GW_MQTTD_P_USER);
    put_string(properties, name, name_len);
    put_string(properties, value, len);
}

static size_t properties_len(const struct gw_buf *properties)
{
    return properties ? properties->len : 0;
}

/* Length and content; nothing below version 5. */
static void put_properties(struct gw_buf *out, unsigned version, const struct gw_buf *properties)
{
    if (version < 5)
        return;
    put_varint(out, (uint32_t)properties_len(properties));
    if (properties_len(properties))
        gw_buf_add(out, properties->data, properties->len);
}

static void put_fixed(struct gw_buf *out, enum gw_mqttd_type type, unsigned flags, size_t remaining)
{
    gw_buf_addc(out, (char)(type << 4 | flags));
    put_varint(out, (uint32_t)remaining);
}

/* MQTT 3.1.1 section 3.2.2.3. */
static uint8_t connack_code(uint8_t reason)
{
    switch (reason) {
    case GW_MQTTD_SUCCESS:
        return 0;
    case GW_MQTTD_UNSUPPORTED_VERSION:
        return 1;
    case GW_MQTTD_BAD_CLIENT_ID:
        return 2;
    case GW_MQTTD_BAD_PASSWORD:
        return 4;
    case GW_MQTTD_NOT_AUTHORIZED:
    case GW_MQTTD_BAD_TOPIC:
        return 5;
    default:
        return 3;
    }
}

void gw_mqttd_write_connack(struct gw_buf *out, unsigned version, bool session_present, uint8_t reason,
                            const struct gw_buf *properties)
{
    put_fixed(out, GW_MQTTD_CONNACK, 0, 2 + gw_mqttd_properties_size(version, properties_len(properties)));
    gw_buf_addc(out, session_present);
    gw_buf_addc(out, (char)(version < 5 ? connack_code(reason) : reason));
    put_properties(out, version, properties);
}

void gw_mqttd_write_ack(struct gw_buf *out, enum gw_mqttd_type type, unsigned version, uint16_t id, uint8_t reason,
                        const struct gw_buf *properties)
{
    size_t len = properties_len(properties);
    bool brief = version < 5 || (!reason && !len); /* section 3.4.2.1 */
    put_fixed(out, type, type == GW_MQTTD_PUBREL ? 2 : 0, brief ? 2 : 3 + gw_mqttd_properties_size(version, len));
    put_u16(out, id);
    if (brief)
        return;
    gw_buf_addc(out, (char)reason);
    put_properties(out, version, properties);
}

void gw_mqttd_write_suback(struct gw_buf *out, enum gw_mqttd_type type, unsigned version, uint16_t id,
                           const uint8_t *codes, size_t count, const struct gw_buf *properties)
{
    size_t listed = type == GW_MQTTD_UNSUBACK && version < 5 ? 0 : count;
    put_fixed(out, type, 0, 2 + gw_mqttd_properties_size(version, properties_len(properties)) + listed);
    put_u16(out, id);
    put_properties(out, version, properties);
    for (size_t i = 0; i < listed; i++)
        gw_buf_addc(out, (char)(version < 5 && codes[i] > 2 ? 0x80 : codes[i]));
}

void gw_mqttd_write_pingresp(struct gw_buf *out)
{
    put_fixed(out, GW_MQTTD_PINGRESP, 0, 0);
}

void gw_mqttd_write_disconnect(struct gw_buf *out, unsigned version, uint8_t reason, const struct gw_buf *properties)
{
    if (version < 5)
        return;
    put_fixed(out, GW_MQTTD_DISCONNECT, 0, 1 + gw_mqttd_properties_size(version, properties_len(properties)));
    gw_buf_addc(out, (char)reason);
    put_properties(out, version, properties);
}

size_t gw_mqttd_publish_size(unsigned version, unsigned qos, size_t topic_len, size_t properties, size_t payload_len)
{
    size_t remaining = gw_mqttd_publish_remaining(version, qos, topic_len, properties, payload_len);
    return 1 + gw_mqttd_varint_size(remaining) + remaining;
}

/* It is put together in few pieces. */
void gw_mqttd_write_publish(struct gw_buf *out, unsigned version, unsigned flags, unsigned qos, uint16_t id,
                            struct gw_slice topic, const struct gw_buf *properties, size_t payload_len)
{
    size_t len = properties_len(properties), topic_len = topic.len < UINT16_MAX ? topic.len : UINT16_MAX;
    char head[7] = {(char)(GW_MQTTD_PUBLISH << 4 | flags | qos << 1)}, rest[6];
    size_t remaining = gw_mqttd_publish_remaining(version, qos, topic_len, len, payload_len);
    char *end = gw_mqttd_put_number_16(gw_mqttd_put_number(head + 1, remaining), topic_len);
    gw_buf_add(out, head, (size_t)(end - head));
    gw_buf_add(out, topic.data, topic_len);
    end = qos ? gw_mqttd_put_number_16(rest, id) : rest;
    if (version >= 5)
        end = gw_mqttd_put_number(end, len);
    gw_buf_add(out, rest, (size_t)(end - rest));
    if (version >= 5 && len)
        gw_buf_add(out, properties->data, len);
}
