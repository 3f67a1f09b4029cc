/* options.h: the options of an extension: its own table in the configuration file.
 *
 * A transport or an engine may have a `const struct gw_options`: a key of the file, a struct of its own, and one row
 * for each key in it. The reader, `sluice check`, the JSON Schema, the manual page and the reference follow from the
 * rows. A row has the type of the value, its bounds, its default and its sentence for the manual.
 *
 *   struct chat_options {
 *       char *path;
 *       int64_t patience_ms;
 *   };
 *   static const struct gw_field chat_fields[] = {
 *       {.key = "path", .type = GW_FIELD_STRING, .offset = offsetof(struct chat_options, path), .def = "/chat",
 *        .doc = "Where clients connect."},
 *       {.key = "patience", .type = GW_FIELD_DURATION, .offset = offsetof(struct chat_options, patience_ms),
 *        .min = 100, .max = 60000, .def = "5s", .doc = "How long a silent client is kept."},
 *       {.key = NULL},
 *   };
 *   static const struct gw_options chat_options = {
 *       .key = "chat", .doc = "A chat.", .size = sizeof(struct chat_options), .fields = chat_fields};
 *
 * gw_options_of() in config.h gives the struct. It belongs to the configuration from which it was read and lives as
 * long: a reload makes a new one. Thread: any; the tables are constant, and the structs do not change once read. */
#ifndef GATEWAY_OPTIONS_H
#define GATEWAY_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A list of texts; a single text counts as a list of one. */
struct gw_strings {
    char **items;
    size_t count;
};

/* Texts by name, in the order of the file. */
struct gw_pair {
    char *name, *value;
};
struct gw_pairs {
    struct gw_pair *items;
    size_t count;
};

/* What a key takes, and the type of the member that it fills. */
enum gw_field_type {
    GW_FIELD_STRING,   /* char *, never empty; NULL: not in the file and no default */
    GW_FIELD_FILE,     /* char *; the file must be readable */
    GW_FIELD_INT,      /* int or uint32_t */
    GW_FIELD_NUMBER,   /* double, finite, not below .min */
    GW_FIELD_BOOL,     /* bool */
    GW_FIELD_DURATION, /* int64_t, milliseconds: 250ms, 30s, 5m, 1h, 2d */
    GW_FIELD_SIZE,     /* size_t, bytes: 512, 64KiB, 1MiB */
    GW_FIELD_CHOICE,   /* int or an enum: the value that .choices gives to the word */
    GW_FIELD_STRINGS,  /* struct gw_strings */
    GW_FIELD_PAIRS,    /* struct gw_pairs: a mapping of names to texts */
    GW_FIELD_TABLE,    /* none: a mapping with the keys of .table, whose offsets count from the same struct */
    /* The gateway's own; not for extensions. */
    GW_FIELD_CODEC,     /* const struct gw_codec * */
    GW_FIELD_PROTOCOL,  /* const char *, static: of a listener */
    GW_FIELD_HISTORY,   /* const struct gw_history_engine * */
    GW_FIELD_TRANSFORM, /* a transform by its name or with its options; read by transform.c */
    GW_FIELD_LIST,      /* a list of mappings; read by config.c */
    GW_FIELD_MAP        /* a mapping of names to mappings; read by access.c */
};

struct gw_choice {
    const char *name; /* NULL ends the list */
    int value;
};

/* One key. Strings are borrowed and static. */
struct gw_field {
    const char *key; /* NULL ends the table */
    enum gw_field_type type;
    size_t offset;    /* of the member */
    int64_t min, max; /* of INT, DURATION and SIZE, in the unit in which they are stored; of NUMBER only min */
    const char *word; /* of DURATION: this word is taken too, and means `word_value`; NULL: none is */
    int64_t word_value;
    const char *def; /* the default as one would write it; NULL: the member stays zero */
    bool required;
    bool blank;      /* of STRINGS: a text may be empty */
    bool switchable; /* of a table: `true` is an empty mapping, `false` is none */
    const struct gw_choice *choices;
    const struct gw_field *table;     /* of TABLE, LIST and MAP */
    const struct gw_options *options; /* of a TABLE that fills a struct of its own; set by the gateway */
    const char *doc;                  /* one or two sentences for the manual, `code` between backticks */
};

struct gw_config;
struct gw_report;

struct gw_options {
    /* In the file, at the top level; no other table may have it, but extensions may share one. Of a transform: its
     * name. */
    const char *key;
    const char *doc; /* one sentence for the manual */
    size_t size;     /* of the struct */
    const struct gw_field *fields;
    /* Without the key in the file: true: the defaults apply; false: the extension is off. Either way `KEY: false`
     * turns it off, and `KEY:` or `KEY: true` takes the defaults. */
    bool by_default;
    /* Checks what rows can't say, and may fill members that have no row. Called once for each reading, after the rest
     * of the file was read, unless a text that is required is missing. A key that was bad has its default, so that
     * all problems are found in one run. *config is complete but for what other problems of the file left out: texts
     * may be NULL there. NULL: there is nothing to check. */
    void (*check)(void *options, const struct gw_config *config, struct gw_report *report);
    /* Frees what check() put into the struct, which may not have been called; members with a row are freed by the
     * gateway. NULL: there is nothing to free. */
    void (*release)(void *options);
};

/* For check(): something is wrong. `key` is the place below the table: "path", "names[2]", "members.data", or "" for
 * the table itself. If the file does not have it, the nearest that it has is named. The text says what is wrong and
 * then, in parentheses, what was expected: "'%s' is no path (such as /chat expected)". */
void gw_report_error(struct gw_report *report, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for what is taken all the same; only `sluice check` shows it. */
void gw_report_warning(struct gw_report *report, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
