/* fetch.h: a past that hubs do not hold, and that the engine brings later (engine.h, history()). Thread: the loop's.
 *
 * A lagging session meets messages that are gone from the channels' histories. Where the engine may still have them,
 * the session asks for the next part of the sequence and waits; nothing is queued for it meanwhile, as for any
 * lagging session. What comes is a page: every message on the session's filters in (after, reached]. The session then
 * catches up as always, only that the histories are completed by the page; at its end it asks for the next one, or
 * the histories reach back far enough by then. What does not come in time, is refused or was lost becomes a gap.
 */
#ifndef GW_HUB_SESSION_FETCH_H
#define GW_HUB_SESSION_FETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/engine.h"
#include "gateway/timer.h"

struct gw_hub;
struct gw_round;
struct gw_session;

/* Pages that are on their way to one hub; more sessions wait for their turn. */
#define GW_FETCHES 64
/* Messages of a page; their bytes are bounded by limits.queue. */
#define GW_FETCH_MESSAGES 1024

struct gw_fetches {
    const struct gw_engine *engine; /* NULL: nothing is to be had */
    struct gw_engine_store *store;
    struct gw_fetch *first, **end; /* those that sessions wait for, the oldest first */
    uint32_t asked;                /* under way, those whose session is gone included */
    struct gw_timer timer;         /* when the first has waited too long */
};

/* From an engine without history() nothing is to be had. */
void gw_fetches_init(struct gw_hub *hub, const struct gw_engine *engine, struct gw_engine_store *store);
void gw_fetches_fini(struct gw_hub *hub);

/* Of the channel's messages in (from, evicted], which its history does not have: the highest number that is to be
 * told as missing; 0: none now. Notes it where the engine has to be asked. */
uint64_t gw_fetch_missing(const struct gw_round *round, uint64_t from, uint64_t evicted);
/* The session's position must not pass this before the engine has been asked. */
uint64_t gw_fetch_limit(const struct gw_session *session);
/* The session goes through its page: the next message above `seq` and below `before` that it wants and that the
 * channel, round->channel then, does not have any more. Borrowed; NULL: there is none. */
struct gw_message *gw_fetch_message(struct gw_round *round, uint64_t seq, uint64_t before);
/* After a round: asks if there is need. */
void gw_fetch_go_on(struct gw_session *session);
/* The session's position has moved: beyond the page, maybe. */
void gw_fetch_passed(struct gw_session *session);
/* The page is of no use any more. */
void gw_fetch_drop(struct gw_session *session);

#endif
