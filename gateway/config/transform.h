/* transform.h: `transform: NAME` and `transform: { NAME: { options } }` of a route. Thread: any. */
#ifndef GW_CONFIG_TRANSFORM_H
#define GW_CONFIG_TRANSFORM_H

#include "config/tree.h"
#include "gateway/config.h"
#include "topic/pattern.h"

/* Fills transform and transform_options; node NULL: none. */
void gw_route_read_transform(struct gw_cfg_route *route, const struct gw_node *node, const char *path,
                             struct gw_problems *problems);
void gw_route_free_transform(struct gw_cfg_route *route);

/* Does the transform fit the rest of the route? `map` is the route's node; topic and channel may be NULL. */
void gw_route_check_transform(const struct gw_config *config, const struct gw_cfg_route *route,
                              const struct gw_node *map, const char *path, const struct gw_pattern *topic,
                              const struct gw_pattern *channel, struct gw_problems *problems);

/* Is it a capture of the route's transform? */
bool gw_route_transform_makes(const struct gw_cfg_route *route, const char *capture);

#endif
