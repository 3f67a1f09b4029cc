/* properties.c: the properties of MQTT 5.0 packets that clients send (section 2.2.2). Those of a payload are passed
 * on as they came: gateway/properties.h. */
#include "gateway/properties.h"

#include "mqttd/reader.h"

enum form { NONE, BYTE, U16, U32, VARINT, TEXT, BINARY, PAIR };

#define IN(packet) (1u << (packet))
#define ACKS       (IN(GW_MQTTD_PUBACK) | IN(GW_MQTTD_PUBREC) | IN(GW_MQTTD_PUBREL) | IN(GW_MQTTD_PUBCOMP))
#define PAYLOADS   (IN(GW_MQTTD_PUBLISH) | IN(GW_MQTTD_WILL))

/* What each identifier holds, and in which packets of a client it may be. One that only servers send is in none. */
static const struct rule {
    uint8_t form;
    bool flag;    /* 0 and 1 are its values */
    bool nonzero; /* 0 is a protocol error */
    uint32_t packets;
} rules[] = {
    [GW_MQTTD_P_PAYLOAD_FORMAT] = {BYTE, true, false, PAYLOADS},
    [GW_MQTTD_P_MESSAGE_EXPIRY] = {U32, false, false, PAYLOADS},
    [GW_MQTTD_P_CONTENT_TYPE] = {TEXT, false, false, PAYLOADS},
    [GW_MQTTD_P_RESPONSE_TOPIC] = {TEXT, false, false, PAYLOADS},
    [GW_MQTTD_P_CORRELATION] = {BINARY, false, false, PAYLOADS},
    [GW_MQTTD_P_SUBSCRIPTION_ID] = {VARINT, false, true, IN(GW_MQTTD_PUBLISH) | IN(GW_MQTTD_SUBSCRIBE)},
    [GW_MQTTD_P_SESSION_EXPIRY] = {U32, false, false, IN(GW_MQTTD_CONNECT) | IN(GW_MQTTD_DISCONNECT)},
    [GW_MQTTD_P_AUTH_METHOD] = {TEXT, false, false, IN(GW_MQTTD_CONNECT) | IN(GW_MQTTD_AUTH)},
    [GW_MQTTD_P_AUTH_DATA] = {BINARY, false, false, IN(GW_MQTTD_CONNECT) | IN(GW_MQTTD_AUTH)},
    [GW_MQTTD_P_REQUEST_PROBLEM] = {BYTE, true, false, IN(GW_MQTTD_CONNECT)},
    [GW_MQTTD_P_WILL_DELAY] = {U32, false, false, IN(GW_MQTTD_WILL)},
    [GW_MQTTD_P_REQUEST_RESPONSE] = {BYTE, true, false, IN(GW_MQTTD_CONNECT)},
    [GW_MQTTD_P_REASON_STRING] = {TEXT, false, false, ACKS | IN(GW_MQTTD_DISCONNECT) | IN(GW_MQTTD_AUTH)},
    [GW_MQTTD_P_RECEIVE_MAXIMUM] = {U16, false, true, IN(GW_MQTTD_CONNECT)},
    [GW_MQTTD_P_ALIAS_MAXIMUM] = {U16, false, false, IN(GW_MQTTD_CONNECT)},
    [GW_MQTTD_P_ALIAS] = {U16, false, false, IN(GW_MQTTD_PUBLISH)},
    [GW_MQTTD_P_USER] = {PAIR, false, false, ~0u},
    [GW_MQTTD_P_MAXIMUM_PACKET] = {U32, false, true, IN(GW_MQTTD_CONNECT)},
    [GW_MQTTD_P_SHARED_AVAILABLE] = {NONE, false, false, 0},
};

static uint32_t property_number(struct gw_mqttd_reader *reader, enum form form)
{
    switch (form) {
    case BYTE:
        return gw_mqttd_take_number(reader, 1);
    case U16:
        return gw_mqttd_take_number(reader, 2);
    case U32:
        return gw_mqttd_take_number(reader, 4);
    case VARINT:
        return gw_mqttd_take_varint(reader);
    default:
        return 0;
    }
}

static struct gw_slice property_bytes(struct gw_mqttd_reader *reader, enum form form)
{
    if (form == BINARY)
        return gw_mqttd_take_binary(reader);
    if (form == PAIR)
        gw_mqttd_take_string(reader);
    return form == TEXT || form == PAIR ? gw_mqttd_take_string(reader) : (struct gw_slice){NULL, 0};
}

static void property_keep(struct gw_mqttd_properties *out, enum gw_mqttd_property id, uint32_t number,
                          struct gw_slice bytes)
{
    switch (id) {
    case GW_MQTTD_P_REQUEST_PROBLEM:
        out->request_problem = (uint8_t)number;
        break;
    case GW_MQTTD_P_RECEIVE_MAXIMUM:
        out->receive_maximum = (uint16_t)number;
        break;
    case GW_MQTTD_P_ALIAS_MAXIMUM:
        out->alias_maximum = (uint16_t)number;
        break;
    case GW_MQTTD_P_ALIAS:
        out->alias = (uint16_t)number;
        break;
    case GW_MQTTD_P_MESSAGE_EXPIRY:
        out->message_expiry = number;
        break;
    case GW_MQTTD_P_SESSION_EXPIRY:
        out->session_expiry = number;
        break;
    case GW_MQTTD_P_MAXIMUM_PACKET:
        out->maximum_packet = number;
        break;
    case GW_MQTTD_P_WILL_DELAY:
        out->will_delay = number;
        break;
    case GW_MQTTD_P_SUBSCRIPTION_ID:
        out->subscription_id = number;
        break;
    case GW_MQTTD_P_RESPONSE_TOPIC:
        out->response_topic = bytes;
        break;
    default:
        break;
    }
}

static enum gw_mqttd_reason property_refuse(const char **why, enum gw_mqttd_reason reason, const char *text)
{
    *why = text;
    return reason;
}

static enum gw_mqttd_reason property_read(struct gw_mqttd_reader *reader, unsigned packet,
                                          struct gw_mqttd_properties *out, const char **why)
{
    uint32_t id = gw_mqttd_take_varint(reader);
    const struct rule *rule = id < sizeof rules / sizeof *rules ? &rules[id] : NULL;
    if (reader->bad || !rule || rule->form == NONE || !(rule->packets >> packet & 1))
        return property_refuse(why, GW_MQTTD_MALFORMED, "this packet can't have such a property");
    if (rule->form != PAIR && gw_mqttd_has(out, (enum gw_mqttd_property)id))
        return property_refuse(why, GW_MQTTD_PROTOCOL_ERROR, "a property is there twice");
    uint32_t number = property_number(reader, (enum form)rule->form);
    struct gw_slice bytes = property_bytes(reader, (enum form)rule->form);
    if (reader->bad)
        return property_refuse(why, GW_MQTTD_MALFORMED, "a property is not whole, or its text is not UTF-8");
    if ((rule->flag && number > 1) || (rule->nonzero && !number))
        return property_refuse(why, GW_MQTTD_PROTOCOL_ERROR, "a property has a value that it can't have");
    out->present |= 1ull << id;
    property_keep(out, (enum gw_mqttd_property)id, number, bytes);
    return GW_MQTTD_SUCCESS;
}

enum gw_mqttd_reason gw_mqttd_read_properties(struct gw_mqttd_reader *reader, unsigned packet,
                                              struct gw_mqttd_properties *out, const char **why)
{
    *out = (struct gw_mqttd_properties){
        .request_problem = 1, .receive_maximum = UINT16_MAX, .maximum_packet = UINT32_MAX};
    out->all = gw_mqttd_take(reader, gw_mqttd_take_varint(reader));
    if (reader->bad)
        return property_refuse(why, GW_MQTTD_MALFORMED, "the properties are longer than the packet");
    struct gw_mqttd_reader block = gw_mqttd_reader(out->all);
    enum gw_mqttd_reason reason = GW_MQTTD_SUCCESS;
    while (reason == GW_MQTTD_SUCCESS && block.at < block.end)
        reason = property_read(&block, packet, out, why);
    return reason;
}

struct gw_slice gw_mqttd_user(const struct gw_mqttd_properties *properties, const char *name)
{
    struct gw_property property;
    size_t len = strlen(name);
    for (size_t at = 0; gw_properties_next(properties->all, &at, &property);) {
        if (property.id == GW_PROPERTY_USER && property.name.len == len && !memcmp(property.name.data, name, len))
            return property.value;
    }
    return (struct gw_slice){NULL, 0};
}
