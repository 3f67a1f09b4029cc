/* ingest.h: from an MQTT message to messages in every worker's inbox. Thread: the MQTT thread. */
#ifndef GW_MQTT_INGEST_H
#define GW_MQTT_INGEST_H

#include <stdatomic.h>

#include "gateway/buf.h"
#include "hub/inbox.h"
#include "mqtt/packet.h"
#include "route/route_stats.h"
#include "route/routes.h"

struct gw_ingest {
    const char *epoch;
    uint64_t seq;    /* the last number given */
    uint64_t ask_at; /* numbers from here on must be asked for; UINT64_MAX: numbers need not outlive the process */
    const struct gw_history_keeper *keeper;
    struct gw_history_store *store;
    struct gw_inbox **inboxes;
    unsigned workers;
    struct gw_buf scratch;
    struct gw_route_stats routes;
    _Atomic uint64_t messages, codec_dropped, unrouted; /* read by any thread */
};

void gw_ingest_init(struct gw_ingest *ingest, const char *epoch, struct gw_inbox **inboxes, unsigned workers);
void gw_ingest_fini(struct gw_ingest *ingest);

/* Waits where an inbox is full. */
void gw_ingest_message(struct gw_ingest *ingest, const struct gw_routes *routes, const struct gw_packet *packet);

/* The same event to every worker. For GW_EVENT_MESSAGE and GW_EVENT_RELOAD the caller keeps its references. */
void gw_ingest_post(struct gw_ingest *ingest, const struct gw_event *event);

#endif
