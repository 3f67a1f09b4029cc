/* capture.h: what the {name} of a pattern stand for in one topic or channel. Thread: any. */
#ifndef GATEWAY_CAPTURE_H
#define GATEWAY_CAPTURE_H

#include <stddef.h>
#include <string.h>

#define GW_CAPTURES_MAX 16

struct gw_capture {
    const char *name; /* NUL-terminated, owned by the pattern */
    const char *value;
    size_t value_len; /* inside the matched name */
};

struct gw_captures {
    size_t count;
    struct gw_capture items[GW_CAPTURES_MAX];
};

/* NULL if there is none of this name. */
static inline const struct gw_capture *gw_captures_find(const struct gw_captures *captures, const char *name)
{
    for (size_t i = 0; i < captures->count; i++) {
        if (!strcmp(captures->items[i].name, name))
            return &captures->items[i];
    }
    return NULL;
}

#endif
