/* parcel.c: packets that leave together.
 *
 * Clients at QoS 1 mostly get the same messages one after the other, and what they are sent differs in the packet
 * identifiers alone. So the last parcel is kept, with the places of its identifiers: a client that gets the same
 * messages, or some of them that follow one another, is sent a part of it with identifiers of its own. It keeps its
 * messages alive, so that their addresses say which they are, until another parcel takes its place or the worker's
 * last client leaves: at most GW_MQTTD_PARCEL_MESSAGES of them, which were in one parcel. */
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "mqttd/parcel.h"
#include "mqttd/put.h"

/* The opcode of RFC 6455 section 5.2. */
#define WS_BINARY 2

_Static_assert(sizeof((struct gw_mqttd_parcel *)0)->bytes <= UINT16_MAX, "a mark tells every place in a parcel");

/* The last parcel. */
struct kept {
    unsigned version; /* 5, or 4 for all below */
    unsigned qos;     /* of the subscriptions */
    bool plain;       /* without frames */
    bool stored;      /* a message of it was published with RETAIN */
    uint64_t from;    /* the lowest number in it */
    size_t count;
    struct gw_message *messages[GW_MQTTD_PARCEL_MESSAGES];
    uint32_t takers[GW_MQTTD_PARCEL_MESSAGES]; /* whose references to them are ours now */
    struct gw_mqttd_mark marks[GW_MQTTD_PARCEL_MESSAGES];
    char bytes[sizeof((struct gw_mqttd_parcel *)0)->bytes];
};

static _Thread_local struct kept *kept; /* NULL: none yet */
static _Thread_local size_t users;      /* clients of this worker */

void gw_mqttd_parcel_begin(struct gw_mqttd_parcel *parcel, struct gw_conn *conn)
{
    parcel->conn = conn;
    parcel->len = 0;
    parcel->count = 0;
    parcel->own = users < 2;
    parcel->head.len = 0;
}

void gw_mqttd_parcel_send(struct gw_mqttd_parcel *parcel)
{
    if (parcel->len)
        gw_conn_send(parcel->conn, parcel->bytes, parcel->len);
    parcel->len = 0;
}

static void parcel_make_room(struct gw_mqttd_parcel *parcel, size_t len)
{
    if (len <= sizeof parcel->bytes - parcel->len)
        return;
    gw_mqttd_parcel_send(parcel);
    parcel->own = true;
}

void gw_mqttd_parcel_add(struct gw_mqttd_parcel *parcel, const void *data, size_t len)
{
    parcel->own = true;
    parcel_make_room(parcel, len);
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

bool gw_mqttd_add_new(struct gw_mqttd_client *client, const struct gw_message *msg, unsigned qos,
                      struct gw_mqttd_parcel *parcel)
{
    struct gw_slice along = {NULL, 0};
    if (client->version == 5 && msg->properties_len)
        along = gw_properties_public(gw_message_properties(msg));
    size_t remaining =
        gw_mqttd_publish_remaining(client->version, qos, msg->channel.len, along.len, msg->payload.len);
    size_t size = 1 + gw_mqttd_varint_size(remaining) + remaining;
    if (size > client->maximum_packet || size > sizeof parcel->bytes - GW_WS_HEADER_MAX)
        return false;
    parcel_make_room(parcel, GW_WS_HEADER_MAX + size);
    char *start = parcel->bytes + parcel->len, *packet = client->plain ? start : put_frame(start, size);
    uint16_t id = qos ? gw_mqttd_next_id(client) : 0;
    char *end = gw_mqttd_put_publish(packet, client->version, qos, id, remaining, msg->channel, along, msg->payload);
    if (along.len)
        parcel->head.len = 0;
    else
        head_keep(&parcel->head, msg, qos, start, (size_t)(packet - start), remaining);
    parcel->len = (size_t)(end - parcel->bytes);
    size_t topic_at = (size_t)(packet - parcel->bytes) + 1 + gw_mqttd_varint_size(remaining) + 2;
    if (!parcel->own)
        gw_mqttd_parcel_mark(parcel, qos ? topic_at + msg->channel.len : 0);
    if (qos)
        gw_mqttd_window_add(client, msg->seq, id);
    return true;
}

/* --- for the clients that follow ------------------------------------------------------------------------------- */

static unsigned kept_version(const struct gw_mqttd_client *client)
{
    return client->version == 5 ? 5 : 4;
}

static void kept_forget(void)
{
    for (size_t i = 0; i < kept->count; i++)
        gw_message_unref_many(kept->messages[i], kept->takers[i]);
    kept->count = 0;
}

void gw_mqttd_parcels_open(void)
{
    users++;
}

void gw_mqttd_parcels_close(void)
{
    if (--users || !kept)
        return;
    kept_forget();
    free(kept);
    kept = NULL;
}

static void kept_take(const struct gw_mqttd_parcel *parcel, const struct gw_mqttd_client *client,
                      const struct gw_mqttd_shape *shape, const struct gw_item *items, size_t count)
{
    if (!kept)
        kept = gw_calloc(1, sizeof *kept);
    kept_forget();
    kept->version = kept_version(client);
    kept->qos = shape->qos;
    kept->plain = client->plain;
    kept->stored = false;
    kept->from = UINT64_MAX;
    for (size_t i = 0; i < count; i++) {
        struct gw_message *msg = items[i].u.message;
        kept->stored |= msg->retained || msg->stored;
        kept->from = msg->seq < kept->from ? msg->seq : kept->from;
        kept->messages[i] = msg;
        kept->takers[i] = 1;
    }
    memcpy(kept->marks, parcel->marks, count * sizeof *parcel->marks);
    memcpy(kept->bytes, parcel->bytes, parcel->len);
    kept->count = count;
}

void gw_mqttd_parcel_finish(struct gw_mqttd_parcel *parcel, const struct gw_mqttd_client *client,
                            const struct gw_mqttd_shape *shape, const struct gw_item *items, size_t count)
{
    if (!parcel->own)
        kept_take(parcel, client, shape, items, count);
    gw_mqttd_parcel_send(parcel);
}

/* Where these messages begin in it; SIZE_MAX: it does not have them all. */
static size_t kept_find(const struct gw_item *items, size_t count)
{
    size_t first = 0;
    while (first < kept->count && kept->messages[first] != items[0].u.message)
        first++;
    if (count > kept->count - first)
        return SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        if (items[i].type != GW_ITEM_MESSAGE || items[i].u.message != kept->messages[first + i])
            return SIZE_MAX;
    }
    return first;
}

bool gw_mqttd_parcel_again(struct gw_mqttd_client *client, const struct gw_mqttd_shape *shape,
                           const struct gw_item *items, size_t count)
{
    if (!kept || !kept->count || kept->version != kept_version(client) || kept->qos != shape->qos ||
        kept->plain != client->plain || shape->fresh_to >= kept->from || (shape->as_published && kept->stored) ||
        client->maximum_packet < sizeof kept->bytes)
        return false;
    size_t first = kept_find(items, count);
    if (first == SIZE_MAX)
        return false;
    for (size_t i = first; i < first + count; i++) {
        kept->takers[i]++;
        if (!kept->marks[i].id_at)
            continue;
        uint16_t id = gw_mqttd_next_id(client);
        gw_mqttd_put_number_16(kept->bytes + kept->marks[i].id_at, id);
        gw_mqttd_window_add(client, kept->messages[i]->seq, id);
    }
    size_t start = first ? kept->marks[first - 1].end : 0;
    gw_conn_send(client->conn, kept->bytes + start, kept->marks[first + count - 1].end - start);
    return true;
}
