/* lost.h: messages that will never come, and numbers that begin anew (lost.c). Thread: the loop's. */
#ifndef GW_HUB_LOST_H
#define GW_HUB_LOST_H

#include <stdint.h>

struct gw_hub;

/* GW_EVENT_LOST and GW_EVENT_EPOCH. Clients are told by gaps; those of another epoch have to come back. */
void gw_hub_lost(struct gw_hub *hub, uint64_t to);
void gw_hub_new_epoch(struct gw_hub *hub, const char *epoch);

#endif
