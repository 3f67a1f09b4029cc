/* publish.c: PUBLISH of the client on its way to the broker, and the broker's acknowledgement on its way back
 * (sections 3.3 to 3.7, 4.3). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/random.h"
#include "gateway/session_log.h"
#include "mqttd/client.h"

/* Packet identifiers of QoS 2: `known` from PUBLISH to PUBREL, `released` from PUBREC on. */
struct gw_mqttd_ids {
    uint8_t known[65536 / 8], received[65536 / 8];
};

static bool bit_get(const uint8_t *bits, uint16_t id)
{
    return bits[id / 8] >> id % 8 & 1;
}

static void bit_set(uint8_t *bits, uint16_t id, bool on)
{
    bits[id / 8] = (uint8_t)((bits[id / 8] & ~(1 << id % 8)) | on << id % 8);
}

/* Each identifier in use with its two bits, and a blank; a dot ends it. */
void gw_mqttd_ids_write(const struct gw_mqttd_ids *ids, struct gw_buf *out)
{
    for (uint32_t id = 1; ids && id <= UINT16_MAX; id++) {
        if (bit_get(ids->known, (uint16_t)id) || bit_get(ids->received, (uint16_t)id))
            gw_buf_printf(out, "%x:%d ", id,
                          bit_get(ids->known, (uint16_t)id) + 2 * bit_get(ids->received, (uint16_t)id));
    }
    gw_buf_addc(out, '.');
}

struct gw_mqttd_ids *gw_mqttd_ids_read(const char **at)
{
    struct gw_mqttd_ids *ids = NULL;
    unsigned id, bits;
    int len;
    while (sscanf(*at, "%4x:%1u %n", &id, &bits, &len) == 2) {
        if (!ids)
            ids = gw_calloc(1, sizeof *ids);
        bit_set(ids->known, (uint16_t)id, bits & 1);
        bit_set(ids->received, (uint16_t)id, bits & 2);
        *at += len;
    }
    return ids;
}

void gw_mqttd_forget_publishes(struct gw_mqttd_client *client)
{
    for (size_t i = 0; client->aliases && i < GW_MQTTD_ALIASES; i++)
        free((char *)(uintptr_t)client->aliases[i].data);
    free(client->aliases);
    client->aliases = NULL;
    free(client->ids);
    client->ids = NULL;
}

/* MQTT 5 clients know the bound of a session's publishes as our receive maximum. Those of older ones wait, and so do
 * those of clients that take no notice, as mqtt.js does; how much waits is bounded in transport.c. */
bool gw_mqttd_publish_waits(const struct gw_mqttd_client *client)
{
    return client->connected && client->session.pending_count >= client->receive_maximum;
}

/* --- answers --------------------------------------------------------------------------------------------------- */

/* What a publish comes to. */
struct receipt {
    enum gw_err err;
    const char *why;                      /* NULL: as the error says */
    const struct gw_confirmed *confirmed; /* NULL: that was not asked for */
};

/* The broker has it in either case. */
static void publish_put_confirmed(struct gw_buf *properties, const struct gw_confirmed *confirmed)
{
    gw_mqttd_put_user(properties, confirmed->confirmed ? "confirmed" : "timeout",
                      confirmed->cursor.len ? confirmed->cursor.data : "", confirmed->cursor.len);
}

static void publish_ack(struct gw_mqttd_client *client, enum gw_mqttd_type type, uint16_t id, uint8_t code,
                        const struct receipt *receipt)
{
    struct gw_buf packet, properties;
    gw_buf_init(&packet);
    gw_buf_init(&properties);
    if (receipt && receipt->err != GW_OK && client->problems)
        gw_mqttd_put_reason(&properties, receipt->err, receipt->why);
    if (receipt && receipt->confirmed)
        publish_put_confirmed(&properties, receipt->confirmed);
    gw_mqttd_write_ack(&packet, type, client->version, id, code, &properties);
    if (packet.len > client->maximum_packet) { /* section 3.4.2.2.2 */
        gw_buf_clear(&packet);
        gw_mqttd_write_ack(&packet, type, client->version, id, code, NULL);
    }
    gw_buf_fini(&properties);
    gw_mqttd_send(client, &packet);
}

/* MQTT 3.1.1 has no word for no: a server acknowledges what it did not publish, or ends the connection (section
 * 3.3.5). The gateway acknowledges only what was published. */
static void publish_refuse_old(struct gw_mqttd_client *client, enum gw_err err, const char *why)
{
    gw_mqttd_fail_as(client, gw_mqttd_publish_code(err, 0), gw_err_close_code(err), gw_err_line(err, why).text);
}

/* The broker has it, or it was refused. */
static void publish_settle(struct gw_mqttd_client *client, unsigned qos, uint16_t id, const struct receipt *receipt,
                           int reason)
{
    enum gw_err err = receipt->err;
    if (client->ended || !qos)
        return;
    if (err != GW_OK && client->version < 5) {
        publish_refuse_old(client, err, receipt->why);
        return;
    }
    uint8_t code = err == GW_OK ? GW_MQTTD_SUCCESS : gw_mqttd_publish_code(err, reason);
    if (qos == 1) {
        publish_ack(client, GW_MQTTD_PUBACK, id, code, receipt);
        return;
    }
    bit_set(client->ids->received, id, err == GW_OK);
    if (err != GW_OK)
        bit_set(client->ids->known, id, false);
    publish_ack(client, GW_MQTTD_PUBREC, id, code, receipt);
}

static void publish_settled(struct gw_mqttd_client *client, const char *reference, const struct receipt *receipt,
                            int reason)
{
    unsigned qos = 0, id = 0;
    if (reference && sscanf(reference, "%u %u", &qos, &id) == 2)
        publish_settle(client, qos, (uint16_t)id, receipt, reason);
    if (client->held)
        gw_mqttd_resume(client);
}

void gw_mqttd_published(struct gw_session *session, const char *reference, enum gw_err err, int reason)
{
    publish_settled((struct gw_mqttd_client *)session, reference, &(struct receipt){.err = err}, reason);
}

void gw_mqttd_confirmed(struct gw_session *session, const char *reference, const struct gw_confirmed *confirmed)
{
    publish_settled((struct gw_mqttd_client *)session, reference,
                    &(struct receipt){.err = GW_OK, .confirmed = confirmed}, 0);
}

/* --- PUBLISH --------------------------------------------------------------------------------------------------- */

/* Section 3.3.2.3.4. */
static bool publish_topic(struct gw_mqttd_client *client, struct gw_mqttd_publish *publish)
{
    uint16_t alias = publish->properties.alias;
    if (!alias)
        return true;
    if (alias > GW_MQTTD_ALIASES) {
        gw_mqttd_fail(client, GW_MQTTD_BAD_ALIAS, "the topic alias is larger than the topic alias maximum");
        return false;
    }
    if (!client->aliases)
        client->aliases = gw_calloc(GW_MQTTD_ALIASES, sizeof *client->aliases);
    struct gw_slice *place = &client->aliases[alias - 1];
    if (publish->topic.len) {
        free((char *)(uintptr_t)place->data);
        *place = (struct gw_slice){gw_strndup(publish->topic.data, publish->topic.len), publish->topic.len};
    } else if (!place->data) {
        gw_mqttd_fail(client, GW_MQTTD_PROTOCOL_ERROR, "the topic alias stands for no topic");
        return false;
    }
    publish->topic = *place;
    return true;
}

void gw_mqttd_make_origin(struct gw_mqttd_client *client)
{
    uint64_t number;
    gw_random(&number, sizeof number);
    snprintf(client->origin, sizeof client->origin, "%016llx", (unsigned long long)number);
}

/* Is it the user property of that name? */
static bool publish_says(const struct gw_property *property, const char *name)
{
    return property->id == GW_PROPERTY_USER && property->name.len == strlen(name) &&
           !memcmp(property->name.data, name, property->name.len);
}

/* What the client says to the gateway in user properties, which the broker does not get. The receipt of QoS 0 can't
 * be told. True: there is something of it. */
static bool publish_wishes(const struct gw_mqttd_client *client, const struct gw_mqttd_publish *publish,
                           struct gw_command *command)
{
    struct gw_property property;
    bool any = false;
    for (size_t at = 0; client->version >= 5 && gw_properties_next(publish->properties.all, &at, &property);) {
        bool confirms = publish_says(&property, GW_MQTTD_CONFIRM), repeats = publish_says(&property, GW_MQTTD_KEY);
        any |= confirms || repeats;
        if (confirms)
            command->confirm = publish->qos && property.value.len == 4 && !memcmp(property.value.data, "true", 4);
        else if (repeats)
            command->key = property.value;
    }
    return any;
}

/* With the client's origin in front, in `block`, if it has one, and without what it says to the gateway. */
static struct gw_slice publish_properties(const struct gw_mqttd_client *client, struct gw_slice all, bool wishes,
                                          struct gw_buf *block)
{
    if (!client->origin[0] && !wishes)
        return all;
    if (client->origin[0])
        gw_properties_add(block,
                          &(struct gw_property){.id = GW_PROPERTY_ORIGIN, .value = {client->origin, GW_ORIGIN_SIZE}});
    if (all.len && !wishes)
        gw_buf_add(block, all.data, all.len);
    struct gw_property property;
    for (size_t at = 0; wishes && gw_properties_next(all, &at, &property);) {
        if (!publish_says(&property, GW_MQTTD_CONFIRM) && !publish_says(&property, GW_MQTTD_KEY))
            gw_properties_add(block, &property);
    }
    return (struct gw_slice){block->data, block->len};
}

/* False: it is there already. */
static bool publish_admit(struct gw_mqttd_client *client, const struct gw_mqttd_publish *publish)
{
    if (!publish->qos)
        return true;
    if (publish->qos == 2 && client->ids && bit_get(client->ids->known, publish->id)) {
        if (bit_get(client->ids->received, publish->id))
            publish_ack(client, GW_MQTTD_PUBREC, publish->id, GW_MQTTD_SUCCESS, NULL);
        return false;
    }
    if (publish->qos == 2) {
        if (!client->ids)
            client->ids = gw_calloc(1, sizeof *client->ids);
        bit_set(client->ids->known, publish->id, true);
        bit_set(client->ids->received, publish->id, false);
    }
    return true;
}

void gw_mqttd_on_publish(struct gw_mqttd_client *client, uint8_t flags, struct gw_slice body)
{
    struct gw_mqttd_publish publish;
    const char *why;
    enum gw_mqttd_reason reason = gw_mqttd_read_publish(flags, body, client->version, &publish, &why);
    if (reason != GW_MQTTD_SUCCESS) {
        gw_mqttd_fail(client, reason, why);
        return;
    }
    if (!publish_topic(client, &publish) || !publish_admit(client, &publish))
        return;
    char reference[16];
    snprintf(reference, sizeof reference, "%u %u", publish.qos, publish.id);
    struct gw_command command = {.channel = publish.topic.data,
                                 .channel_len = publish.topic.len,
                                 .data = publish.payload.data,
                                 .data_len = publish.payload.len,
                                 .reference = gw_strdup(reference)};
    struct gw_buf block;
    gw_buf_init(&block);
    bool wishes = publish_wishes(client, &publish, &command);
    const struct gw_along along = {.properties = publish_properties(client, publish.properties.all, wishes, &block),
                                   .expires = gw_mqttd_has(&publish.properties, GW_MQTTD_P_MESSAGE_EXPIRY),
                                   .expiry = publish.properties.message_expiry};
    command.along = &along;
    enum gw_err err = gw_session_publish(&client->session, &command);
    gw_buf_fini(&block);
    if (err != GW_OK)
        GW_SESSION_LOG_ONCE_A_SECOND(&client->session, GW_LOG_INFO, "a publish at QoS %u was refused: %s",
                                     publish.qos, gw_err_code(err));
    if (err != GW_OK || (command.accepted && !command.confirm))
        publish_settle(client, publish.qos, publish.id, &(struct receipt){.err = err, .why = command.why}, 0);
}

void gw_mqttd_on_pubrel(struct gw_mqttd_client *client, uint16_t id)
{
    bool received = client->ids && bit_get(client->ids->received, id);
    if (received) {
        bit_set(client->ids->known, id, false);
        bit_set(client->ids->received, id, false);
    }
    publish_ack(client, GW_MQTTD_PUBCOMP, id, received ? GW_MQTTD_SUCCESS : GW_MQTTD_ID_NOT_FOUND, NULL);
}
