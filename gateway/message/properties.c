#include "gateway/properties.h"

/* Others that a PUBLISH or a will may have (MQTT 5.0 sections 3.3.2.3, 3.1.3.2). */
#define MESSAGE_EXPIRY  0x02
#define SUBSCRIPTION_ID 0x0b
#define WILL_DELAY      0x18
#define TOPIC_ALIAS     0x23

struct reader {
    struct gw_slice block;
    size_t at;
    bool bad;
};

static struct gw_slice reader_take(struct reader *reader, size_t len)
{
    if (reader->bad || reader->block.len - reader->at < len) {
        reader->bad = true;
        return (struct gw_slice){"", 0};
    }
    const char *start = reader->block.data + reader->at;
    reader->at += len;
    return (struct gw_slice){start, len};
}

static uint8_t reader_byte(struct reader *reader)
{
    struct gw_slice byte = reader_take(reader, 1);
    return byte.len ? (uint8_t)byte.data[0] : 0;
}

static struct gw_slice reader_bytes(struct reader *reader)
{
    size_t len = (size_t)reader_byte(reader) << 8;
    len |= reader_byte(reader);
    return reader_take(reader, len);
}

/* False: it is none that is kept. */
static bool reader_property(struct reader *reader, struct gw_property *out)
{
    uint8_t id = reader_byte(reader);
    *out = (struct gw_property){.id = (enum gw_property_id)id};
    switch (id) {
    case GW_PROPERTY_PAYLOAD_FORMAT:
        out->byte = reader_byte(reader);
        return true;
    case GW_PROPERTY_USER:
        out->name = reader_bytes(reader);
        out->value = reader_bytes(reader);
        return true;
    case GW_PROPERTY_CONTENT_TYPE:
    case GW_PROPERTY_RESPONSE_TOPIC:
    case GW_PROPERTY_CORRELATION:
    case GW_PROPERTY_ORIGIN:
        out->value = reader_bytes(reader);
        return true;
    case MESSAGE_EXPIRY:
    case WILL_DELAY:
        reader_take(reader, 4);
        return false;
    case TOPIC_ALIAS:
        reader_take(reader, 2);
        return false;
    case SUBSCRIPTION_ID:
        for (unsigned i = 0; i < 4 && reader_byte(reader) & 0x80; i++)
            continue;
        return false;
    default:
        reader->bad = true;
        return false;
    }
}

bool gw_properties_next(struct gw_slice block, size_t *at, struct gw_property *out)
{
    struct reader reader = {block, *at, false};
    bool found = false;
    while (!found && !reader.bad && reader.at < block.len)
        found = reader_property(&reader, out);
    *at = reader.at;
    return found && !reader.bad;
}

struct gw_slice gw_properties_origin(struct gw_slice block)
{
    bool there = block.len >= 3 + GW_ORIGIN_SIZE && block.data[0] == GW_PROPERTY_ORIGIN;
    return (struct gw_slice){block.data, there ? 3 + GW_ORIGIN_SIZE : 0};
}

struct gw_slice gw_properties_public(struct gw_slice block)
{
    size_t skip = gw_properties_origin(block).len;
    return skip ? (struct gw_slice){block.data + skip, block.len - skip} : block;
}

static void add_bytes(struct gw_buf *block, struct gw_slice bytes)
{
    size_t len = bytes.len < UINT16_MAX ? bytes.len : UINT16_MAX;
    gw_buf_addc(block, (char)(len >> 8));
    gw_buf_addc(block, (char)len);
    if (len)
        gw_buf_add(block, bytes.data, len);
}

void gw_properties_add(struct gw_buf *block, const struct gw_property *property)
{
    gw_buf_addc(block, (char)property->id);
    if (property->id == GW_PROPERTY_PAYLOAD_FORMAT) {
        gw_buf_addc(block, (char)property->byte);
        return;
    }
    if (property->id == GW_PROPERTY_USER)
        add_bytes(block, property->name);
    add_bytes(block, property->value);
}

struct gw_slice gw_properties_find(struct gw_slice block, enum gw_property_id id)
{
    struct gw_property property;
    for (size_t at = 0; gw_properties_next(block, &at, &property);) {
        if (property.id == id)
            return property.value;
    }
    return (struct gw_slice){NULL, 0};
}
