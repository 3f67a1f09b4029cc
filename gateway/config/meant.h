/* meant.h: what an unknown key, or a value of the wrong shape, was most likely meant to be. Thread: any. */
#ifndef GW_CONFIG_MEANT_H
#define GW_CONFIG_MEANT_H

#include "config/fields.h"
#include "config/tree.h"

/* Adds the problem of a key that the table does not have: with the nearest of its keys, the place in another table
 * where it belongs, the name that it has here, or else all keys of the table. `path` is the table's. */
void gw_meant_key(const struct gw_field *table, const struct gw_node *key, const char *path,
                  struct gw_problems *problems);

/* Adds the problem of a node that is none of what a row takes: a mapping for a text, a text for a mapping, a mapping
 * for a list. `path` is the node's own; `expected` completes "(… expected)". */
void gw_meant_shape(const struct gw_field *field, const struct gw_node *node, const char *path, const char *expected,
                    struct gw_problems *problems);

/* Adds the problem of an entry of a list that is no mapping; `key` is the one that an entry begins with. */
void gw_meant_entry(const struct gw_node *node, const char *path, const char *key, struct gw_problems *problems);

/* "true" or "false" for yes, on, True, "true" and their like; NULL for other words. */
const char *gw_meant_bool(const char *text);

/* `url:mqtt://host` is one text to YAML. Returns the length of the key in it, 0 if it is nothing like that. */
size_t gw_meant_glued(const char *text);

#endif
