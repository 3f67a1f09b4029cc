/* properties.h: what comes along with a payload: content type, response topic, correlation data, user properties.
 *
 * They are kept as a block in the encoding of MQTT 5.0 (section 2.2.2), in their order and without a length before
 * them, so that who sends them in MQTT copies the block. The expiry of a message is none of them: it has a member of
 * its own (struct gw_message). Thread: any. */
#ifndef GATEWAY_PROPERTIES_H
#define GATEWAY_PROPERTIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/buf.h"

enum gw_property_id {
    GW_PROPERTY_PAYLOAD_FORMAT = 0x01, /* `byte`: 1: the payload is UTF-8 */
    GW_PROPERTY_CONTENT_TYPE = 0x03,
    GW_PROPERTY_RESPONSE_TOPIC = 0x08,
    GW_PROPERTY_CORRELATION = 0x09, /* bytes; the others are UTF-8 */
    GW_PROPERTY_USER = 0x26,        /* may come several times */
    GW_PROPERTY_ORIGIN = 0x7f /* none of MQTT's: GW_ORIGIN_SIZE bytes that say which client published it; first in its
                               * block, if at all */
};

/* Letters and digits. */
#define GW_ORIGIN_SIZE 16

struct gw_property {
    enum gw_property_id id;
    uint8_t byte;
    struct gw_slice name; /* of a user property */
    struct gw_slice value;
};

/* The properties one after the other: start with *at = 0. What else a PUBLISH or a will may have in its
 * properties is passed over. False at the end, or where the block is not whole. Slices point into the block. */
bool gw_properties_next(struct gw_slice block, size_t *at, struct gw_property *out);

/* The block without its origin, and that alone, as a block. */
struct gw_slice gw_properties_public(struct gw_slice block);
struct gw_slice gw_properties_origin(struct gw_slice block);

/* Appends it. Names and values have 65535 bytes at most. */
void gw_properties_add(struct gw_buf *block, const struct gw_property *property);

/* The value of the first of that kind, which is a text or bytes; data NULL: there is none. */
struct gw_slice gw_properties_find(struct gw_slice block, enum gw_property_id id);

#endif
