/* rollup.h: `history.rollup` of a route. Thread: any. */
#ifndef GW_CONFIG_ROLLUP_H
#define GW_CONFIG_ROLLUP_H

#include "config/tree.h"
#include "gateway/config.h"

/* Makes route->rollup of what is written. `map` is the route's node, `path` its place. */
void gw_route_read_rollup(struct gw_cfg_route *route, const struct gw_node *map, const char *path,
                          struct gw_problems *problems);

#endif
