/* pending.h: publishes and requests that wait for the broker (pending.c). Thread: the loop's. */
#ifndef GW_HUB_PUBLISH_PENDING_H
#define GW_HUB_PUBLISH_PENDING_H

#include "gateway/session.h"
#include "gateway/upstream.h"

struct gw_codec;
struct gw_confirm;
struct gw_hub;
struct gw_pending;
struct gw_repeat;
struct gw_repeat_outcome;

/* What waits, and for what. */
struct gw_pending_spec {
    const struct gw_codec *codec; /* of a request's answer; NULL: it is a publish */
    int64_t timeout_ms;
    char *reference;            /* malloc'd, or NULL: what the session is called with */
    struct gw_confirm *confirm; /* after the broker, the state of the device is waited for; NULL: it is not */
    bool acknowledged;          /* nothing will be heard of the broker */
    struct gw_repeat *repeat;   /* what becomes of it is remembered, also when its session has ended; NULL: it has no
                                   idempotency key, or repeats another one */
};

/* Takes what *spec refers to. */
struct gw_pending *gw_pending_create(struct gw_session *session, const struct gw_pending_spec *spec);
/* By it the broker's side finds it again. */
uint64_t gw_pending_token(const struct gw_pending *pending);
/* It ends without a word, as one that could not be handed over; its `repeat` stays the caller's. */
void gw_pending_free(struct gw_pending *pending);
/* Those of a session that ends. */
void gw_pending_drop(struct gw_session *session);
/* Those that outlived their sessions, when the hub ends. */
void gw_pending_fini(struct gw_hub *hub);

/* The publish that this one repeats has come to something. */
void gw_hub_repeated(struct gw_hub *hub, uint64_t token, const struct gw_repeat_outcome *outcome);

/* The state shows what was published, or its time is up. */
void gw_pending_confirm(struct gw_pending *pending, bool confirmed);

void gw_hub_settle(struct gw_hub *hub, const struct gw_publish_result *result);
/* Takes the response's payload. */
void gw_hub_respond(struct gw_hub *hub, struct gw_response *response);

#endif
