/* packet.c: the packets that clients send. */
#include "mqttd/packet.h"

#include "mqttd/reader.h"

static enum gw_mqttd_reason refuse(const char **why, enum gw_mqttd_reason reason, const char *text)
{
    *why = text;
    return reason;
}

static enum gw_mqttd_reason malformed(const char **why, const char *text)
{
    return refuse(why, GW_MQTTD_MALFORMED, text);
}

enum gw_mqttd_reason gw_mqttd_read_fixed(const char *data, size_t len, struct gw_mqttd_fixed *out, const char **why)
{
    *out = (struct gw_mqttd_fixed){0};
    if (!len)
        return GW_MQTTD_SUCCESS;
    uint8_t first = (uint8_t)data[0];
    out->type = (enum gw_mqttd_type)(first >> 4);
    out->flags = first & 15;
    /* Section 2.1.3. */
    uint8_t flags =
        out->type == GW_MQTTD_PUBREL || out->type == GW_MQTTD_SUBSCRIBE || out->type == GW_MQTTD_UNSUBSCRIBE ? 2 : 0;
    if (!out->type || (out->type != GW_MQTTD_PUBLISH && out->flags != flags))
        return malformed(why, "the first byte is that of no packet");
    for (unsigned i = 0; i < 4; i++) {
        if (1 + i >= len)
            return GW_MQTTD_SUCCESS;
        uint8_t byte = (uint8_t)data[1 + i];
        out->remaining |= (uint32_t)(byte & 0x7f) << 7 * i;
        if (byte & 0x80)
            continue;
        if (i && !byte)
            break;
        out->len = (uint8_t)(2 + i);
        return GW_MQTTD_SUCCESS;
    }
    return malformed(why, "the length of a packet has more bytes than it may have");
}

/* --- CONNECT (section 3.1) -------------------------------------------------------------------------------------- */

static enum gw_mqttd_reason connect_version(struct gw_mqttd_reader *reader, struct gw_mqttd_connect *out,
                                            const char **why)
{
    struct gw_slice name = gw_mqttd_take_string(reader);
    uint8_t level = (uint8_t)gw_mqttd_take_number(reader, 1);
    bool old = name.len == 6 && !memcmp(name.data, "MQIsdp", 6);
    if (reader->bad || (!old && !(name.len == 4 && !memcmp(name.data, "MQTT", 4))))
        return malformed(why, "CONNECT names no version of MQTT");
    out->version = level > 4 && !old ? 5 : 4; /* in which a refusal is written */
    if (old ? level != 3 : level != 4 && level != 5)
        return refuse(why, GW_MQTTD_UNSUPPORTED_VERSION, "MQTT 3.1.1 and 5.0 are spoken here");
    out->version = level;
    return GW_MQTTD_SUCCESS;
}

static enum gw_mqttd_reason connect_flags(uint8_t flags, struct gw_mqttd_connect *out, const char **why)
{
    out->clean = flags & 2;
    out->has_will = flags & 4;
    out->will_qos = flags >> 3 & 3;
    out->will_retain = flags & 32;
    out->has_password = flags & 64;
    out->has_user = flags & 128;
    if (flags & 1)
        return malformed(why, "the lowest flag of CONNECT is 0");
    if (out->will_qos > 2 || (!out->has_will && (out->will_qos || out->will_retain)))
        return malformed(why, "the flags of the will contradict one another");
    if (out->version < 5 && out->has_password && !out->has_user)
        return malformed(why, "a password needs a user name in MQTT 3.1.1");
    return GW_MQTTD_SUCCESS;
}

static bool name_valid(struct gw_slice topic)
{
    return topic.len && !memchr(topic.data, '+', topic.len) && !memchr(topic.data, '#', topic.len);
}

static enum gw_mqttd_reason connect_will(struct gw_mqttd_reader *reader, struct gw_mqttd_connect *out,
                                         const char **why)
{
    enum gw_mqttd_reason reason = GW_MQTTD_SUCCESS;
    if (out->version == 5)
        reason = gw_mqttd_read_properties(reader, GW_MQTTD_WILL, &out->will, why);
    if (reason != GW_MQTTD_SUCCESS)
        return reason;
    out->will_topic = gw_mqttd_take_string(reader);
    out->will_payload = gw_mqttd_take_binary(reader);
    if (reader->bad)
        return malformed(why, "the will is not whole, or its topic is not UTF-8");
    if (!name_valid(out->will_topic))
        return refuse(why, GW_MQTTD_BAD_TOPIC, "the will's topic is empty or has wildcards");
    return GW_MQTTD_SUCCESS;
}

enum gw_mqttd_reason gw_mqttd_read_connect(struct gw_slice body, struct gw_mqttd_connect *out, const char **why)
{
    *out = (struct gw_mqttd_connect){.version = 4};
    struct gw_mqttd_reader reader = gw_mqttd_reader(body);
    enum gw_mqttd_reason reason = connect_version(&reader, out, why);
    if (reason != GW_MQTTD_SUCCESS)
        return reason;
    uint8_t flags = (uint8_t)gw_mqttd_take_number(&reader, 1);
    out->keep_alive = (uint16_t)gw_mqttd_take_number(&reader, 2);
    if (reader.bad)
        return malformed(why, "CONNECT is not whole");
    reason = connect_flags(flags, out, why);
    if (reason == GW_MQTTD_SUCCESS && out->version == 5)
        reason = gw_mqttd_read_properties(&reader, GW_MQTTD_CONNECT, &out->properties, why);
    if (reason != GW_MQTTD_SUCCESS)
        return reason;
    if (out->version < 5)
        out->properties = (struct gw_mqttd_properties){.receive_maximum = UINT16_MAX, .maximum_packet = UINT32_MAX};
    if (gw_mqttd_has(&out->properties, GW_MQTTD_P_AUTH_DATA) &&
        !gw_mqttd_has(&out->properties, GW_MQTTD_P_AUTH_METHOD))
        return refuse(why, GW_MQTTD_PROTOCOL_ERROR, "authentication data need an authentication method");
    out->client_id = gw_mqttd_take_string(&reader);
    if (reader.bad)
        return malformed(why, "the client identifier is missing or not UTF-8");
    if (out->has_will)
        reason = connect_will(&reader, out, why);
    if (reason != GW_MQTTD_SUCCESS)
        return reason;
    if (out->has_user)
        out->user = gw_mqttd_take_string(&reader);
    if (out->has_password)
        out->password = gw_mqttd_take_binary(&reader);
    if (reader.bad || reader.at != reader.end)
        return malformed(why, "CONNECT has fewer or more fields than its flags say");
    if (!out->client_id.len && !out->clean && out->version < 5)
        return refuse(why, GW_MQTTD_BAD_CLIENT_ID, "a session that is kept needs a client identifier");
    return GW_MQTTD_SUCCESS;
}

/* --- PUBLISH (section 3.3) -------------------------------------------------------------------------------------- */

enum gw_mqttd_reason gw_mqttd_read_publish(uint8_t flags, struct gw_slice body, unsigned version,
                                           struct gw_mqttd_publish *out, const char **why)
{
    *out = (struct gw_mqttd_publish){.dup = flags & 8, .qos = flags >> 1 & 3, .retain = flags & 1};
    if (out->qos > 2 || (!out->qos && out->dup))
        return malformed(why, "the flags of PUBLISH contradict one another");
    struct gw_mqttd_reader reader = gw_mqttd_reader(body);
    out->topic = gw_mqttd_take_string(&reader);
    if (out->qos)
        out->id = (uint16_t)gw_mqttd_take_number(&reader, 2);
    if (reader.bad)
        return malformed(why, "PUBLISH is not whole, or its topic is not UTF-8");
    if (out->qos && !out->id)
        return refuse(why, GW_MQTTD_PROTOCOL_ERROR, "a packet identifier is not 0");
    enum gw_mqttd_reason reason = GW_MQTTD_SUCCESS;
    if (version == 5)
        reason = gw_mqttd_read_properties(&reader, GW_MQTTD_PUBLISH, &out->properties, why);
    if (reason != GW_MQTTD_SUCCESS)
        return reason;
    bool has_alias = gw_mqttd_has(&out->properties, GW_MQTTD_P_ALIAS);
    if (gw_mqttd_has(&out->properties, GW_MQTTD_P_SUBSCRIPTION_ID))
        return refuse(why, GW_MQTTD_PROTOCOL_ERROR, "clients send no subscription identifier in PUBLISH");
    if (has_alias && !out->properties.alias)
        return refuse(why, GW_MQTTD_BAD_ALIAS, "a topic alias is not 0");
    if (!out->topic.len && !has_alias)
        return refuse(why, GW_MQTTD_PROTOCOL_ERROR, "PUBLISH has neither topic nor alias");
    if (out->topic.len && !name_valid(out->topic))
        return refuse(why, GW_MQTTD_BAD_TOPIC, "a topic that is published to has no wildcards");
    struct gw_slice response = out->properties.response_topic;
    if (gw_mqttd_has(&out->properties, GW_MQTTD_P_RESPONSE_TOPIC) && !name_valid(response))
        return refuse(why, GW_MQTTD_PROTOCOL_ERROR, "a response topic is not empty and has no wildcards");
    out->payload = (struct gw_slice){reader.at, (size_t)(reader.end - reader.at)};
    return GW_MQTTD_SUCCESS;
}

/* --- acknowledgements, DISCONNECT (sections 3.4 to 3.7, 3.14) -------------------------------------------------- */

/* Version 5: reason and properties may be left out. */
static enum gw_mqttd_reason ack_rest(struct gw_mqttd_reader *reader, enum gw_mqttd_type type, unsigned version,
                                     struct gw_mqttd_ack *out, const char **why)
{
    enum gw_mqttd_reason reason = GW_MQTTD_SUCCESS;
    if (version == 5 && !reader->bad && reader->at < reader->end)
        out->reason = (uint8_t)gw_mqttd_take_number(reader, 1);
    if (version == 5 && !reader->bad && reader->at < reader->end)
        reason = gw_mqttd_read_properties(reader, type, &out->properties, why);
    if (reason == GW_MQTTD_SUCCESS && (reader->bad || reader->at != reader->end))
        return malformed(why, "a packet is shorter or longer than its kind is");
    return reason;
}

enum gw_mqttd_reason gw_mqttd_read_ack(enum gw_mqttd_type type, struct gw_slice body, unsigned version,
                                       struct gw_mqttd_ack *out, const char **why)
{
    *out = (struct gw_mqttd_ack){0};
    struct gw_mqttd_reader reader = gw_mqttd_reader(body);
    out->id = (uint16_t)gw_mqttd_take_number(&reader, 2);
    if (!reader.bad && !out->id)
        return refuse(why, GW_MQTTD_PROTOCOL_ERROR, "a packet identifier is not 0");
    return ack_rest(&reader, type, version, out, why);
}

enum gw_mqttd_reason gw_mqttd_read_disconnect(struct gw_slice body, unsigned version, struct gw_mqttd_ack *out,
                                              const char **why)
{
    *out = (struct gw_mqttd_ack){0};
    struct gw_mqttd_reader reader = gw_mqttd_reader(body);
    return ack_rest(&reader, GW_MQTTD_DISCONNECT, version, out, why);
}

/* --- SUBSCRIBE, UNSUBSCRIBE (sections 3.8, 3.10) --------------------------------------------------------------- */

static enum gw_mqttd_reason filter_check(struct gw_mqttd_reader *reader, bool has_options, unsigned version,
                                         const char **why)
{
    struct gw_slice text = gw_mqttd_take_string(reader);
    uint32_t options = has_options ? gw_mqttd_take_number(reader, 1) : 0;
    if (reader->bad)
        return malformed(why, "a filter is not whole or not UTF-8");
    if ((options & 3) > 2 || (version < 5 ? options & 0xfc : options & 0xc0))
        return malformed(why, "the options of a filter have bits that they can't have");
    if ((options >> 4 & 3) > 2)
        return refuse(why, GW_MQTTD_PROTOCOL_ERROR, "retain handling is 0, 1 or 2");
    if (options & 4 && text.len >= 7 && !memcmp(text.data, "$share/", 7))
        return refuse(why, GW_MQTTD_PROTOCOL_ERROR, "a shared subscription has no `no local`");
    return GW_MQTTD_SUCCESS;
}

enum gw_mqttd_reason gw_mqttd_read_subscribe(enum gw_mqttd_type type, struct gw_slice body, unsigned version,
                                             struct gw_mqttd_subscribe *out, const char **why)
{
    *out = (struct gw_mqttd_subscribe){.options = type == GW_MQTTD_SUBSCRIBE};
    struct gw_mqttd_reader reader = gw_mqttd_reader(body);
    out->id = (uint16_t)gw_mqttd_take_number(&reader, 2);
    enum gw_mqttd_reason reason = GW_MQTTD_SUCCESS;
    if (reader.bad)
        return malformed(why, "the packet identifier is missing");
    if (!out->id)
        return refuse(why, GW_MQTTD_PROTOCOL_ERROR, "a packet identifier is not 0");
    if (version == 5)
        reason = gw_mqttd_read_properties(&reader, type, &out->properties, why);
    out->filters = (struct gw_slice){reader.at, (size_t)(reader.end - reader.at)};
    while (reason == GW_MQTTD_SUCCESS && reader.at < reader.end) {
        reason = filter_check(&reader, out->options, version, why);
        out->count++;
    }
    if (reason == GW_MQTTD_SUCCESS && !out->count)
        return refuse(why, GW_MQTTD_PROTOCOL_ERROR, "there is no filter");
    return reason;
}

bool gw_mqttd_next_filter(const struct gw_mqttd_subscribe *packet, size_t *at, struct gw_mqttd_filter *out)
{
    struct gw_mqttd_reader reader = gw_mqttd_reader(packet->filters);
    reader.at += *at;
    if (reader.at == reader.end)
        return false;
    *out = (struct gw_mqttd_filter){.text = gw_mqttd_take_string(&reader)};
    uint32_t options = packet->options ? gw_mqttd_take_number(&reader, 1) : 0;
    out->qos = options & 3;
    out->no_local = options >> 2 & 1;
    out->as_published = options >> 3 & 1;
    out->retain_handling = options >> 4 & 3;
    *at = (size_t)(reader.at - packet->filters.data);
    return !reader.bad;
}
