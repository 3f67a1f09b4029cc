/* pattern.h: topic patterns with captures: `zigbee2mqtt/{device}`, `site/{rest...}`, and templates made from them.
 *
 * `{name}` captures one level, `{name...}` one or more: the rest, or what is before the levels that follow it
 * (`{device...}/set`). `+` and `#` match without capturing. A template (a route's channel or publish topic) may have
 * literal text around a one-level capture: `dev-{device}`. Immutable once compiled; thread: any. */
#ifndef GW_TOPIC_PATTERN_H
#define GW_TOPIC_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

#include "gateway/buf.h"
#include "gateway/capture.h"

struct gw_pattern;

/* What a pattern is for. Templates have no wildcards, and may have text around a one-level capture. */
enum gw_pattern_kind {
    GW_PATTERN_TOPIC,   /* a route's topic */
    GW_PATTERN_CHANNEL, /* a template that is also read backwards, so it has one {name...} at most */
    GW_PATTERN_PUBLISH  /* a template that is only filled */
};

/* Compiles `text`.
 * On error returns NULL, *error gets one phrase "what is wrong (what was expected)" and *offset the byte where. */
struct gw_pattern *gw_pattern_compile(const char *text, enum gw_pattern_kind kind, struct gw_buf *error,
                                      size_t *offset);
void gw_pattern_free(struct gw_pattern *pattern);

const char *gw_pattern_text(const struct gw_pattern *pattern);
/* The MQTT filter that matches whatever the pattern matches: captures as `+` (also with text around them) and `#`.
 * It matches more where levels follow a {name...}: a filter can't say them. */
const char *gw_pattern_filter(const struct gw_pattern *pattern);
size_t gw_pattern_capture_count(const struct gw_pattern *pattern);
const char *gw_pattern_capture_name(const struct gw_pattern *pattern, size_t index);
bool gw_pattern_has_capture(const struct gw_pattern *pattern, const char *name);
bool gw_pattern_has_rest(const struct gw_pattern *pattern, const char *name); /* is it {name...}? */
bool gw_pattern_has_anonymous(const struct gw_pattern *pattern);              /* + or # */
/* The text behind {name...}/, NULL if nothing follows it. */
const char *gw_pattern_tail(const struct gw_pattern *pattern);

/* Does it match the name? Then *captures (may be NULL) is filled. The $-rule of MQTT 5.0 section 4.7.2 holds. */
bool gw_pattern_match(const struct gw_pattern *pattern, const char *name, size_t len, struct gw_captures *captures);

/* Appends the template filled with the captures. False if it uses one that is not there. */
bool gw_pattern_expand(const struct gw_pattern *pattern, const struct gw_captures *captures, struct gw_buf *out);

/* Appends the filter of what the pattern matches with these captures: the levels that they fill are plain, the others
 * are wildcards. */
void gw_pattern_narrow(const struct gw_pattern *pattern, const struct gw_captures *captures, struct gw_buf *out);

/* --- patterns as sets of names (pattern_sets.c) --- */

/* A pattern of an MQTT filter, which must be valid; braces are plain text in it. */
struct gw_pattern *gw_pattern_of_filter(const char *filter, size_t len);

/* Appends a name that both patterns match, with different text for each capture; false if there is none. Where both
 * have room for any number of levels, it gets `extra` more than it needs. Two captures with text around them that
 * fits both ways are judged by one sample. */
bool gw_pattern_sample(const struct gw_pattern *a, const struct gw_pattern *b, size_t extra, struct gw_buf *out);

/* Does `a`, a topic, match every name that `b` matches? May say no where only a closer look would find that it does
 * (`+/#` and `#`), never yes where it does not. */
bool gw_pattern_covers(const struct gw_pattern *a, const struct gw_pattern *b);

/* The index of the pattern that matches the name, SIZE_MAX if none does. */
size_t gw_patterns_match(struct gw_pattern *const *patterns, size_t count, const char *name, size_t len);
/* The index of the pattern that matches every name of `topic` with the captures given, SIZE_MAX if none does. */
size_t gw_patterns_cover(struct gw_pattern *const *patterns, size_t count, const struct gw_pattern *topic,
                         const struct gw_captures *captures);

#endif
