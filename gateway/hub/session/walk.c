/* walk.c: a lagging session goes through the sequence from its position on and takes what it wants.
 *
 * That costs the same for each message however many channels there are, and keeps nothing between two slices but the
 * position. Every slice begins with the gaps: whatever channels have lost since the session was last told
 * (gw_channels.losses) and it has not got yet, is told before the position moves. So at the moment at which a message
 * is passed, it is there, or its gap has been told. Where a channel loses messages in the middle of a slice, because
 * they are too old when they are read, the slice goes back to the gaps. The session is live when both lists are at
 * their ends, in the same turn of the loop. */
#include "gateway/hub.h"
#include "hub/channel/channel.h"
#include "hub/channel/history.h"
#include "hub/hub_private.h"
#include "hub/moments.h"
#include "hub/session/fetch.h"
#include "hub/session/queue.h"
#include "hub/session/round.h"
#include "hub/session/subscription.h"
#include "hub/slice.h"

int64_t gw_walk_longest_interval(const struct gw_session *session)
{
    const struct gw_config *config = session->hub->config;
    int64_t longest = 0;
    for (size_t i = 0; i < config->route_count; i++) {
        if (config->routes[i].rate != GW_RATE_ALL && config->routes[i].rate_interval_ms > longest)
            longest = config->routes[i].rate_interval_ms;
    }
    for (uint32_t i = 0; i < session->sub_count; i++) {
        if (session->subs[i]->interval_ms > longest)
            longest = session->subs[i]->interval_ms;
    }
    return longest;
}

/* Where values may have been held back, it begins before the cursor (round_doubts()). */
static uint64_t walk_from(const struct gw_session *session)
{
    uint64_t from = session->position;
    int64_t longest_ms = -1;
    for (uint32_t i = 0; i < session->sub_count; i++) {
        const struct gw_sub *sub = session->subs[i];
        if (sub->doubt_ns == INT64_MAX)
            continue;
        if (longest_ms < 0)
            longest_ms = gw_walk_longest_interval(session);
        uint64_t moment = longest_ms && sub->doubt_ns != INT64_MIN
                              ? gw_moment_place(&session->hub->moments, sub->doubt_ns - longest_ms * 1000000)
                          : longest_ms ? 0
                                       : from;
        if (moment < from)
            from = moment;
    }
    return from;
}

bool gw_walk_is_near(const struct gw_session *session)
{
    const struct gw_hub *hub = session->hub;
    bool wildcard = false;
    for (uint32_t i = 0; i < session->sub_count; i++) {
        const struct gw_sub *sub = session->subs[i];
        if (sub->epoch_from || (sub->fresh_to && sub->position < sub->fresh_to))
            return false;
        wildcard |= sub->filter->wildcard;
    }
    size_t near = hub->slices.near;
    return wildcard && gw_order_count_after(&hub->channels.messages, walk_from(session), near + 1) <= near &&
           gw_order_count_after(&hub->channels.losses, gw_loss_key(session->position), near + 1) <= near;
}

void gw_walk_begin(struct gw_session *session)
{
    session->losses = gw_loss_key(gw_round_floor(session));
    session->fetch_to = 0; /* the gaps are looked at anew */
    session->position = walk_from(session);
    session->walking = true;
}

enum step { STEP_ON, STEP_LOST, STEP_STOP, STEP_KICKED };

/* Of a channel that the session gets at a pace, what came before the last value is not missing. */
static bool walk_gap(struct gw_round *round, struct gw_round_entry *gap)
{
    if (round->interval_ms) {
        const struct gw_message *msg = gw_round_paced(round);
        if (msg && msg->seq >= round->channel->last_seq)
            return false;
    }
    return gw_round_gap(round, gap);
}

static enum step walk_gaps(struct gw_round *round, uint32_t *left)
{
    struct gw_session *session = round->session;
    struct gw_hub *hub = round->hub;
    struct gw_order_place place = gw_order_after(&hub->channels.losses, session->losses);
    uint64_t key;
    uint32_t slot;
    while (gw_order_next(&hub->channels.losses, &place, &key, &slot)) {
        if (!*left || !gw_session_has_room(session) || !gw_slice_take(hub, 1))
            return STEP_STOP;
        --*left;
        session->losses = key;
        struct gw_channel *channel = gw_channel_at(hub, slot);
        struct gw_round_entry gap;
        if (!channel || gw_channel_losses(channel).key != key || !gw_round_channel(round, channel) ||
            !walk_gap(round, &gap))
            continue;
        if (session->lag_reason[0] == 'o' && hub->config->limits.slow == GW_SLOW_CLOSE) {
            gw_session_kick(session, GW_ERR_SLOW);
            return STEP_KICKED;
        }
        gw_round_put_gap(round, &gap);
    }
    return STEP_ON;
}

static bool walk_first(void *context, struct gw_message *msg)
{
    *(struct gw_message **)context = msg;
    return false;
}

static struct gw_message *walk_message(const struct gw_channel *channel, uint64_t seq)
{
    if (channel->last && channel->last->seq == seq)
        return channel->last;
    struct gw_message *msg = NULL;
    gw_channel_history_read(channel, seq - 1, walk_first, &msg);
    return msg && msg->seq == seq ? msg : NULL;
}

/* Is it one of the last values with which a subscription begins? */
static bool walk_is_snapshot(const struct gw_round *round, uint64_t seq)
{
    bool snapshot = false;
    for (uint32_t i = 0; i < round->sub_count; i++)
        snapshot |= seq <= round->subs[i]->fresh_to;
    return snapshot;
}

/* The channel's state, unless a newer one comes later. Pace and gaps are about values. */
static void walk_state(struct gw_round *round, uint64_t seq, uint32_t slot)
{
    struct gw_hub *hub = round->hub;
    struct gw_channel *channel = gw_channel_at(hub, slot);
    struct gw_message *state = channel ? gw_channel_state(&hub->channels, channel) : NULL;
    if (state && state->seq == seq && round->session->ops->states && gw_round_channel(round, channel) &&
        gw_round_wants(round, seq, true))
        gw_round_put(round, state);
}

/* The session's next message is the channel's of that number, if it wants it. */
static enum step walk_step(struct gw_round *round, uint64_t seq, uint32_t slot)
{
    struct gw_hub *hub = round->hub;
    if (slot & GW_SLOT_STATE) {
        walk_state(round, seq, slot & ~GW_SLOT_STATE);
        return STEP_ON;
    }
    struct gw_channel *channel = gw_channel_at(hub, slot);
    if (!channel || !gw_round_channel(round, channel))
        return STEP_ON;
    bool last = channel->last && channel->last->seq == seq;
    if (!round->interval_ms && !gw_round_wants(round, seq, last))
        return STEP_ON;
    gw_channel_expire(hub, channel);
    if (hub->channels.losses.newest > round->session->losses)
        return STEP_LOST;
    struct gw_message *msg = round->interval_ms ? gw_round_paced(round) : walk_message(channel, seq);
    if (!msg || msg->seq != seq || gw_message_is_expired(msg, hub->wall_ms) ||
        (round->interval_ms && !gw_round_wants_paced(round, msg)))
        return STEP_ON;
    struct gw_round_entry gap;
    if (last && walk_is_snapshot(round, seq) && gw_round_epoch(round, &gap))
        gw_round_put_gap(round, &gap);
    gw_round_put(round, msg);
    return STEP_ON;
}

/* Messages between that position and `before` that only the engine had. */
static enum step walk_fetched(struct gw_round *round, uint32_t *left, uint64_t *position, uint64_t before)
{
    struct gw_message *msg;
    while ((msg = gw_fetch_message(round, *position, before))) {
        if (!*left || !gw_session_has_room(round->session) || !gw_slice_take(round->hub, 1))
            return STEP_STOP;
        --*left;
        gw_round_put(round, msg);
        *position = msg->seq;
    }
    return STEP_ON;
}

/* Up to `limit`. */
static enum step walk_messages(struct gw_round *round, uint32_t *left, uint64_t *position, uint64_t limit)
{
    struct gw_hub *hub = round->hub;
    struct gw_order_place place = gw_order_after(&hub->channels.messages, *position);
    uint64_t seq;
    uint32_t slot;
    enum step step;
    while (gw_order_next(&hub->channels.messages, &place, &seq, &slot) && seq <= limit) {
        step = walk_fetched(round, left, position, seq + 1); /* its channel may have lost it */
        if (step != STEP_ON)
            return step;
        if (!*left || !gw_session_has_room(round->session) || !gw_slice_take(hub, 1))
            return STEP_STOP;
        --*left;
        step = walk_step(round, seq, slot);
        if (step != STEP_ON)
            return step;
        *position = seq;
    }
    step = walk_fetched(round, left, position, UINT64_MAX);
    if (step == STEP_ON)
        *position = hub->head < limit ? hub->head : limit;
    return step;
}

bool gw_walk(struct gw_round *round)
{
    struct gw_session *session = round->session;
    uint32_t left = round->hub->slices.slice;
    uint64_t position = session->position;
    enum step step;
    uint64_t limit;
    GW_STAT_ADD(&round->hub->stats, slices, 1);
    gw_round_filters(round);
    do {
        step = walk_gaps(round, &left);
        limit = gw_fetch_limit(session);
        if (step == STEP_ON)
            step = walk_messages(round, &left, &position, limit);
    } while (step == STEP_LOST);
    if (step == STEP_KICKED)
        return false; /* it may be gone */
    gw_round_settle(round, position, step == STEP_ON && limit == UINT64_MAX);
    return true;
}
