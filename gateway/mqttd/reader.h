/* reader.h: the data types of MQTT (section 1.5), taken from the front of a block. After the first that is not whole
 * or not valid `bad` is set, and everything is empty. For packet.c and properties.c. */
#ifndef GW_MQTTD_READER_H
#define GW_MQTTD_READER_H

#include <string.h>

#include "gateway/utf8.h"
#include "mqttd/packet.h"

struct gw_mqttd_reader {
    const char *at, *end;
    bool bad;
};

static inline struct gw_mqttd_reader gw_mqttd_reader(struct gw_slice block)
{
    return (struct gw_mqttd_reader){block.data, block.data + block.len, false};
}

static inline struct gw_slice gw_mqttd_take(struct gw_mqttd_reader *reader, size_t len)
{
    if (reader->bad || (size_t)(reader->end - reader->at) < len) {
        reader->bad = true;
        return (struct gw_slice){"", 0};
    }
    const char *start = reader->at;
    reader->at += len;
    return (struct gw_slice){start, len};
}

static inline uint32_t gw_mqttd_take_number(struct gw_mqttd_reader *reader, size_t bytes)
{
    struct gw_slice raw = gw_mqttd_take(reader, bytes);
    uint32_t value = 0;
    for (size_t i = 0; i < raw.len; i++)
        value = value << 8 | (uint8_t)raw.data[i];
    return value;
}

/* Section 1.5.5: in as few bytes as it needs, four at most. */
static inline uint32_t gw_mqttd_take_varint(struct gw_mqttd_reader *reader)
{
    uint32_t value = 0;
    for (unsigned shift = 0; shift < 28; shift += 7) {
        uint32_t byte = gw_mqttd_take_number(reader, 1);
        value |= (byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            reader->bad |= shift && !byte;
            return reader->bad ? 0 : value;
        }
    }
    reader->bad = true;
    return 0;
}

static inline struct gw_slice gw_mqttd_take_binary(struct gw_mqttd_reader *reader)
{
    return gw_mqttd_take(reader, gw_mqttd_take_number(reader, 2));
}

/* Section 1.5.4: UTF-8 without U+0000. */
static inline struct gw_slice gw_mqttd_take_string(struct gw_mqttd_reader *reader)
{
    struct gw_slice text = gw_mqttd_take_binary(reader);
    if (text.len && (memchr(text.data, '\0', text.len) || !gw_utf8_valid(text.data, text.len)))
        reader->bad = true;
    return reader->bad ? (struct gw_slice){"", 0} : text;
}

/* Packets as bits, for what a property may be in. The will's properties are of a kind of their own. */
#define GW_MQTTD_WILL 0

/* Reads the length and the properties (properties.c). */
enum gw_mqttd_reason gw_mqttd_read_properties(struct gw_mqttd_reader *reader, unsigned packet,
                                              struct gw_mqttd_properties *out, const char **why);

#endif
