/* blame.h: which publish made the broker close the connection, and which are not sent again for that.
 *
 * Where a broker closes on a publish it does not like (a packet too large with MQTT 3.1.1, a policy, AWS IoT Core),
 * it does so for all web clients. The publishes handed over last are remembered until something later is
 * acknowledged, since brokers work in order; the oldest one left that was to be acknowledged is the suspect, or else
 * the newest. If that happens twice to a topic, publishes to it of that size or above are refused for a while;
 * likewise for sizes and depths above all that were ever acknowledged. An acknowledgement clears the topic. Thread:
 * whoever holds the publisher's lock. */
#ifndef GW_MQTT_BLAME_H
#define GW_MQTT_BLAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/upstream.h"

#define GW_BLAME_RECENT 32
#define GW_BLAME_ROWS   64

struct gw_blame_sent {
    char topic[160]; /* cut to fit */
    uint64_t hash;
    size_t len;    /* of the payload, bytes */
    size_t levels; /* of the topic */
    int64_t at_ms;
    int mid, qos;
};

struct gw_blame_row {
    uint64_t hash;
    size_t len;       /* the smallest payload, or depth, that broke a connection */
    unsigned strikes; /* 0: the row is free */
    int64_t until_ms;
};

struct gw_blame {
    struct gw_blame_sent recent[GW_BLAME_RECENT];
    uint64_t sent;       /* in all; the newest is at (sent - 1) % GW_BLAME_RECENT */
    uint64_t cleared_to; /* all before this one are cleared */
    struct gw_blame_row rows[GW_BLAME_ROWS];
    unsigned rows_used;
    size_t acked_max;    /* the longest payload that was ever acknowledged */
    size_t acked_levels; /* and the deepest topic */
};

void gw_blame_note(struct gw_blame *blame, const struct gw_publish *publish, int mid, int64_t now_ms);
/* The broker has acknowledged `mid`, so that it has taken everything before it. */
void gw_blame_acknowledged(struct gw_blame *blame, int mid);
/* The connection is gone. Logs the suspect, if there is one; only if the broker closed it does it count. */
void gw_blame_lost(struct gw_blame *blame, const char *why, bool by_broker, int64_t now_ms);
/* Is this publish one that has broken the connection twice? */
bool gw_blame_refuses(struct gw_blame *blame, const struct gw_publish *publish, int64_t now_ms);

#endif
