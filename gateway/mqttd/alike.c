/* alike.c: messages that have nothing of the client's own in them. At QoS 0 such a PUBLISH is the same for all
 * clients of a version: up to its payload it is made once and kept with the message. At QoS 1 it has a packet
 * identifier, and to write it costs less than to look up what could be copied. */
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/clock.h"
#include "mqttd/client.h"
#include "mqttd/put.h"

/* The opcode of RFC 6455 section 5.2. */
#define WS_BINARY 2
/* From here on a message may be asked for again later (net/outbox.c). */
#define FRESH_BYTES (16 * 1024)

/* WebSocket header, and PUBLISH up to its payload. */
struct head {
    struct gw_variant variant; /* first member */
    size_t len;
    size_t frame_len; /* of the WebSocket header, which plain connections leave out */
    char bytes[];
};

/* Their addresses are the keys. */
static const char head_old, head_5;

static void head_destroy(struct gw_variant *variant)
{
    free(variant);
}

static const struct head *head_of(struct gw_message *msg, unsigned version)
{
    const void *key = version == 5 ? &head_5 : &head_old;
    struct gw_variant *kept = gw_message_variant(msg, key);
    if (kept)
        return (const struct head *)kept;
    struct gw_buf mqtt, properties;
    gw_buf_init(&mqtt);
    gw_buf_init(&properties);
    if (version == 5)
        gw_mqttd_put_along(msg, &properties);
    gw_mqttd_write_publish(&mqtt, version, 0, 0, 0, msg->channel, &properties, msg->payload.len);
    gw_buf_fini(&properties);
    uint8_t frame[GW_WS_HEADER_MAX];
    size_t frame_len = gw_ws_header(frame, 2, mqtt.len + msg->payload.len);
    struct head *head = gw_malloc(sizeof *head + frame_len + mqtt.len);
    *head = (struct head){
        .variant = {.key = key, .destroy = head_destroy}, .len = frame_len + mqtt.len, .frame_len = frame_len};
    memcpy(head->bytes, frame, frame_len);
    memcpy(head->bytes + frame_len, mqtt.data, mqtt.len);
    gw_buf_fini(&mqtt);
    return (const struct head *)gw_message_keep_variant(msg, &head->variant);
}

/* It has all of its time left, in whole seconds. A large message may be asked for again later (net/outbox.c). */
static bool head_is_fresh(const struct gw_message *msg)
{
    return gw_wall_ms() - msg->ts < 1000 && msg->payload.len < FRESH_BYTES && !gw_mqttd_is_late(msg);
}

/* Its time runs down, so that it is not the same for all: it becomes a text, and stays one where it is asked for
 * again. */
static size_t encode_expiring(struct gw_item *item, unsigned version, bool plain, struct iovec parts[GW_PARTS_MAX])
{
    struct gw_buf frame, packet, properties;
    const struct gw_message *msg = item->u.message;
    if (gw_mqttd_is_late(msg))
        return 0;
    gw_buf_init(&frame);
    gw_buf_init(&packet);
    gw_buf_init(&properties);
    if (version == 5)
        gw_mqttd_put_along(msg, &properties);
    gw_mqttd_write_publish(&packet, version, 0, 0, 0, msg->channel, &properties, msg->payload.len);
    if (!plain) {
        uint8_t header[GW_WS_HEADER_MAX];
        gw_buf_add(&frame, header, gw_ws_header(header, 2, packet.len + msg->payload.len));
    }
    gw_buf_add(&frame, packet.data, packet.len);
    gw_buf_add(&frame, msg->payload.data, msg->payload.len);
    gw_buf_fini(&packet);
    gw_buf_fini(&properties);
    gw_item_set_text(item, &frame);
    parts[0] = (struct iovec){item->u.text->data, item->u.text->len};
    return 1;
}

static size_t encode(struct gw_item *item, unsigned version, bool plain, struct iovec parts[GW_PARTS_MAX])
{
    if (item->type == GW_ITEM_TEXT) {
        parts[0] = (struct iovec){item->u.text->data, item->u.text->len};
        return 1;
    }
    if (item->type != GW_ITEM_MESSAGE)
        return 0; /* there are no gaps here: see deliver_is_shared() in deliver.c */
    struct gw_message *msg = item->u.message;
    if (msg->expires_ms && !head_is_fresh(msg))
        return encode_expiring(item, version, plain, parts);
    const struct head *head = head_of(msg, version);
    size_t skip = plain ? head->frame_len : 0;
    parts[0] = (struct iovec){(void *)(uintptr_t)(head->bytes + skip), head->len - skip};
    parts[1] = (struct iovec){(void *)(uintptr_t)msg->payload.data, msg->payload.len};
    return msg->payload.len ? 2 : 1;
}

static size_t encode_old(struct gw_item *item, struct iovec parts[GW_PARTS_MAX])
{
    return encode(item, 4, false, parts);
}

static size_t encode_5(struct gw_item *item, struct iovec parts[GW_PARTS_MAX])
{
    return encode(item, 5, false, parts);
}

static size_t encode_old_plain(struct gw_item *item, struct iovec parts[GW_PARTS_MAX])
{
    return encode(item, 4, true, parts);
}

static size_t encode_5_plain(struct gw_item *item, struct iovec parts[GW_PARTS_MAX])
{
    return encode(item, 5, true, parts);
}

gw_encode gw_mqttd_encoder(const struct gw_mqttd_client *client)
{
    static const gw_encode encoders[2][2] = {{encode_old, encode_old_plain}, {encode_5, encode_5_plain}};
    return encoders[client->version == 5][client->plain];
}

/* --- parcels --------------------------------------------------------------------------------------------------- */

void gw_mqttd_parcel_send(struct gw_mqttd_parcel *parcel)
{
    if (parcel->len)
        gw_conn_send(parcel->conn, parcel->bytes, parcel->len);
    parcel->len = 0;
}

void gw_mqttd_parcel_add(struct gw_mqttd_parcel *parcel, const void *data, size_t len)
{
    if (len > sizeof parcel->bytes - parcel->len)
        gw_mqttd_parcel_send(parcel);
    if (len > sizeof parcel->bytes) {
        gw_conn_send(parcel->conn, data, len);
    } else if (len) {
        memcpy(parcel->bytes + parcel->len, data, len);
        parcel->len += len;
    }
}

/* The header of its frame. */
static char *put_frame(char *to, size_t size)
{
    if (size > 0xffff)
        return to + gw_ws_header((uint8_t *)to, WS_BINARY, size);
    *to++ = (char)(0x80 | WS_BINARY);
    if (size < 126) {
        *to++ = (char)size;
        return to;
    }
    *to++ = 126;
    return gw_mqttd_put_number_16(to, size);
}

/* Adds the message, if all up to its payload is as it was in the last one. */
static bool add_like_last(struct gw_mqttd_client *client, const struct gw_message *msg, unsigned qos,
                          struct gw_mqttd_parcel *parcel)
{
    const struct gw_mqttd_head *head = &parcel->head;
    if (!head->len || head->payload_len != msg->payload.len || head->qos != qos ||
        head->channel_len != msg->channel.len ||
        memcmp(head->bytes + head->topic_at, msg->channel.data, msg->channel.len) != 0)
        return false;
    if (sizeof head->bytes + msg->payload.len > sizeof parcel->bytes - parcel->len)
        return false;
    char *to = parcel->bytes + parcel->len;
    memcpy(to, head->bytes, sizeof head->bytes); /* of a size that the compiler knows */
    if (qos) {
        uint16_t id = gw_mqttd_next_id(client);
        gw_mqttd_put_number_16(to + head->id_at, id);
        gw_mqttd_window_add(client, msg->seq, id);
    }
    if (msg->payload.len)
        memcpy(to + head->len, msg->payload.data, msg->payload.len);
    parcel->len += head->len + msg->payload.len;
    return true;
}

/* Keeps all up to the payload of a packet that begins, with the header of its frame, at `start`. */
static void head_keep(struct gw_mqttd_head *head, const struct gw_message *msg, unsigned qos, const char *start,
                      size_t frame_len, size_t remaining)
{
    size_t topic_at = frame_len + 1 + gw_mqttd_varint_size(remaining) + 2,
           len = topic_at - 2 + remaining - msg->payload.len;
    head->len = 0;
    if (len > sizeof head->bytes)
        return;
    memcpy(head->bytes, start, len);
    head->channel_len = msg->channel.len;
    head->payload_len = msg->payload.len;
    head->qos = qos;
    head->topic_at = (uint8_t)topic_at;
    head->id_at = (uint8_t)(head->topic_at + msg->channel.len);
    head->len = (uint8_t)len;
}

bool gw_mqttd_add_alike(struct gw_mqttd_client *client, const struct gw_message *msg, unsigned qos,
                        struct gw_mqttd_parcel *parcel)
{
    struct gw_slice along = {NULL, 0};
    if (client->version == 5 && msg->properties_len)
        along = gw_properties_public(gw_message_properties(msg));
    if (!along.len && add_like_last(client, msg, qos, parcel))
        return true;
    size_t remaining =
        gw_mqttd_publish_remaining(client->version, qos, msg->channel.len, along.len, msg->payload.len);
    size_t size = 1 + gw_mqttd_varint_size(remaining) + remaining;
    if (size > client->maximum_packet || size > sizeof parcel->bytes - GW_WS_HEADER_MAX)
        return false;
    if (GW_WS_HEADER_MAX + size > sizeof parcel->bytes - parcel->len)
        gw_mqttd_parcel_send(parcel);
    char *start = parcel->bytes + parcel->len, *packet = client->plain ? start : put_frame(start, size);
    uint16_t id = qos ? gw_mqttd_next_id(client) : 0;
    char *end = gw_mqttd_put_publish(packet, client->version, qos, id, remaining, msg->channel, along, msg->payload);
    if (along.len)
        parcel->head.len = 0;
    else
        head_keep(&parcel->head, msg, qos, start, (size_t)(packet - start), remaining);
    parcel->len = (size_t)(end - parcel->bytes);
    if (qos)
        gw_mqttd_window_add(client, msg->seq, id);
    return true;
}
