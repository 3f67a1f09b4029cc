/* access.h: `auth:`, `roles:` and the lists of web: that say who may come. Thread: any. */
#ifndef GW_CONFIG_ACCESS_H
#define GW_CONFIG_ACCESS_H

#include "config/tree.h"
#include "gateway/config.h"

/* Reads what tables can't (keys, roles) and checks how all of it fits together. */
void gw_access_read(struct gw_config *config, const struct gw_node *root, struct gw_problems *problems);
void gw_access_free(struct gw_config *config);

#endif
