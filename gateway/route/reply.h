/* reply.h: response topics (MQTT 5.0 section 4.10): a topic at the broker, and a channel for clients.
 *
 * The two belong together where a publish to the channel goes to the topic, and a message on the topic comes to the
 * channel: then who responds to either is heard, whichever side asked. Thread: any. */
#ifndef GW_ROUTE_REPLY_H
#define GW_ROUTE_REPLY_H

#include "route/routes.h"

/* Overwrites *topic. False: the channel has none. */
bool gw_reply_topic(const struct gw_routes *routes, const char *channel, size_t len, struct gw_buf *topic);
/* Overwrites *channel. False: the topic has none. */
bool gw_reply_channel(const struct gw_routes *routes, const char *topic, size_t len, struct gw_buf *channel);

#endif
