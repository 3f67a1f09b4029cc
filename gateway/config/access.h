/* access.h: `auth:`, `roles:` and the lists of web: that say who may come. Thread: any. */
#ifndef GW_CONFIG_ACCESS_H
#define GW_CONFIG_ACCESS_H

#include "config/tree.h"
#include "gateway/config.h"

/* Reads what tables can't (keys, roles) and checks how all of it fits together. */
void gw_access_read(struct gw_config *config, const struct gw_node *root, struct gw_problems *problems);
void gw_access_free(struct gw_config *config);

/* The first address that every network of the machine reaches while there is no auth:, or NULL. */
const struct gw_cfg_listen *gw_access_open_to_all(const struct gw_config *config);

#endif
