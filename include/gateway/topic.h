/* topic.h: MQTT topic names and filters (MQTT 5.0 section 4.7). Channels follow the same rules. Thread: any. */
#ifndef GATEWAY_TOPIC_H
#define GATEWAY_TOPIC_H

#include <stdbool.h>
#include <stddef.h>

#define GW_TOPIC_MAX 65535

/* A name: 1 to 65535 bytes of UTF-8 without NUL, `+` or `#`. Levels may be empty. */
bool gw_topic_name_valid(const char *name, size_t len);

/* A filter: the same, but `+` may stand alone in a level and `#` alone in the last. A name is a filter too. */
bool gw_topic_filter_valid(const char *filter, size_t len);

/* Has it a wildcard? */
bool gw_topic_has_wildcard(const char *filter, size_t len);

/* Both must be valid. `#` also matches the parent level (4.7.1.2); a wildcard in the first level does not match a
 * name that begins with `$` (4.7.2). */
bool gw_topic_matches(const char *filter, size_t filter_len, const char *name, size_t name_len);

/* Does filter `a` match every name that the filter or name `b` matches? May say no where only a closer look would
 * find that it does (`+/#` and `#`), never yes where it does not. */
bool gw_topic_filter_covers(const char *a, size_t a_len, const char *b, size_t b_len);

/* Is there a name that both filters match? */
bool gw_topic_filters_overlap(const char *a, size_t a_len, const char *b, size_t b_len);

/* How many levels a name has: one more than it has slashes (MQTT 5.0 section 4.7.1.1). */
size_t gw_topic_levels(const char *name, size_t len);

#endif
