/* yaml_hint.h: YAML's errors in words of the one who wrote the file: what is in the line, and what to write instead.
 *
 * All phrases are "what was found (what was expected)", as in every problem of the configuration. Values of keys that
 * hold secrets are never repeated. Thread: any. */
#ifndef GW_CONFIG_YAML_HINT_H
#define GW_CONFIG_YAML_HINT_H

#include "config/yaml_line.h"

/* What libyaml says. */
struct gw_yaml_error {
    const char *problem, *context; /* may be NULL */
    struct gw_place at, began;     /* began: where what it was reading begins; line 0: unknown */
    bool reader;                   /* the bytes are no text; `offset` is where, `value` which byte, -1: none */
    size_t offset;
    int value;
};

/* Appends the phrase for a file that is no YAML, and moves error->at to the place of the mistake. */
void gw_yaml_hint_error(const struct gw_source *source, struct gw_yaml_error *error, struct gw_buf *out);

/* yaml_sign.c. The phrase for `!tag`, `&anchor` and `*alias` at a place. */
void gw_yaml_hint_sign(const struct gw_source *source, struct gw_place at, struct gw_buf *out);

/* The phrase for a key that is a list or a mapping. */
void gw_yaml_hint_key(const struct gw_source *source, struct gw_place at, struct gw_buf *out);
/* ... where it is known to begin. */
void gw_yaml_hint_sign_at(const struct gw_line *line, const char *sign, struct gw_buf *out);

/* For both files. Appends the key and its value in quotes; no value that may be a secret. */
void gw_yaml_hint_value(const struct gw_line *line, struct gw_buf *out);
/* Appends "what (quotes expected: KEY: "VALUE")". */
void gw_yaml_hint_quotes(const struct gw_line *line, const char *what, struct gw_buf *out);

#endif
