/* since.h: from a time to a place in the sequence. Thread: the loop's. */
#ifndef GW_HUB_CHANNEL_SINCE_H
#define GW_HUB_CHANNEL_SINCE_H

#include <stddef.h>
#include <stdint.h>

struct gw_hub;

/* The place before the first message that came at that time (wall clock, ms since 1970) or later, on channels that
 * the filter matches: as near to it as what is still there can say, and never behind it, unless the clock was set. */
uint64_t gw_hub_since(struct gw_hub *hub, const char *filter, size_t len, int64_t since_ms);
/* When the newest message came, of those at that place or before it that are still there; INT64_MIN: none is. */
int64_t gw_hub_time_at(const struct gw_hub *hub, uint64_t seq);

#endif
