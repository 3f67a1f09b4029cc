/* alike.c: messages that have nothing of the client's own in them. At QoS 0 such a PUBLISH is the same for all
 * clients of a version: up to its payload it is made once and kept with the message. At QoS 1 it has a packet
 * identifier (parcel.c). */
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/clock.h"
#include "mqttd/client.h"
#include "mqttd/put.h"

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
    struct gw_buf mqtt = {0}, properties = {0};
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
    struct gw_buf frame = {0}, packet = {0}, properties = {0};
    const struct gw_message *msg = item->u.message;
    if (gw_mqttd_is_late(msg))
        return 0;
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
