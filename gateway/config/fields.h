/* fields.h: the configuration as tables: one row for each key (include/gateway/options.h). Reading, documentation and
 * the check of the reference file all come from these rows. Thread: any. */
#ifndef GW_CONFIG_FIELDS_H
#define GW_CONFIG_FIELDS_H

#include "config/tree.h"
#include "gateway/config.h"

/* tables.c: the gateway's own; tables_*.c: the parts of it. */
extern const struct gw_field gw_fields_own[], gw_fields_broker[], gw_fields_listen[], gw_fields_web[],
    gw_fields_route[], gw_fields_auth[], gw_fields_role[], gw_fields_api_key[], gw_fields_limits[];

/* options.c: all keys, those of extensions included. */
extern const struct gw_field *gw_fields_root;

/* --- fields.c --- */

/* The row of a key that the table has. */
const struct gw_field *gw_fields_find(const struct gw_field *table, const char *key);
/* Fills `into` (zeroed) from the mapping, defaults included; map NULL: defaults only. `path` is the mapping's own,
 * such as "routes[2]", or "". */
void gw_fields_read(const struct gw_field *table, const struct gw_node *map, const char *path, void *into,
                    struct gw_problems *problems);
/* Is it one of the plain words true and false? */
bool gw_node_is_bool(const struct gw_node *node);
/* Is it empty, or `null`? */
bool gw_node_is_null(const struct gw_node *node);

/* --- field_words.c --- */

/* The words that a GW_FIELD_CHOICE, CODEC, HISTORY or PROTOCOL takes, one by one: NULL after the last. */
const char *gw_field_word(const struct gw_field *field, size_t i);
/* ... and with commas between. Appends. */
void gw_field_list_choices(const struct gw_field *field, struct gw_buf *out);
/* A bound as it would be written: "30s", "64KiB", "12". */
void gw_field_format(enum gw_field_type type, int64_t value, char out[32]);

/* --- field_structs.c --- */

/* Have the two the same values? */
bool gw_fields_equal(const struct gw_field *table, const void *a, const void *b);
/* Frees the strings. */
void gw_fields_free(const struct gw_field *table, void *from);

#endif
