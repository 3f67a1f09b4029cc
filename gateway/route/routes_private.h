/* routes_private.h: the route table's inside, shared by the files of this folder. */
#ifndef GW_ROUTE_ROUTES_PRIVATE_H
#define GW_ROUTE_ROUTES_PRIVATE_H

#include <stdatomic.h>

#include "route/routes.h"
#include "topic/pattern.h"
#include "topic/topic_tree.h"

struct gw_route {
    struct gw_pattern *topic;
    struct gw_pattern *channel;   /* NULL: the topic itself is the channel */
    struct gw_pattern *publish;   /* NULL: the topic, filled from the channel */
    struct gw_pattern *available; /* of its availability; NULL: none */
    struct gw_pattern *confirm;   /* of the topic that shows what was published; NULL: the channel does */
    struct gw_pattern **except;   /* topics that are not the route's */
    size_t except_count;
    const struct gw_transform *transform;    /* NULL: its codec makes its message */
    void *state;                             /* the transform's */
    uint32_t next_by_topic, next_by_channel; /* route with the same filter, plus 1; 0: none */
};

struct gw_routes {
    atomic_uint refs;
    struct gw_config *config;
    struct gw_route *routes;
    struct gw_topic_tree *by_topic, *by_channel; /* filter -> index of the first route with it, plus 1 */
    bool watching;                               /* a route has `stale` or `available` */
    struct gw_subscription *subscriptions;
    size_t subscription_count;
    struct gw_topic_tree *by_subscription; /* filter -> index, plus 1 */
};

/* The channels that one topic has made, each with its route and length before it. */
struct gw_routes_made {
    const struct gw_routes *routes;
    struct gw_buf channels;
    bool more; /* another route may match */
};

/* Has another route made this channel? */
bool gw_routes_made_before(const struct gw_routes_made *made, uint32_t route, const char *channel, size_t len);
void gw_routes_made_note(struct gw_routes_made *made, uint32_t route, const char *channel, size_t len);

/* subscriptions.c: finds what the routes ask the broker for. */
void gw_routes_subscribe(struct gw_routes *routes);

void gw_route_transform_create(struct gw_route *route, const struct gw_cfg_route *config);
void gw_route_transform_destroy(struct gw_route *route);

/* Does the topic's pattern match, and nothing of `except`? */
bool gw_route_has_topic(const struct gw_route *route, const char *topic, size_t len, struct gw_captures *captures);
/* The index of what excepts the topic, SIZE_MAX if nothing does. */
size_t gw_route_excepted(const struct gw_route *route, const char *topic, size_t len);
/* Does the channel's pattern match, and is there a topic of the route that feeds it? *excepted (may be NULL) is the
 * index of what excepts the topics that would, else SIZE_MAX. */
bool gw_route_has_channel(const struct gw_route *route, const char *channel, size_t len, struct gw_captures *captures,
                          size_t *excepted);
/* The channel that `topic` feeds by this route, appended to out; false if the route does not match. */
bool gw_route_channel(const struct gw_route *route, const char *topic, size_t len, struct gw_captures *captures,
                      struct gw_buf *out);
/* The same for people: with `{name}` for what the route's transform fills in. */
bool gw_route_channel_shape(const struct gw_route *route, const char *topic, size_t len, struct gw_captures *captures,
                            struct gw_buf *out);
/* Where a publish to a channel of the route goes; `captures` are those of gw_route_has_channel(). False if the route
 * can't say. */
bool gw_route_publish_topic(const struct gw_route *route, const char *channel, size_t len,
                            const struct gw_captures *captures, struct gw_buf *out);
static inline const struct gw_pattern *gw_route_channel_pattern(const struct gw_route *route)
{
    return route->channel ? route->channel : route->topic;
}

#endif
