/* routes.h: the route table: which channels a topic feeds, and where a publish to a channel goes.
 *
 * Every route that matches a topic makes a message on its channel; where two give the same channel, the first in the
 * file makes it (docs/decisions/). Immutable once built, reference-counted; thread: any. Matching walks a trie, so
 * its cost does not grow with the number of routes. */
#ifndef GW_ROUTE_ROUTES_H
#define GW_ROUTE_ROUTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/buf.h"
#include "gateway/capture.h"
#include "gateway/config.h"
#include "gateway/error.h"

struct gw_routes; /* immutable and reference-counted */
struct gw_pattern;

/* Where a client's publish goes. */
struct gw_publish_target {
    struct gw_buf topic; /* init'd and fini'd by the caller */
    const struct gw_codec *codec;
    const struct gw_transform *transform; /* NULL: the codec makes the payload */
    const void *state;                    /* the transform's */
    struct gw_captures captures;          /* of the channel, for the transform; valid as long as its name */
    int qos;
    bool retain;
    const struct gw_cfg_route *route; /* the table's */
    const struct gw_pattern *confirm; /* of the topic that shows the state, filled from `captures`; NULL: none */
    const char *why;                  /* what is wrong, more precisely than the error says; static storage, or NULL */
};

/* Keeps a reference to config. Its patterns were checked when it was loaded. */
struct gw_routes *gw_routes_build(struct gw_config *config);

/* A route that a topic feeds. Everything is valid during the call. */
struct gw_routed {
    uint32_t route;
    const char *channel; /* NULL: the route has a transform, and each of its messages has a channel */
    size_t channel_len;
    const char *topic;
    size_t topic_len;
    const struct gw_captures *captures; /* of the topic */
    struct gw_routes_made *made;        /* what the topic has made so far */
};

/* Called for each distinct channel that the topic feeds, and for each route with a transform, in the order of the
 * file. */
typedef void (*gw_routes_visit)(void *context, const struct gw_routed *routed);
void gw_routes_match(const struct gw_routes *routes, const char *topic, size_t len, gw_routes_visit visit,
                     void *context);

enum gw_routed_as {
    GW_ROUTED_HERE,
    GW_ROUTED_EARLIER, /* an earlier route makes the message on this channel */
    GW_ROUTED_NOWHERE /* the values make no channel of the route's: a slash where one level is, a wildcard, nothing */
};

/* The channel of a message of a route with a transform, from the values of the transform's captures. *channel is
 * overwritten. */
enum gw_routed_as gw_routed_channel(const struct gw_routed *routed, const struct gw_slice *values,
                                    struct gw_buf *channel);

/* What the route's transform has made of its options. */
void *gw_routes_transform_state(const struct gw_routes *routes, uint32_t route);

/* What to subscribe to at the broker: the routes' filters, each once with its highest QoS, leaving out those that
 * another one covers at no lower QoS. */
/* The most that is asked of the broker. QoS 2 would add nothing: in a new session nothing is sent twice, and in a
 * kept one redelivery.c sees it. And libmosquitto's receiving side of QoS 2 does not survive a broken connection: it
 * queues what the broker sends again a second time, and keeps what waits for a PUBREL when the broker's session is
 * gone. Then old messages come in place of new ones, until its window is full and it refuses every PUBLISH (2.0.11;
 * the same in 2.0.20). */
#define GW_SUBSCRIPTION_QOS_MAX 1

struct gw_subscription {
    const char *filter;
    int qos;
};
size_t gw_routes_subscriptions(const struct gw_routes *routes, const struct gw_subscription **out);

/* The subscription (index into the array above) that speaks for this topic where several match: a topic's copies that
 * came through another one are doubles. */
size_t gw_routes_canonical_subscription(const struct gw_routes *routes, const char *topic, size_t len);

/* `sluice explain`: appends plain text. False: no route matches. */
bool gw_routes_explain_topic(const struct gw_routes *routes, const char *topic, struct gw_buf *out);
bool gw_routes_explain_channel(const struct gw_routes *routes, const char *channel, struct gw_buf *out);

/* Appends a JSON array: the first `limit` routes, or with a channel those of them that can produce it. */
void gw_routes_describe(const struct gw_routes *routes, const char *channel, size_t len, size_t limit,
                        struct gw_buf *out);

/* The three questions a worker asks of a route table. Thread: any. */

/* Could any route ever produce a channel that this channel name or filter matches? */
bool gw_routes_channel_possible(const struct gw_routes *routes, const char *filter, size_t len);

/* GW_OK and *target filled; GW_ERR_UNKNOWN_CHANNEL, also where the channel's topic is excepted; GW_ERR_FORBIDDEN
 * where no route for the channel has publish; GW_ERR_BAD_REQUEST for a name that is none (wildcards, NUL, too long),
 * and for a topic of more levels than limits.levels. */
GW_MUST_CHECK enum gw_err gw_routes_publish_target(const struct gw_routes *routes, const char *channel, size_t len,
                                                   struct gw_publish_target *target);

/* Can one of these routes produce the channel? `which` has a byte for each route: 1: it is meant. */
bool gw_routes_channel_from(const struct gw_routes *routes, const char *channel, size_t len,
                            const struct gw_buf *which);

/* Visits the filters of the topics that can feed the channel, one for each route: with the channel's captures filled
 * in, so that most are plain topics. `filter` is valid during the call. */
typedef void (*gw_routes_filter_visit)(void *context, const struct gw_cfg_route *route, const char *filter);
void gw_routes_topics_of_channel(const struct gw_routes *routes, const char *channel, size_t len,
                                 gw_routes_filter_visit visit, void *context);

/* Has any route `stale` or `available`? */
bool gw_routes_watch(const struct gw_routes *routes);
/* The topic of the channel's availability, appended; false: the route has none. */
bool gw_routes_availability(const struct gw_routes *routes, uint32_t route, const char *channel, size_t len,
                            struct gw_buf *topic);
/* May this be the topic of an availability? */
bool gw_routes_is_availability(const struct gw_routes *routes, const char *topic, size_t len);

/* The configuration of route number `index`, as message->route has it. */
const struct gw_cfg_route *gw_routes_get(const struct gw_routes *routes, uint32_t index);

/* The configuration that they were built of. */
const struct gw_config *gw_routes_config(const struct gw_routes *routes);

/* The filter of route number `index`: its topic with wildcards for the captures. Borrowed. */
const char *gw_routes_filter(const struct gw_routes *routes, uint32_t index);

/* The configuration of the first route that can produce this channel, NULL if none can. */
const struct gw_cfg_route *gw_routes_of_channel(const struct gw_routes *routes, const char *channel, size_t len);

struct gw_routes *gw_routes_ref(struct gw_routes *routes);
void gw_routes_unref(struct gw_routes *routes);

#endif
