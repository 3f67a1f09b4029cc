/* presence.h: the hub's calls of the presences that are in force. Thread: the hub's loop. */
#ifndef GW_HUB_SESSION_PRESENCE_H
#define GW_HUB_SESSION_PRESENCE_H

#include "gateway/config.h"
#include "gateway/presence.h"

/* Those that are in force with this configuration: NULL-terminated, for free(). NULL: there are none, and nothing
 * below need be called. */
const struct gw_presence **gw_presence_select(const struct gw_config *config);

void gw_presence_subscribed(const struct gw_presence *const *list, const struct gw_session *session,
                            const char *filter, size_t len);
void gw_presence_unsubscribed(const struct gw_presence *const *list, const struct gw_session *session,
                              const char *filter, size_t len);
/* While the session has its subscriptions and its identity. */
void gw_presence_closed(const struct gw_presence *const *list, const struct gw_session *session);

#endif
