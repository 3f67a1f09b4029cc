/* catchup.c: what a lagging session gets, in the order of the global sequence.
 *
 * A subscription wants a message m of a channel that it matches if m came after its position; while m is not newer
 * than fresh_to (the head when a subscription without a cursor began), only if m is the channel's last value. It does
 * not get m if another subscription of the same session has brought it already: that one reaches from `from` to
 * `position`.
 *
 * One round collects all that is wanted from the histories, with a gap for each channel whose history no longer
 * reaches back far enough; sorts by sequence number, gaps first; and queues all gaps, then messages until the queue
 * is full. Gaps can't wait for their place in the sequence: the position may pass the first message that is missing.
 * So that a gap is told once all the same, the session remembers how far it was told. Either everything got into the
 * queue, and the session is live again, or the next round starts where this one stopped. Of a channel that the
 * session gets at a pace (pace.c) it wants the last value only, and there is no gap. All of it happens in one turn of
 * the loop: no message can come between the last round and going live. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "hub/hub_private.h"
#include "topic/topic.h"

struct entry {
    uint64_t seq;
    struct gw_message *msg; /* borrowed from the channel; NULL: a gap that ends at seq */
    struct gw_channel *channel;
    uint64_t gap_from;
    const char *epoch_from; /* of a gap between epochs: the client's cursor */
    const char *epoch_reason;
};

struct round {
    struct gw_hub *hub;
    struct gw_session *session;
    struct entry *entries;
    size_t count, allocated;
    struct gw_channel *channel; /* being read */
    struct gw_sub **subs;       /* those of the session that match it */
    uint32_t sub_count;
    uint64_t newest;            /* of its messages taken so far */
    struct gw_message *message; /* ... where only the newest counts */
    uint32_t told_before;       /* session->told has so many from earlier rounds, sorted */
};

static void round_add(struct round *round, const struct entry *entry)
{
    if (round->count == round->allocated) {
        round->allocated = round->allocated ? round->allocated * 2 : 64;
        round->entries = gw_reallocarray(round->entries, round->allocated, sizeof *round->entries);
    }
    round->entries[round->count++] = *entry;
}

static bool round_wants(const struct round *round, const struct gw_message *msg)
{
    bool last = msg == round->channel->last, wanted = false;
    for (uint32_t i = 0; i < round->sub_count; i++) {
        const struct gw_sub *sub = round->subs[i];
        if (msg->seq > sub->position)
            wanted |= msg->seq > sub->fresh_to || last;
        else if (msg->seq > sub->from && (msg->seq > sub->fresh_to || last))
            return false; /* this one has brought it */
    }
    return wanted;
}

static int told_compare(const void *a, const void *b)
{
    uint64_t left = ((const struct gw_told *)a)->hash, right = ((const struct gw_told *)b)->hash;
    return left < right ? -1 : left > right;
}

/* How far the session was told of gaps of this channel since it began to lag. */
static struct gw_told *round_told(const struct round *round, const struct gw_channel *channel)
{
    struct gw_told key = {.hash = channel->hash};
    const struct gw_session *session = round->session;
    return session->told_count ? bsearch(&key, session->told, round->told_before, sizeof key, told_compare) : NULL;
}

static void round_tell(struct round *round, const struct gw_channel *channel, uint64_t to)
{
    struct gw_session *session = round->session;
    struct gw_told *told = round_told(round, channel);
    if (told) {
        told->to = to;
        return;
    }
    if (session->told_count == session->told_allocated) {
        session->told_allocated = session->told_allocated ? session->told_allocated * 2 : 4;
        session->told = gw_reallocarray(session->told, session->told_allocated, sizeof *session->told);
    }
    session->told[session->told_count++] = (struct gw_told){channel->hash, to};
}

static bool round_take(void *context, struct gw_message *msg)
{
    struct round *round = context;
    if (round_wants(round, msg)) {
        struct entry entry = {.seq = msg->seq, .msg = msg, .channel = round->channel};
        round_add(round, &entry);
    }
    round->newest = msg->seq;
    return true;
}

/* Adds the gap between epochs, if a subscription has a cursor of another one and was not told yet. For filters with a
 * wildcard round_check_sub() does it. */
static bool round_check_epoch(struct round *round)
{
    const struct gw_message *last = round->channel->last;
    const struct gw_told *told = round_told(round, round->channel);
    const struct gw_sub *from = NULL;
    for (uint32_t i = 0; i < round->sub_count && last; i++) {
        const struct gw_sub *sub = round->subs[i];
        if (sub->epoch_from && last->seq > sub->position && (!told || last->seq > told->to))
            from = sub;
    }
    if (!from)
        return false;
    struct entry gap = {.seq = last->seq - 1,
                        .channel = round->channel,
                        .epoch_from = from->epoch_from,
                        .epoch_reason = from->epoch_reason};
    round_add(round, &gap);
    round_tell(round, round->channel, last->seq);
    return true;
}

/* Adds the gap if messages are missing that no subscription has brought. */
static void round_check_gap(struct round *round)
{
    if (round_check_epoch(round))
        return;
    uint64_t evicted = gw_channel_evicted(round->channel), from = UINT64_MAX;
    const struct gw_told *told = round_told(round, round->channel);
    uint64_t told_to = told ? told->to : 0;
    for (uint32_t i = 0; i < round->sub_count; i++) {
        const struct gw_sub *sub = round->subs[i];
        uint64_t position = sub->position > sub->fresh_to ? sub->position : sub->fresh_to;
        if (position < told_to)
            position = told_to;
        if (position < from)
            from = position;
    }
    if (from == UINT64_MAX || evicted <= from)
        return;
    for (uint32_t i = 0; i < round->sub_count; i++) {
        const struct gw_sub *sub = round->subs[i];
        if (sub->from <= from && !sub->fresh_to && sub->position >= evicted)
            return;
    }
    struct entry gap = {.seq = evicted, .channel = round->channel, .gap_from = from};
    round_add(round, &gap);
    round_tell(round, round->channel, evicted);
}

static bool round_keep(void *context, struct gw_message *msg)
{
    ((struct round *)context)->message = msg;
    return true;
}

/* A resumed subscription's cursor may be beyond a value of this channel that was held back when the client left,
 * because messages of other channels came after it. Such a value can't be much older than the cursor; it is sent
 * (again, maybe). */
static bool round_doubts(const struct round *round, const struct gw_message *msg, int64_t interval_ms)
{
    for (uint32_t i = 0; i < round->sub_count; i++) {
        const struct gw_sub *sub = round->subs[i];
        if (msg->seq < sub->from && sub->doubt_ns != INT64_MAX &&
            (sub->doubt_ns == INT64_MIN || msg->born_ns > sub->doubt_ns - interval_ms * 1000000))
            return true;
    }
    return false;
}

/* A channel of which the session gets the last value only. What came before it is not missing. */
static void round_paced(struct round *round, int64_t interval_ms)
{
    struct gw_channel *channel = round->channel;
    round->session->paced = true;
    round->message = channel->last;
    if (!round->message) /* cleared: the message that did it, if it is still there */
        channel->engine->read(channel->history, channel->last_seq - 1, round_keep, round);
    struct gw_message *msg = round->message;
    if (!msg) {
        round_check_gap(round);
        return;
    }
    if (msg->seq < channel->last_seq) /* newer ones were lost with the last process */
        round_check_gap(round);
    else
        round_check_epoch(round);
    bool wanted = round_doubts(round, msg, interval_ms);
    for (uint32_t i = 0; i < round->sub_count; i++) {
        const struct gw_sub *sub = round->subs[i];
        if (msg->seq > sub->position)
            wanted |= msg->seq > sub->fresh_to || msg == channel->last;
        else if (msg->seq > sub->from)
            return; /* this one has brought it */
    }
    if (!wanted || gw_pace_catch_up(round->session, channel,
                                    gw_channel_show(round->hub, channel, round->session->grants, msg), interval_ms))
        return;
    struct entry entry = {.seq = msg->seq, .msg = msg, .channel = channel};
    round_add(round, &entry);
}

static bool round_channel(void *context, void *value)
{
    struct round *round = context;
    struct gw_channel *channel = value;
    if (channel->visited == round->hub->mark)
        return true; /* another subscription led here already */
    channel->visited = round->hub->mark;
    if (!gw_channel_visible(channel, round->session->grants))
        return true;

    uint64_t after = UINT64_MAX;
    int64_t interval_ms = INT64_MAX; /* the fastest subscription's, but never faster than the route's */
    round->channel = channel;
    round->sub_count = 0;
    round->newest = 0;
    for (uint32_t i = 0; i < round->session->sub_count; i++) {
        struct gw_sub *sub = round->session->subs[i];
        if (!gw_topic_matches(sub->filter->text, sub->filter->len, channel->name, channel->len))
            continue;
        round->subs[round->sub_count++] = sub;
        if (sub->interval_ms < interval_ms)
            interval_ms = sub->interval_ms;
        uint64_t start = sub->position;
        if (start < sub->fresh_to) /* no need to visit what it won't get */
            start = channel->last && channel->last->seq <= sub->fresh_to ? channel->last->seq - 1 : sub->fresh_to;
        if (start < after)
            after = start;
    }
    if (interval_ms < channel->interval_ms)
        interval_ms = channel->interval_ms;
    if (interval_ms) {
        round_paced(round, interval_ms);
        return true;
    }
    if (channel->last_seq <= after)
        return true;
    gw_channel_expire(round->hub, channel);
    round_check_gap(round);
    channel->engine->read(channel->history, after, round_take, round);
    if (channel->last && channel->last->seq > round->newest)
        round_take(round, channel->last);
    return true;
}

static int entry_compare(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;
    if (!left->msg != !right->msg)
        return left->msg ? 1 : -1;
    return left->seq < right->seq ? -1 : left->seq > right->seq;
}

static void round_put_gap(struct round *round, const struct entry *entry)
{
    char from[64], to[64];
    gw_hub_format_cursor(round->hub, entry->gap_from, from);
    gw_hub_format_cursor(round->hub, entry->seq, to);
    struct gw_item item = {
        .type = GW_ITEM_GAP,
        .u.gap =
            gw_gap_create(entry->channel->name, entry->channel->len, entry->epoch_from ? entry->epoch_from : from, to,
                          entry->epoch_from ? entry->epoch_reason : round->session->lag_reason),
    };
    gw_session_put(round->session, &item, 128);
    gw_stats_gap(&round->hub->stats, item.u.gap->reason);
}

/* A subscription whose channels can't be asked: they were forgotten whole, or are of another epoch and not back yet.
 * With a wildcard nobody knows whether some are still to come, so the gap is the filter's, besides those of the
 * channels. */
static void round_check_sub(struct round *round, struct gw_sub *sub, size_t before)
{
    bool epoch = sub->epoch_from && sub->position == 0 && (sub->filter->wildcard || round->count == before);
    bool forgotten = !sub->fresh_to && round->hub->channels.forgotten > sub->position && sub->filter->wildcard;
    if (!sub->fresh_to && !sub->filter->wildcard && round->hub->channels.forgotten > sub->position)
        forgotten = !gw_channel_find(round->hub, sub->filter->text, sub->filter->len,
                                     gw_hash(sub->filter->text, sub->filter->len));
    if (!epoch && !forgotten)
        return;
    char from[64], to[64];
    gw_hub_format_cursor(round->hub, sub->position, from);
    gw_hub_format_cursor(round->hub, epoch ? round->hub->head : round->hub->channels.forgotten, to);
    struct gw_item item = {
        .type = GW_ITEM_GAP,
        .u.gap = gw_gap_create(sub->filter->text, sub->filter->len, epoch ? sub->epoch_from : from, to,
                               epoch ? sub->epoch_reason : "history"),
    };
    gw_session_put(round->session, &item, 128);
    gw_stats_gap(&round->hub->stats, item.u.gap->reason);
}

void gw_session_catch_up(struct gw_session *session)
{
    struct gw_hub *hub = session->hub;
    GW_ASSERT_LOOP(hub);
    if (!session->lagging || session->kicked)
        return;
    struct round round = {
        .hub = hub,
        .session = session,
        .subs = gw_reallocarray(NULL, session->sub_count, sizeof(struct gw_sub *)),
        .told_before = session->told_count,
    };
    hub->mark++;
    for (uint32_t i = 0; i < session->sub_count; i++) {
        struct gw_sub *sub = session->subs[i];
        if (sub->position >= hub->head && !sub->epoch_from && sub->doubt_ns == INT64_MAX)
            continue;
        size_t before = round.count;
        gw_channels_match(hub, sub->filter, round_channel, &round);
        round_check_sub(&round, sub, before);
    }
    if (round.count)
        qsort(round.entries, round.count, sizeof *round.entries, entry_compare);

    if (round.count && session->lag_reason[0] == 'o' && hub->config->limits.slow == GW_SLOW_CLOSE) {
        for (size_t i = 0; i < round.count; i++) {
            if (round.entries[i].msg)
                continue;
            free(round.entries);
            free(round.subs);
            gw_session_kick(session, GW_ERR_SLOW);
            return;
        }
    }

    size_t done = 0;
    for (; done < round.count && !round.entries[done].msg; done++)
        round_put_gap(&round, &round.entries[done]);
    while (done < round.count && gw_session_has_room(session)) {
        const struct entry *entry = &round.entries[done++];
        struct gw_message *shown = gw_channel_show(hub, entry->channel, session->grants, entry->msg);
        struct gw_item item = {.type = GW_ITEM_MESSAGE, .u.message = gw_message_ref(shown)};
        gw_session_put(session, &item, shown->text.len);
        if (entry->seq > session->newest)
            session->newest = entry->seq;
        GW_STAT_ADD(&hub->stats, deliveries, 1);
    }
    session->lagging = done < round.count;
    uint64_t position = !session->lagging ? hub->head : round.entries[done].seq - 1;
    session->position = position;
    for (uint32_t i = 0; i < session->sub_count; i++) {
        struct gw_sub *sub = session->subs[i];
        if (sub->position < position)
            sub->position = position;
        sub->doubt_ns = INT64_MAX;
        if (!session->lagging) {
            free(sub->epoch_from);
            sub->epoch_from = NULL;
        }
    }
    if (!session->lagging) {
        free(session->told);
        session->told = NULL;
        session->told_count = session->told_allocated = 0;
    } else if (session->told_count) {
        qsort(session->told, session->told_count, sizeof *session->told, told_compare);
    }
    if (session->count)
        gw_session_mark_dirty(session);
    free(round.entries);
    free(round.subs);
}
