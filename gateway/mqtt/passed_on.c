#include "mqtt/passed_on.h"

#include <mqtt_protocol.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/properties.h"
#include "gateway/utf8.h"
#include "route/reply.h"

/* MQTT 5.0 section 1.5.4. A broker should have seen to it. */
static bool text_valid(struct gw_slice text)
{
    return !text.len || (!memchr(text.data, '\0', text.len) && gw_utf8_valid(text.data, text.len));
}

/* How the broker carries GW_PROPERTY_ORIGIN. */
#define ORIGIN "sluice-origin"

static bool property_is_origin(const struct gw_property *property)
{
    return property->id == GW_PROPERTY_USER && property->name.len == sizeof ORIGIN - 1 &&
           property->value.len == GW_ORIGIN_SIZE && !memcmp(property->name.data, ORIGIN, sizeof ORIGIN - 1);
}

/* It has a place at the front. */
static void put_origin(struct gw_slice all, struct gw_buf *block)
{
    struct gw_property property;
    for (size_t at = 0; gw_properties_next(all, &at, &property);) {
        if (!property_is_origin(&property) || !text_valid(property.value))
            continue;
        gw_properties_add(block, &(struct gw_property){.id = GW_PROPERTY_ORIGIN, .value = property.value});
        return;
    }
}

void gw_passed_on(const struct gw_routes *routes, const struct gw_packet *packet, bool whole, struct gw_buf *block)
{
    const struct gw_slice all = {packet->properties, packet->properties_len};
    struct gw_property property;
    struct gw_buf channel;
    gw_buf_init(&channel);
    put_origin(all, block);
    for (size_t at = 0; gw_properties_next(all, &at, &property);) {
        bool describes = property.id == GW_PROPERTY_PAYLOAD_FORMAT || property.id == GW_PROPERTY_CONTENT_TYPE;
        if ((describes && !whole) || property_is_origin(&property))
            continue;
        if (property.id != GW_PROPERTY_CORRELATION && (!text_valid(property.name) || !text_valid(property.value)))
            continue;
        if (property.id == GW_PROPERTY_RESPONSE_TOPIC) {
            if (!gw_reply_channel(routes, property.value.data, property.value.len, &channel))
                continue;
            property.value = (struct gw_slice){channel.data, channel.len};
        }
        gw_properties_add(block, &property);
    }
    gw_buf_fini(&channel);
}

/* libmosquitto returns copies. */
static void read_text(const mosquitto_property *at, enum gw_property_id id, struct gw_buf *block)
{
    char *value = NULL;
    if (!mosquitto_property_read_string(at, (int)id, &value, false))
        return;
    gw_properties_add(block, &(struct gw_property){.id = id, .value = {value, strlen(value)}});
    free(value);
}

static void read_user(const mosquitto_property *at, struct gw_buf *block)
{
    char *name = NULL, *value = NULL;
    if (!mosquitto_property_read_string_pair(at, MQTT_PROP_USER_PROPERTY, &name, &value, false))
        return;
    const struct gw_property property = {
        .id = GW_PROPERTY_USER, .name = {name, strlen(name)}, .value = {value, strlen(value)}};
    gw_properties_add(block, &property);
    free(name);
    free(value);
}

static void read_correlation(const mosquitto_property *at, struct gw_buf *block)
{
    void *value = NULL;
    uint16_t len = 0;
    if (!mosquitto_property_read_binary(at, MQTT_PROP_CORRELATION_DATA, &value, &len, false))
        return;
    gw_properties_add(block, &(struct gw_property){.id = GW_PROPERTY_CORRELATION, .value = {value, len}});
    free(value);
}

void gw_passed_on_read(const mosquitto_property *list, struct gw_buf *block)
{
    for (const mosquitto_property *at = list; at; at = mosquitto_property_next(at)) {
        struct gw_property property = {.id = GW_PROPERTY_PAYLOAD_FORMAT};
        switch (mosquitto_property_identifier(at)) {
        case MQTT_PROP_PAYLOAD_FORMAT_INDICATOR:
            mosquitto_property_read_byte(at, MQTT_PROP_PAYLOAD_FORMAT_INDICATOR, &property.byte, false);
            gw_properties_add(block, &property);
            break;
        case MQTT_PROP_CONTENT_TYPE:
            read_text(at, GW_PROPERTY_CONTENT_TYPE, block);
            break;
        case MQTT_PROP_RESPONSE_TOPIC:
            read_text(at, GW_PROPERTY_RESPONSE_TOPIC, block);
            break;
        case MQTT_PROP_CORRELATION_DATA:
            read_correlation(at, block);
            break;
        case MQTT_PROP_USER_PROPERTY:
            read_user(at, block);
            break;
        default:
            break;
        }
    }
}

static char *text_of(struct gw_slice text)
{
    return gw_strndup(text.len ? text.data : "", text.len);
}

void gw_passed_on_write(struct gw_slice block, mosquitto_property **list)
{
    struct gw_property property;
    for (size_t at = 0; gw_properties_next(block, &at, &property);) {
        char *name = text_of(property.name), *value = text_of(property.value);
        switch (property.id) {
        case GW_PROPERTY_PAYLOAD_FORMAT:
            mosquitto_property_add_byte(list, MQTT_PROP_PAYLOAD_FORMAT_INDICATOR, property.byte);
            break;
        case GW_PROPERTY_CORRELATION:
            mosquitto_property_add_binary(list, MQTT_PROP_CORRELATION_DATA, value, (uint16_t)property.value.len);
            break;
        case GW_PROPERTY_USER:
            mosquitto_property_add_string_pair(list, MQTT_PROP_USER_PROPERTY, name, value);
            break;
        case GW_PROPERTY_ORIGIN:
            mosquitto_property_add_string_pair(list, MQTT_PROP_USER_PROPERTY, ORIGIN, value);
            break;
        case GW_PROPERTY_CONTENT_TYPE:
        case GW_PROPERTY_RESPONSE_TOPIC:
            mosquitto_property_add_string(list, (int)property.id, value);
            break;
        }
        free(name);
        free(value);
    }
}
