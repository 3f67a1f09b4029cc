/* pattern_private.h: what a compiled pattern looks like, shared by pattern.c and pattern_sets.c. */
#ifndef GW_TOPIC_PATTERN_PRIVATE_H
#define GW_TOPIC_PATTERN_PRIVATE_H

#include "topic/pattern.h"

enum level_kind { LEVEL_LITERAL, LEVEL_CAPTURE, LEVEL_REST, LEVEL_PLUS, LEVEL_HASH };

struct level {
    enum level_kind kind;
    const char *prefix; /* literal text before the capture, or all of it; inside text */
    size_t prefix_len;
    const char *suffix;
    size_t suffix_len;
    size_t capture; /* index */
};

struct gw_pattern {
    char *text, *filter;
    char *names[GW_CAPTURES_MAX];
    size_t name_count;
    struct level *levels;
    size_t level_count;
    bool anonymous;
    bool rest;         /* has a {name...} */
    size_t tail_count; /* levels behind it */
};

#endif
