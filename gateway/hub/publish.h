/* publish.h: publishes and requests that wait for the broker (publish.c). Thread: the loop's. */
#ifndef GW_HUB_PUBLISH_H
#define GW_HUB_PUBLISH_H

#include "gateway/session.h"
#include "gateway/upstream.h"

struct gw_hub;

/* Takes the response's payload. */
void gw_hub_respond(struct gw_hub *hub, struct gw_response *response);
void gw_hub_settle(struct gw_hub *hub, const struct gw_publish_result *result);
void gw_pending_drop(struct gw_session *session);

#endif
