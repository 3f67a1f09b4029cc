/* parcel.h: packets that leave together (parcel.c). For deliver.c. Thread: the loop of the worker. */
#ifndef GW_MQTTD_PARCEL_H
#define GW_MQTTD_PARCEL_H

#include "mqttd/client.h"

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
/* Adds a message that has nothing of the client's own in it but a packet identifier, which it takes. It must not
 * expire. False, with nothing done: it is larger than the client's maximum packet size, or than a parcel. */
bool gw_mqttd_add_alike(struct gw_mqttd_client *client, const struct gw_message *msg, unsigned qos,
                        struct gw_mqttd_parcel *parcel);

/* Sends it. If it is not `own`, it is kept for the clients that follow, and the items' references are taken. */
void gw_mqttd_parcel_finish(struct gw_mqttd_parcel *parcel, const struct gw_mqttd_client *client,
                            const struct gw_mqttd_shape *shape, const struct gw_item *items, size_t count);
/* Sends these messages as a part of the parcel that was kept, with identifiers of the client's own, and takes the
 * items' references. False, with nothing done: it can't. The client's window has room. */
bool gw_mqttd_parcel_again(struct gw_mqttd_client *client, const struct gw_mqttd_shape *shape,
                           const struct gw_item *items, size_t count);

#endif
