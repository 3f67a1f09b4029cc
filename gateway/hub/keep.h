/* keep.h: what of a channel outlives the process (keep.c, restored.c). Nothing happens where the channel's history is
 * not kept, or the hub tells no engine. Thread: the loop's. */
#ifndef GW_HUB_KEEP_H
#define GW_HUB_KEEP_H

#include <stdbool.h>

struct gw_channel;
struct gw_hub;
struct gw_message;

/* The channel got this message. */
void gw_channel_keep(struct gw_hub *hub, struct gw_channel *channel, struct gw_message *msg);
/* Its history may have become shorter. */
void gw_channel_keep_bounds(struct gw_hub *hub, struct gw_channel *channel);
/* What its route rolls up may have changed, or been changed while the process did not run. */
void gw_channel_keep_rollup(struct gw_hub *hub, struct gw_channel *channel);
/* It is kept from now on; or not any more (whole: nothing knows it any more). */
void gw_channel_keep_all(struct gw_hub *hub, struct gw_channel *channel);
void gw_channel_keep_no_more(struct gw_hub *hub, struct gw_channel *channel, bool whole);

#endif
