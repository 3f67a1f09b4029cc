/* pending.h: publishes and requests that wait for the broker (pending.c). Thread: the loop's. */
#ifndef GW_HUB_PENDING_H
#define GW_HUB_PENDING_H

#include "gateway/session.h"
#include "gateway/upstream.h"

struct gw_codec;
struct gw_confirm;
struct gw_hub;
struct gw_pending;

/* `codec`: of a request's answer; NULL: it is a publish. Takes `reference` (NULL, or malloc'd), which the session is
 * called with once the broker or its device has answered, or after timeout_ms. Takes `confirm`, NULL for most:
 * then, after the broker, the state of the device is waited for, at once if nothing is heard of the broker. */
struct gw_pending *gw_pending_create(struct gw_session *session, const struct gw_codec *codec, int64_t timeout_ms,
                                     char *reference, struct gw_confirm *confirm, bool acknowledged);
/* By it the broker's side finds it again. */
uint64_t gw_pending_token(const struct gw_pending *pending);
/* It ends without a word, as one that could not be handed over. */
void gw_pending_free(struct gw_pending *pending);
/* Those of a session that ends. */
void gw_pending_drop(struct gw_session *session);

/* The state shows what was published, or its time is up. */
void gw_pending_confirm(struct gw_pending *pending, bool confirmed);

void gw_hub_settle(struct gw_hub *hub, const struct gw_publish_result *result);
/* Takes the response's payload. */
void gw_hub_respond(struct gw_hub *hub, struct gw_response *response);

#endif
