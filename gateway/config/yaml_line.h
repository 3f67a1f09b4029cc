/* yaml_line.h: the text of the configuration line by line, for what is said of it. Thread: any. */
#ifndef GW_CONFIG_YAML_LINE_H
#define GW_CONFIG_YAML_LINE_H

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>

#include "gateway/buf.h"

struct gw_source {
    const char *text;
    size_t len;
};

/* A place in the file: 1-based, columns in characters. */
struct gw_place {
    int line, column;
};

/* A line without its end, and the key and value around a column of it. */
struct gw_line {
    const char *start, *end;
    const char *content; /* behind the indentation */
    const char *key;     /* NULL: none before the column */
    size_t key_len;
    const char *value, *value_end;
};

static inline bool gw_is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* May it be in a key? */
static inline bool gw_is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-';
}

/* False: there is no such line. */
bool gw_line_find(const struct gw_source *source, int number, struct gw_line *line);
/* The byte of a column, and the column of a byte. */
const char *gw_line_at(const struct gw_line *line, int column);
int gw_line_column(const struct gw_line *line, const char *byte);
/* Finds the last `key: ` before the byte, and its value. */
void gw_line_locate(struct gw_line *line, const char *byte);
/* The end of a value: that of the line, before a comment, or with `flow`, in `{ … }` and `[ … ]`, before what follows
 * it. */
const char *gw_line_value_end(const char *at, const char *end, bool flow);

/* Is the value of this key one that must not be repeated in a log? */
bool gw_is_secret(const char *key, size_t len);

/* Appends `KEY: "VALUE"`, quoted as YAML wants it; the value of a secret as "…". */
void gw_yaml_quote(const char *key, size_t key_len, const char *value, size_t value_len, struct gw_buf *out);

/* The phrase for a plain value or key with characters that look like others, such as typographic quotes and no-break
 * spaces. False: there are none. */
bool gw_yaml_odd(const char *text, struct gw_buf *out);

/* Does ` #` with a text right behind it follow the place (the end of a value)? With `any`, every comment counts. */
bool gw_yaml_comment_follows(const struct gw_source *source, struct gw_place end, bool any);

#endif
