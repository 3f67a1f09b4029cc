#include "mqtt/notes.h"

#include <mqtt_protocol.h>
#include <stdbool.h>
#include <string.h>

#define TEXT_MAX 256 /* bytes of one text that are kept */

/* Variable byte integer (MQTT 5.0 section 1.5.5). */
static bool notes_varint(const uint8_t *data, size_t len, size_t *at, size_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 28 && *at < len; shift += 7) {
        uint8_t byte = data[(*at)++];
        *value |= (size_t)(byte & 127) << shift;
        if (byte < 128)
            return true;
    }
    return false;
}

static bool notes_text(const uint8_t *data, size_t len, size_t *at, char out[TEXT_MAX])
{
    if (len - *at < 2)
        return false;
    size_t text = (size_t)data[*at] << 8 | data[*at + 1], keep = text < TEXT_MAX ? text : TEXT_MAX - 1;
    if (len - *at - 2 < text)
        return false;
    memcpy(out, data + *at + 2, keep);
    out[keep] = '\0';
    *at += 2 + text;
    return true;
}

/* Where the properties of the packet lie. */
static bool notes_find(const uint8_t *data, size_t len, size_t *at, size_t *end)
{
    size_t remaining, properties;
    *at = 1;
    if (!len || !notes_varint(data, len, at, &remaining) || len - *at < remaining)
        return false;
    size_t stop = *at + remaining;
    switch (data[0] & 0xf0) {
    case CMD_DISCONNECT:
        *at += 1;
        break;
    case CMD_PUBACK:
    case CMD_PUBREC:
    case CMD_PUBCOMP:
        *at += 3;
        break;
    default:
        return false;
    }
    if (*at >= stop || !notes_varint(data, stop, at, &properties) || stop - *at < properties)
        return false;
    *end = *at + properties;
    return true;
}

mosquitto_property *gw_notes_read(const uint8_t *data, size_t len)
{
    char name[TEXT_MAX], value[TEXT_MAX];
    mosquitto_property *notes = NULL;
    size_t at, end = 0;
    if (!notes_find(data, len, &at, &end))
        return NULL;
    while (at < end) {
        uint8_t identifier = data[at++];
        if (identifier == MQTT_PROP_REASON_STRING || identifier == MQTT_PROP_SERVER_REFERENCE) {
            if (!notes_text(data, end, &at, value))
                break;
            mosquitto_property_add_string(&notes, identifier, value);
        } else if (identifier == MQTT_PROP_USER_PROPERTY) {
            if (!notes_text(data, end, &at, name) || !notes_text(data, end, &at, value))
                break;
            mosquitto_property_add_string_pair(&notes, identifier, name, value);
        } else {
            break; /* nothing else may stand there that tells anything */
        }
    }
    return notes;
}
