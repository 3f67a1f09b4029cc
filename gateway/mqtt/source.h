/* source.h: the connection to the broker, on libmosquitto's own thread.
 *
 * It connects, resubscribes after every reconnect, turns what arrives into messages with their sequence numbers and
 * puts them into every worker's inbox; it publishes what workers give it and hands the acknowledgements back. */
#ifndef GW_MQTT_SOURCE_H
#define GW_MQTT_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "gateway/buf.h"
#include "gateway/config.h"
#include "gateway/engine.h"
#include "gateway/upstream.h"
#include "hub/inbox.h"
#include "route/route_stats.h"

struct gw_source;

enum gw_source_role {
    GW_SOURCE_WHOLE,  /* takes messages in and publishes, on one connection */
    GW_SOURCE_INGEST, /* only takes messages in, while the engine wants this process to: one that shares its sequence
                       */
    GW_SOURCE_PUBLISH /* only publishes, as a client of this process's own */
};

struct gw_source_stats {
    uint64_t received;           /* PUBLISH packets from the broker */
    uint64_t received_bytes;     /* of their payloads */
    uint64_t messages;           /* messages made from them */
    uint64_t doubles;            /* copies dropped because another subscription speaks for the topic */
    uint64_t codec_dropped;      /* payloads that the route's codec refused */
    uint64_t properties_dropped; /* messages without their properties: above limits.properties */
    uint64_t too_large;
    uint64_t stale_cleared;     /* last values that the broker stores no more */
    uint64_t refused;           /* messages that the engine gave no number */
    uint64_t unrouted;          /* no route (left over from a reload) or a topic that is no valid channel */
    uint64_t published;         /* acknowledged, or sent at QoS 0 */
    uint64_t rejected;          /* refused by the broker */
    uint64_t responses_unknown; /* on the response topic, to nobody's request */
    uint64_t connects;
    uint64_t connect_failures; /* attempts that came to nothing */
    uint64_t disconnects;
};

/* `inboxes` and the engine's `store` stay valid until gw_source_destroy(). Thread: main. */
struct gw_source *gw_source_create(enum gw_source_role role, struct gw_config *config, struct gw_routes *routes,
                                   const struct gw_engine *engine, struct gw_engine_store *store,
                                   struct gw_inbox **inboxes, unsigned workers);

/* For the engine's start(), which comes before gw_source_start(). Thread: main. */
struct gw_engine_sink gw_source_sink(struct gw_source *source);

/* Starts the thread and connects in the background; a broker that is not there is not an error. Every worker gets one
 * GW_EVENT_UPSTREAM with up=false at once, and one at each change from then on. `up` means connected and every
 * subscription acknowledged. */
GW_MUST_CHECK enum gw_err gw_source_start(struct gw_source *source);

/* New routes and perhaps new broker settings: subscribes to what is new and unsubscribes from what is gone, posts
 * GW_EVENT_RELOAD to every worker, and uses the new routes from the next message on. Reconnects only if the broker
 * settings changed. Thread: main. */
void gw_source_reload(struct gw_source *source, struct gw_config *config, struct gw_routes *routes,
                      struct gw_auth *auth);

/* Sends DISCONNECT (with session_expiry the broker keeps the session) and joins the thread. Inboxes must be closed or
 * drained, or this waits. Thread: main. */
void gw_source_stop(struct gw_source *source);
void gw_source_destroy(struct gw_source *source);

/* What the broker has granted of the filters that the routes ask for. */
#define GW_SOURCE_REASONS 12
struct gw_source_granted {
    uint64_t wanted, granted, lowered; /* filters; lowered: at a lower QoS than was asked for */
    struct {
        const char *reason; /* static storage */
        uint64_t count;
    } refused[GW_SOURCE_REASONS];
};
/* Thread: any. */
void gw_source_granted(struct gw_source *source, struct gw_source_granted *out);
/* Appends the same as the members of a JSON object, with the filters that were refused or lowered and their routes;
 * bounded. Thread: any. */
void gw_source_ready(struct gw_source *source, struct gw_buf *out);

/* The publishing side, for the workers. Thread: any. */
struct gw_upstream gw_source_upstream(struct gw_source *source);

/* A channel is there, with this last value, whose state was not watched so far; gw_liveness_found() says more. Not of
 * GW_SOURCE_PUBLISH. Thread: any. */
void gw_source_found(struct gw_source *source, const struct gw_message *last, enum gw_state told);
/* Channels in each state. Not of GW_SOURCE_PUBLISH. Thread: any. */
void gw_source_states(struct gw_source *source, uint64_t out[GW_STATE_COUNT]);

/* A snapshot. Thread: any. */
struct gw_source_stats gw_source_stats(struct gw_source *source);
/* What each route carried. Thread: any. */
/* What its routes carried; lives as long as the source. */
struct gw_route_stats *gw_source_routes(struct gw_source *source);
void gw_source_route_stats(struct gw_source *source, gw_route_stats_visit visit, void *context);

#endif
