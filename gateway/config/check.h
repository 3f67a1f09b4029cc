/* check.h: what a table can't say: patterns and what they have to do with one another. Thread: any. */
#ifndef GW_CONFIG_CHECK_H
#define GW_CONFIG_CHECK_H

#include "config/tree.h"
#include "gateway/config.h"

struct gw_pattern;

/* `list` is the node of `routes:`, parallel to config->routes. */
void gw_check_routes(const struct gw_config *config, const struct gw_node *list, struct gw_problems *problems);

/* publish.confirm of one route, whose node is `map`; `giver` is the pattern of its channels, NULL if that is wrong.
 */
void gw_check_confirm(const struct gw_config *config, size_t index, const struct gw_node *map,
                      const struct gw_pattern *giver, struct gw_problems *problems);

/* That one engine is in force, and keeps what the routes want kept; `root` is the whole file. */
void gw_check_engine(const struct gw_config *config, const struct gw_node *root, struct gw_problems *problems);

#endif
