/* pace.h: channels that a session gets at an interval (pace.c). Thread: the loop's. */
#ifndef GW_HUB_SESSION_PACE_H
#define GW_HUB_SESSION_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/session.h"

struct gw_channel;
struct gw_pause;
struct gw_table;

/* All pauses of a hub, by session and channel; there are none any more. */
void gw_pauses_fini(struct gw_table *pauses);
/* Queues a live message now or at the end of the channel's pause. */
void gw_pace_deliver(struct gw_session *session, const struct gw_channel *channel, struct gw_message *msg,
                     int64_t interval_ms);
/* The channel's last value is to be sent while catching up. True: it is held instead, for a session that begins
 * paced; false: what was held is superseded. */
bool gw_pace_catch_up(struct gw_session *session, const struct gw_channel *channel, struct gw_message *msg,
                      int64_t interval_ms);
void gw_pace_drop(struct gw_session *session);
/* The pace at which the session gets the channel: its fastest subscription's, but never faster than the route's. 0:
 * all. */
int64_t gw_session_interval(const struct gw_session *session, const struct gw_channel *channel);
/* As gw_session_review(), for the messages that are held back. */
void gw_pace_review(struct gw_session *session, struct gw_message *(*show)(struct gw_session *, struct gw_message *));

#endif
