/* catchup.c: what a lagging session gets, in the order of the global sequence.
 *
 * A subscription wants a message m of a channel that it matches if m came after its position; while m is not newer
 * than fresh_to (the head when a subscription without a cursor began), only if m is the channel's last value. It does
 * not get m if another subscription of the same session has brought it already: that one reaches from `from` to
 * `position` (round.c).
 *
 * There are two ways. Where few channels match, one round (here) collects all that is wanted from their histories,
 * with a gap for each channel whose history no longer reaches back far enough; sorts by sequence number, gaps first;
 * and queues all gaps, then messages until the queue is full. Where many do, or little has happened since the
 * session's position, it walks the sequence in slices (walk.c). Gaps can't wait for their place in the sequence: the
 * position may pass the first message that is missing. So that a gap is told once all the same, the session remembers
 * how far it was told. Either everything got into the queue, and the session is live again, or the next round or
 * slice starts where this one stopped. Of a channel that the session gets at a pace (pace.c) it wants the last value
 * only, and there is no gap. The last round or slice ends in one turn of the loop: no message can come between it and
 * going live. */
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "hub/channel/channel.h"
#include "hub/channel/history.h"
#include "hub/hub_private.h"
#include "hub/session/fetch.h"
#include "hub/session/queue.h"
#include "hub/session/round.h"
#include "hub/session/subscription.h"
#include "hub/slice.h"

/* What one round takes of one channel, and of all; a channel that has more bounds the round by what it took. */
#define CHANNEL_MESSAGES 1024
#define ROUND_MESSAGES   16384
/* ... and no more of a channel than a queue holds of messages of this size. */
#define SMALL_MESSAGE 64

static void round_add(struct gw_round *round, const struct gw_round_entry *entry)
{
    GW_GROW(round->entries, round->count, round->allocated, 64);
    round->entries[round->count++] = *entry;
}

static void round_add_message(struct gw_round *round, struct gw_message *msg)
{
    struct gw_round_entry entry = {.seq = msg->seq, .msg = msg, .channel = round->channel};
    round_add(round, &entry);
}

static bool round_take(void *context, struct gw_message *msg)
{
    struct gw_round *round = context;
    if (gw_round_wants(round, msg->seq, msg == round->channel->last) &&
        !gw_message_is_expired(msg, round->hub->wall_ms))
        round_add_message(round, msg);
    round->newest = msg->seq;
    if (++round->taken < round->most)
        return true;
    if (msg->seq < round->bound)
        round->bound = msg->seq;
    return false;
}

static void round_check_gap(struct gw_round *round)
{
    struct gw_round_entry gap;
    if (gw_round_epoch(round, &gap) || gw_round_gap(round, &gap))
        round_add(round, &gap);
}

/* A channel of which the session gets the last value only. What came before it is not missing. */
static void round_paced(struct gw_round *round)
{
    struct gw_message *msg = gw_round_paced(round);
    struct gw_round_entry gap;
    if (!msg || msg->seq < round->channel->last_seq) /* newer ones were lost with the last process */
        round_check_gap(round);
    else if (gw_round_epoch(round, &gap))
        round_add(round, &gap);
    if (msg && !gw_message_is_expired(msg, round->hub->wall_ms) && gw_round_wants_paced(round, msg))
        round_add_message(round, msg);
}

/* Where its histories have to be read from: no need to visit what it won't get. */
static uint64_t round_after(const struct gw_round *round)
{
    const struct gw_message *last = round->channel->last;
    uint64_t after = UINT64_MAX;
    for (uint32_t i = 0; i < round->sub_count; i++) {
        const struct gw_sub *sub = round->subs[i];
        uint64_t start = sub->position;
        if (start < sub->fresh_to)
            start = last && last->seq <= sub->fresh_to ? last->seq - 1 : sub->fresh_to;
        if (start < after)
            after = start;
    }
    return after;
}

/* Of the channel's states the newest only, whatever its pace; older ones are not missing. */
static void round_state(struct gw_round *round)
{
    struct gw_message *state = gw_channel_state(&round->hub->channels, round->channel);
    if (state && round->session->ops->states && gw_round_wants(round, state->seq, true))
        round_add_message(round, state);
}

static bool round_channel(void *context, void *value)
{
    struct gw_round *round = context;
    struct gw_channel *channel = value;
    if (channel->visited == round->hub->mark)
        return true; /* another subscription led here already */
    channel->visited = round->hub->mark;
    round->visits++;
    if (!gw_round_channel(round, channel))
        return true;
    if (round->interval_ms) {
        round_paced(round);
    } else if (channel->last_seq > round_after(round)) {
        gw_channel_expire(round->hub, channel);
        round_check_gap(round);
        round->newest = 0;
        round->taken = 0;
        gw_channel_history_read(channel, round_after(round), round_take, round);
        if (channel->last && channel->last->seq > round->newest && round->taken < round->most)
            round_take(round, channel->last);
    }
    round_state(round);
    return round->count < ROUND_MESSAGES;
}

static int entry_compare(const void *a, const void *b)
{
    const struct gw_round_entry *left = a, *right = b;
    if (!left->msg != !right->msg)
        return left->msg ? 1 : -1;
    return left->seq < right->seq ? -1 : left->seq > right->seq;
}

/* A channel's history is in order already, and so is all there is where one has been missed. */
static void round_sort(struct gw_round *round)
{
    for (size_t i = 1; i < round->count; i++) {
        if (entry_compare(&round->entries[i - 1], &round->entries[i]) <= 0)
            continue;
        qsort(round->entries, round->count, sizeof *round->entries, entry_compare);
        return;
    }
}

/* Collects from every channel. False: they are too many. */
static bool round_collect(struct gw_round *round)
{
    const struct gw_hub *hub = round->hub;
    size_t steps = hub->slices.direct, room = hub->config->limits.queue_bytes / SMALL_MESSAGE + 1;
    bool all = true;
    round->most = room < CHANNEL_MESSAGES ? (uint32_t)room : CHANNEL_MESSAGES;
    for (uint32_t i = 0; all && i < round->session->sub_count; i++) {
        const struct gw_sub *sub = round->session->subs[i];
        if (sub->position >= hub->head && !sub->epoch_from && sub->doubt_ns == INT64_MAX)
            continue;
        all = gw_channels_match(round->hub, sub->filter, &steps, round_channel, round);
    }
    gw_slice_take(round->hub, (uint32_t)(hub->slices.direct - steps) + round->visits + (uint32_t)round->count);
    return all;
}

/* Queues the gaps, which come first; returns how many entries that were. A client that is too slow may be ended
 * instead: then SIZE_MAX. */
static size_t round_put_gaps(struct gw_round *round)
{
    struct gw_session *session = round->session;
    size_t done = 0;
    bool close = session->lag_reason == GW_GAP_OVERFLOW && round->hub->config->limits.slow == GW_SLOW_CLOSE;
    for (; done < round->count && !round->entries[done].msg; done++) {
        if (close) {
            gw_session_kick(session, GW_ERR_SLOW);
            return SIZE_MAX;
        }
        gw_round_put_gap(round, &round->entries[done]);
    }
    return done;
}

/* What the channels do not have any more and the engine has brought. */
static void round_add_fetched(struct gw_round *round)
{
    struct gw_message *msg;
    for (uint64_t seq = round->session->position; (msg = gw_fetch_message(round, seq, UINT64_MAX)); seq = msg->seq)
        round_add_message(round, msg);
    uint64_t limit = gw_fetch_limit(round->session);
    if (limit < round->bound)
        round->bound = limit;
}

/* One round over the matching channels. False: they are too many (the gaps that it found have been told). */
static bool round_direct(struct gw_round *round, bool *kicked)
{
    struct gw_session *session = round->session;
    session->fetch_to = 0;
    bool all = round_collect(round);
    if (all && (session->fetch || session->fetch_to))
        round_add_fetched(round);
    gw_round_filters(round);
    round_sort(round);
    size_t done = round_put_gaps(round);
    *kicked = done == SIZE_MAX;
    if (!all || *kicked)
        return *kicked;
    while (done < round->count && round->entries[done].seq <= round->bound && gw_session_has_room(session)) {
        const struct gw_round_entry *entry = &round->entries[done++];
        round->channel = entry->channel;
        gw_round_put(round, entry->msg);
    }
    bool live = done == round->count && round->bound == UINT64_MAX;
    uint64_t position = round->hub->head;
    if (!live)
        position = done < round->count && round->entries[done].seq <= round->bound ? round->entries[done].seq - 1
                                                                                   : round->bound;
    gw_round_settle(round, position, live);
    return true;
}

void gw_session_catch_up(struct gw_session *session)
{
    struct gw_hub *hub = session->hub;
    GW_ASSERT_LOOP(hub);
    if (!session->lagging || session->kicked || session->fetching)
        return;
    if (!gw_slice_take(hub, 1)) {
        gw_session_later(session);
        return;
    }
    struct gw_round round;
    bool kicked = false;
    if (!session->walking && gw_walk_is_near(session))
        gw_walk_begin(session);
    gw_round_begin(&round, session);
    if (!session->walking && !round_direct(&round, &kicked))
        gw_walk_begin(session);
    if (!kicked && session->walking)
        kicked = !gw_walk(&round);
    gw_round_end(&round);
    if (kicked || !session->lagging)
        return;
    gw_fetch_go_on(session);
    if (!session->count && !session->fetching)
        gw_session_later(session);
}
