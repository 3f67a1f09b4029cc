/* leftover.h: subscriptions of an earlier configuration in a session that the broker has kept (docs/mqtt.md "What a
 * kept session has from before").
 *
 * Nobody tells a client which subscriptions its session has, and a gateway that was started anew does not know what
 * the last one had asked for. So it waits for a message that none of its filters can have brought, and unsubscribes
 * from every filter that can. Thread: the MQTT thread. */
#ifndef GW_MQTT_LEFTOVER_H
#define GW_MQTT_LEFTOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/buf.h"
#include "mqtt/packet.h"

struct gw_source;

/* Filters that are tried for one topic at most: all for one of eight levels, those with few `+` for a deeper one. */
#define GW_LEFTOVER_FILTERS 2048
/* Topics that are remembered as done. */
#define GW_LEFTOVER_TOPICS 16

struct gw_leftover {
    struct gw_buf filters; /* to be unsubscribed from, each with a NUL behind it */
    size_t at;             /* those before it have been */
    int mid;               /* of the UNSUBSCRIBE whose answer is waited for; 0: none */
    unsigned tried;        /* topics on this connection that a filter of ours matches */
    struct {
        uint64_t hash; /* 0: free */
        int64_t at_ms; /* when it was done; gw_monotonic_ms() */
    } done[GW_LEFTOVER_TOPICS];
    size_t done_count; /* in all */
};

void gw_leftover_fini(struct gw_leftover *leftover);
/* A connection begins, or has ended. */
void gw_leftover_reset(struct gw_leftover *leftover);

/* A message has come that no filter of ours can have brought, in a session that the broker kept. `ours`: one matches
 * its topic, but the identifier is of another one. */
void gw_leftover_suspect(struct gw_source *source, const struct gw_packet *packet, bool ours);
void gw_leftover_unsubscribed(struct gw_source *source, int mid);

/* Appends every filter that matches the topic, each with a NUL behind it, likely ones first. */
void gw_leftover_list(const char *topic, size_t len, struct gw_buf *out);

#endif
