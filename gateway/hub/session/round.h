/* round.h: what a lagging session wants of one channel (round.c): shared by the two ways of catching up. */
#ifndef GW_HUB_SESSION_ROUND_H
#define GW_HUB_SESSION_ROUND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/session.h"

struct gw_channel;
struct gw_hub;
struct gw_message;
struct gw_sub;

struct gw_round_entry {
    uint64_t seq;
    struct gw_message *msg; /* borrowed from the channel; NULL: a gap that ends at seq */
    struct gw_channel *channel;
    uint64_t gap_from;
    const char *epoch_from; /* of a gap between epochs: the client's cursor */
    enum gw_gap_reason epoch_reason;
};

struct gw_round {
    struct gw_hub *hub;
    struct gw_session *session;
    struct gw_sub **subs; /* those of the session that match the channel */
    uint32_t sub_count;
    struct gw_channel *channel; /* that is looked at */
    int64_t interval_ms;        /* at which the session gets it; 0: all */
    /* catchup.c only: */
    struct gw_round_entry *entries;
    size_t count, allocated;
    uint64_t newest;      /* of the channel's messages taken so far */
    uint32_t taken, most; /* how many of them */
    uint64_t bound;       /* everything up to here is among the entries */
    uint32_t visits;
};

/* What lies behind every subscription but for last values. */
uint64_t gw_round_floor(const struct gw_session *session);
void gw_round_begin(struct gw_round *round, struct gw_session *session);
void gw_round_end(struct gw_round *round);
/* From now on it is about this channel. False: the session does not get it. */
bool gw_round_channel(struct gw_round *round, struct gw_channel *channel);
/* Does the session want the channel's message of that number? `last`: it is its last value. */
bool gw_round_wants(const struct gw_round *round, uint64_t seq, bool last);
/* The message that counts for a session that gets the channel at a pace: its last value or what cleared it; NULL:
 * that is gone. */
struct gw_message *gw_round_paced(struct gw_round *round);
bool gw_round_wants_paced(struct gw_round *round, const struct gw_message *msg);
/* Are messages missing that no subscription has brought? Fills *gap, and notes that it was told. */
bool gw_round_gap(struct gw_round *round, struct gw_round_entry *gap);
/* Has a subscription a cursor of another epoch, and was not told yet of this channel? */
bool gw_round_epoch(struct gw_round *round, struct gw_round_entry *gap);
void gw_round_put_gap(struct gw_round *round, const struct gw_round_entry *gap);
/* Queues the gaps of whole filters. */
void gw_round_filters(struct gw_round *round);
/* Queues a message; false: nothing of it is for this session. */
void gw_round_put(struct gw_round *round, struct gw_message *msg);
/* Everything up to `position` is done; `live`: and so is everything. */
void gw_round_settle(struct gw_round *round, uint64_t position, bool live);

/* walk.c: one slice. False: the session was ended, and may be gone. */
bool gw_walk(struct gw_round *round);
/* Begins, from the session's position. */
void gw_walk_begin(struct gw_session *session);
/* Of the session's subscriptions and all routes. */
int64_t gw_walk_longest_interval(const struct gw_session *session);
/* Is walking the sequence from there certainly cheap? */
bool gw_walk_is_near(const struct gw_session *session);

#endif
