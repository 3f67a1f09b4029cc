/* filter.h: what sessions subscribe to, as a channel knows it (ties.c). Thread: the loop's. */
#ifndef GW_HUB_CHANNEL_FILTER_H
#define GW_HUB_CHANNEL_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gw_sub;
struct gw_window_set;

/* A distinct filter (or plain channel name) with at least one subscriber. Shared by all its subscribers, so that a
 * channel refers to filters and not to sessions: 1,000 dashboards on `#` cost one entry a channel. */
struct gw_filter {
    char *text;
    size_t len;
    bool wildcard;
    struct gw_sub **subs;
    uint32_t count, allocated;
    struct gw_window_set *windows; /* those who want windows in place of messages (windows.h) */
    uint64_t mark;                 /* of the last round of a session that subscribes to it ... */
    struct gw_sub *marked;         /* ... and its subscription */
};

#endif
