/* fields.h: the configuration as tables: one row a key with its type, bounds, default and its sentence for the
 * manual. Reading, documentation and the check of the reference file all come from these rows. Thread: any. */
#ifndef GW_CONFIG_FIELDS_H
#define GW_CONFIG_FIELDS_H

#include "config/tree.h"
#include "gateway/config.h"

enum gw_field_type {
    GW_FIELD_STRING,   /* char * */
    GW_FIELD_FILE,     /* char *; must be readable */
    GW_FIELD_INT,      /* int or uint32_t */
    GW_FIELD_NUMBER,   /* double, finite, not below .min */
    GW_FIELD_BOOL,     /* bool */
    GW_FIELD_DURATION, /* int64_t, ms */
    GW_FIELD_SIZE,     /* size_t, bytes */
    GW_FIELD_CHOICE,   /* int or enum */
    GW_FIELD_CODEC,    /* const struct gw_codec * */
    GW_FIELD_HISTORY,  /* const struct gw_history_engine * */
    GW_FIELD_PROTOCOL, /* const char *, static: of a listener */
    GW_FIELD_STRINGS,  /* struct gw_strings: a list of texts, or one text */
    GW_FIELD_TABLE,    /* a mapping of its own */
    GW_FIELD_LIST,     /* of mappings; read by config.c */
    GW_FIELD_MAP       /* of names to mappings; read by access.c */
};

struct gw_choice {
    const char *name; /* NULL ends the list */
    int value;
};

struct gw_field {
    const char *key; /* NULL ends the table */
    enum gw_field_type type;
    size_t offset;
    int64_t min, max; /* of numbers, in the unit they are stored in */
    const char *def;  /* as it would be written; NULL: none */
    bool required;
    bool switchable; /* of a table: `true` is an empty mapping, `false` is none */
    const struct gw_choice *choices;
    const struct gw_field *table; /* of GW_FIELD_TABLE, GW_FIELD_LIST and GW_FIELD_MAP */
    const char *doc;
};

/* tables.c */
extern const struct gw_field gw_fields_root[], gw_fields_broker[], gw_fields_listen[], gw_fields_route[],
    gw_fields_role[], gw_fields_api_key[];

/* Fills `into` (zeroed) from the mapping, defaults included; map NULL: defaults only. `path` is the mapping's own,
 * such as "routes[2]", or "". */
void gw_fields_read(const struct gw_field *table, const struct gw_node *map, const char *path, void *into,
                    struct gw_problems *problems);
/* Is it one of the plain words true and false? */
bool gw_node_is_bool(const struct gw_node *node);
/* The words that a GW_FIELD_CHOICE, CODEC, HISTORY or PROTOCOL takes, one by one: NULL after the last. */
const char *gw_field_word(const struct gw_field *field, size_t i);
/* ... and with commas between. Appends. */
void gw_field_list_choices(const struct gw_field *field, struct gw_buf *out);
/* A bound as it would be written: "30s", "64KiB", "12". */
void gw_field_format(enum gw_field_type type, int64_t value, char out[32]);
/* Frees the strings. */
void gw_fields_free(const struct gw_field *table, void *from);

#endif
