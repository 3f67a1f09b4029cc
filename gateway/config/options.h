/* options.h: the tables that extensions bring, read into their own structs. Thread: any, but gw_config_extend(). */
#ifndef GW_CONFIG_OPTIONS_H
#define GW_CONFIG_OPTIONS_H

#include "config/tree.h"
#include "gateway/config.h"

/* Sets the tables of all extensions: NULL-terminated, copied; the tables themselves are static. From then on
 * gw_fields_root has a row for each. A key that is there already ends the process. Thread: main, before any other
 * one. */
void gw_config_extend(const struct gw_options *const *list);

/* One table into a new struct, by its node: NULL for none; true and false switch it. NULL: it is off. */
void *gw_options_read(const struct gw_options *options, const struct gw_node *node, const char *path,
                      struct gw_problems *problems);
/* Calls check(), if there is one and the table is on. */
void gw_options_check(const struct gw_options *options, void *values, const struct gw_node *node, const char *path,
                      const struct gw_config *config, struct gw_problems *problems);
/* NULL is fine. */
void gw_options_free(const struct gw_options *options, void *values);

/* All tables of the file. */
void gw_config_read_options(struct gw_config *config, const struct gw_node *root, struct gw_problems *problems);
void gw_config_free_options(struct gw_config *config);

/* Of the routes: gateways with one sequence must have the same. */
uint64_t gw_config_digest(const struct gw_config *config);

/* Do the two files say the same in this table? */
bool gw_options_equal(const struct gw_options *options, const struct gw_config *a, const struct gw_config *b);

#endif
