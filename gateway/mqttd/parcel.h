/* parcel.h: packets that leave together (parcel.c). For deliver.c. Thread: the loop of the worker. */
#ifndef GW_MQTTD_PARCEL_H
#define GW_MQTTD_PARCEL_H

#include <string.h>

#include "mqttd/client.h"
#include "mqttd/put.h"

/* As many as deliver.c takes from a session at a time. More than the usual window, so that what acknowledgements make
 * room for leaves in one piece. */
#define GW_MQTTD_PARCEL_MESSAGES 128

/* What all of the client's subscriptions have in common, so that its messages need not be looked up in them. */
struct gw_mqttd_shape {
    bool plain;        /* nothing of theirs is in a message */
    bool as_published; /* ... but RETAIN, as the device set it */
    unsigned qos;      /* at which they bring messages */
    uint64_t fresh_to; /* up to here messages may be retained ones */
};

/* The last PUBLISH up to its payload, frame included: the next one of its channel often has the same. */
struct gw_mqttd_head {
    size_t channel_len, payload_len;
    unsigned qos;
    uint8_t len; /* 0: there is none */
    uint8_t topic_at, id_at;
    char bytes[64];
};

/* Where a packet is in a parcel. */
struct gw_mqttd_mark {
    uint16_t end;   /* of the packet */
    uint16_t id_at; /* of its identifier; 0: it has none */
};

/* Packets, framed, that leave together: on the stack of who gathers them. */
struct gw_mqttd_parcel {
    struct gw_conn *conn;
    size_t len;
    size_t count; /* of marks */
    bool own;     /* nobody else can use it: something in it is for this client alone, or a part has left already */
    struct gw_mqttd_head head;
    struct gw_mqttd_mark marks[GW_MQTTD_PARCEL_MESSAGES];
    char bytes[32 * 1024];
};

void gw_mqttd_parcel_begin(struct gw_mqttd_parcel *parcel, struct gw_conn *conn);
void gw_mqttd_parcel_send(struct gw_mqttd_parcel *parcel);
/* Something of the client's own. */
void gw_mqttd_parcel_add(struct gw_mqttd_parcel *parcel, const void *data, size_t len);
/* gw_mqttd_add_alike(), where it can't be done as for the last message. */
bool gw_mqttd_add_new(struct gw_mqttd_client *client, const struct gw_message *msg, unsigned qos,
                      struct gw_mqttd_parcel *parcel);

/* The packet that has been added is whole. */
static inline void gw_mqttd_parcel_mark(struct gw_mqttd_parcel *parcel, size_t id_at)
{
    parcel->marks[parcel->count++] = (struct gw_mqttd_mark){(uint16_t)parcel->len, (uint16_t)id_at};
}

/* Is all up to the payload as it was in the last one? */
static inline bool gw_mqttd_head_fits(const struct gw_mqttd_head *head, const struct gw_message *msg, unsigned qos)
{
    return head->len && head->payload_len == msg->payload.len && head->qos == qos &&
           head->channel_len == msg->channel.len &&
           !memcmp(head->bytes + head->topic_at, msg->channel.data, msg->channel.len);
}

/* Adds a message that has nothing of the client's own in it but a packet identifier, which it takes. It must not
 * expire. False, with nothing done: it is larger than the client's maximum packet size, or than a parcel. */
static inline bool gw_mqttd_add_alike(struct gw_mqttd_client *client, const struct gw_message *msg, unsigned qos,
                                      struct gw_mqttd_parcel *parcel)
{
    const struct gw_mqttd_head *head = &parcel->head;
    size_t start = parcel->len;
    if ((client->version == 5 && msg->properties_len) || !gw_mqttd_head_fits(head, msg, qos) ||
        sizeof head->bytes + msg->payload.len > sizeof parcel->bytes - start)
        return gw_mqttd_add_new(client, msg, qos, parcel);
    char *to = parcel->bytes + start;
    memcpy(to, head->bytes, sizeof head->bytes); /* of a size that the compiler knows */
    if (qos) {
        uint16_t id = gw_mqttd_next_id(client);
        gw_mqttd_put_number_16(to + head->id_at, id);
        gw_mqttd_window_add(client, msg->seq, id);
    }
    if (msg->payload.len)
        memcpy(to + head->len, msg->payload.data, msg->payload.len);
    parcel->len += head->len + msg->payload.len;
    if (!parcel->own)
        gw_mqttd_parcel_mark(parcel, qos ? start + head->id_at : 0);
    return true;
}

/* Sends it. If it is not `own`, it is kept for the clients that follow, and the items' references are taken. */
void gw_mqttd_parcel_finish(struct gw_mqttd_parcel *parcel, const struct gw_mqttd_client *client,
                            const struct gw_mqttd_shape *shape, const struct gw_item *items, size_t count);
/* Sends these messages as a part of the parcel that was kept, with identifiers of the client's own, and takes the
 * items' references. False, with nothing done: it can't. The client's window has room. */
bool gw_mqttd_parcel_again(struct gw_mqttd_client *client, const struct gw_mqttd_shape *shape,
                           const struct gw_item *items, size_t count);

#endif
