/* pattern.h: topic patterns with captures: `zigbee2mqtt/{device}`, `site/{rest...}`, and templates made from them.
 *
 * `{name}` captures one level, `{name...}` the rest (one level or more), `+` and `#` match without capturing. A
 * template (a route's channel or publish topic) may have literal text around a one-level capture: `dev-{device}`.
 * Immutable once compiled; thread: any. */
#ifndef GW_TOPIC_PATTERN_H
#define GW_TOPIC_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

#include "gateway/buf.h"

#define GW_PATTERN_CAPTURES_MAX 16

struct gw_pattern;

struct gw_capture {
    const char *name; /* NUL-terminated, owned by the pattern */
    const char *value;
    size_t value_len; /* inside the matched name */
};

struct gw_captures {
    size_t count;
    struct gw_capture items[GW_PATTERN_CAPTURES_MAX];
};

/* What a pattern is for. Templates have no wildcards, and may have text around a one-level capture. */
enum gw_pattern_kind {
    GW_PATTERN_TOPIC,   /* a route's topic */
    GW_PATTERN_CHANNEL, /* a template that is also read backwards, so {name...} comes last */
    GW_PATTERN_PUBLISH  /* a template that is only filled */
};

/* Compiles `text`.
 * On error returns NULL, *error gets one phrase "what is wrong (what was expected)" and *offset the byte where. */
struct gw_pattern *gw_pattern_compile(const char *text, enum gw_pattern_kind kind, struct gw_buf *error,
                                      size_t *offset);
void gw_pattern_free(struct gw_pattern *pattern);

const char *gw_pattern_text(const struct gw_pattern *pattern);
/* The MQTT filter that matches whatever the pattern matches: captures as `+` (also with text around them) and `#`. */
const char *gw_pattern_filter(const struct gw_pattern *pattern);
size_t gw_pattern_capture_count(const struct gw_pattern *pattern);
const char *gw_pattern_capture_name(const struct gw_pattern *pattern, size_t index);
bool gw_pattern_has_capture(const struct gw_pattern *pattern, const char *name);
bool gw_pattern_has_anonymous(const struct gw_pattern *pattern); /* + or # */

/* Does it match the name? Then *captures (may be NULL) is filled. The $-rule of MQTT 5.0 section 4.7.2 holds. */
bool gw_pattern_match(const struct gw_pattern *pattern, const char *name, size_t len, struct gw_captures *captures);

/* Appends the template filled with the captures. False if it uses one that is not there. */
bool gw_pattern_expand(const struct gw_pattern *pattern, const struct gw_captures *captures, struct gw_buf *out);

/* Appends the filter of what the pattern matches with these captures: the levels that they fill are plain, the others
 * are wildcards. */
void gw_pattern_narrow(const struct gw_pattern *pattern, const struct gw_captures *captures, struct gw_buf *out);

/* Appends a name that both patterns match, with different text for each capture; false if there is none. Two captures
 * with text around them that fits both ways are judged by one sample. */
bool gw_pattern_sample(const struct gw_pattern *a, const struct gw_pattern *b, struct gw_buf *out);

#endif
