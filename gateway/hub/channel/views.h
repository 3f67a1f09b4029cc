/* views.h: what a client sees of a channel (views.c). Thread: the loop's. */
#ifndef GW_HUB_CHANNEL_VIEWS_H
#define GW_HUB_CHANNEL_VIEWS_H

#include <stdbool.h>

struct gw_channel;
struct gw_grants;
struct gw_hub;
struct gw_message;

/* What a client with these grants gets of the channel's message: itself, a projection of it (borrowed from it),
 * or NULL if it may not see the channel. grants NULL: itself. */
struct gw_message *gw_channel_show(const struct gw_hub *hub, struct gw_channel *channel,
                                   const struct gw_grants *grants, struct gw_message *msg);
bool gw_channel_visible(struct gw_channel *channel, const struct gw_grants *grants);
void gw_channel_forget_views(struct gw_channel *channel);

#endif
