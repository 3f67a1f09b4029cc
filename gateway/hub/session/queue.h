/* queue.h: what the hub does to sessions (session.c); what transports do with them is in gateway/session.h.
 * Thread: the loop's. */
#ifndef GW_HUB_SESSION_QUEUE_H
#define GW_HUB_SESSION_QUEUE_H

#include "gateway/session.h"

/* A gap that a lagging session was told of a channel ended here. */
struct gw_told {
    uint64_t hash; /* of the channel's name */
    uint64_t to;
};

/* Queues a live message. Thread: the loop's. This is the hot path of fan-out. True: it was queued, and the caller
 * must take a reference for it before anything else happens, and count the delivery; several together is fine. */
GW_MUST_CHECK bool gw_session_take(struct gw_session *session, struct gw_message *msg);
/* ... with the reference. */
void gw_session_deliver(struct gw_session *session, struct gw_message *msg);
/* Queues a message whatever waits; one that is late gets the cursor of the newest before it. */
void gw_session_queue(struct gw_session *session, struct gw_message *msg);
bool gw_session_has_room(const struct gw_session *session);
/* Nothing is queued live any more; every subscription is at `position`, or where it wants to begin. `reason` of
 * gaps. */
void gw_session_lag_from(struct gw_session *session, uint64_t position, enum gw_gap_reason reason);
/* Queues a gap, and counts it. */
void gw_session_put_gap(struct gw_session *session, const char *name, size_t len, const char *from, const char *to,
                        enum gw_gap_reason reason);
void gw_session_forget_told(struct gw_session *session);
void gw_session_put(struct gw_session *session, const struct gw_item *item, size_t bytes);
/* An idle session is back to its small size, however busy it once was: once a second, as busy ones would grow again
 * at once. */
void gw_session_shrink(struct gw_session *session);
void gw_session_mark_dirty(struct gw_session *session);
void gw_session_kick(struct gw_session *session, enum gw_err why);
/* Looks at every message that waits: `show` returns what is to be sent in its place, borrowed, or NULL. */
void gw_session_review(struct gw_session *session,
                       struct gw_message *(*show)(struct gw_session *, struct gw_message *));

#endif
