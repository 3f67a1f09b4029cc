/* ingest.h: from an MQTT message to messages in every worker's inbox: by its routes and their codecs or transforms to
 * drafts, which the engine numbers (engine.h), and from the engine into the inboxes. Thread: the MQTT thread, where
 * nothing else is said. */
#ifndef GW_MQTT_INGEST_H
#define GW_MQTT_INGEST_H

#include <stdatomic.h>

#include "gateway/buf.h"
#include "gateway/engine.h"
#include "hub/inbox.h"
#include "mqtt/liveness.h"
#include "mqtt/packet.h"
#include "mqtt/stored.h"
#include "route/route_stats.h"
#include "route/routes.h"

struct gw_ingest {
    const struct gw_engine *engine;
    struct gw_engine_store *store;
    struct gw_inbox **inboxes;
    unsigned workers;
    struct gw_buf scratch, channel, properties;
    struct gw_route_stats routes;
    void (*wake)(void *context); /* the engine has something for the MQTT thread */
    void *wake_context;
    _Atomic uint64_t term; /* in which this process takes messages in, as the engine says; 0: it does not */
    struct gw_stored *stored;
    struct gw_liveness *liveness;     /* NULL: this connection takes nothing in */
    struct gw_liveness_change change; /* that is told */
    _Atomic uint64_t messages, codec_dropped, unrouted, refused, properties_dropped; /* read by any thread */
};

void gw_ingest_init(struct gw_ingest *ingest, const struct gw_engine *engine, struct gw_engine_store *store,
                    struct gw_inbox **inboxes, unsigned workers, struct gw_stored *stored);
void gw_ingest_fini(struct gw_ingest *ingest);

/* For engines that share their sequence: `wake` is called on any thread. */
void gw_ingest_share(struct gw_ingest *ingest, void (*wake)(void *context), void *context);

/* What the engine is to tell, for its start(). Good until gw_ingest_fini(). */
struct gw_engine_sink gw_ingest_sink(struct gw_ingest *ingest);

/* Waits where an inbox is full, or for the engine. False: no route matches. */
bool gw_ingest_message(struct gw_ingest *ingest, const struct gw_routes *routes, const struct gw_packet *packet);

/* A stored value that is dropped unread: the broker has one of these channels all the same. */
void gw_ingest_note_stored(struct gw_ingest *ingest, const struct gw_routes *routes, const struct gw_packet *packet);
/* The broker stores no value of this channel any more: clears the last value, if it came before `since_ms`. */
void gw_ingest_clear(struct gw_ingest *ingest, const char *channel, size_t len, int64_t since_ms);

/* Makes messages of the states that have changed, if this process takes messages in. */
void gw_ingest_tell_states(struct gw_ingest *ingest);

/* The same event to every worker. For GW_EVENT_MESSAGE and GW_EVENT_RELOAD the caller keeps its references. Thread:
 * any. */
void gw_ingest_post(struct gw_ingest *ingest, const struct gw_event *event);

#endif
