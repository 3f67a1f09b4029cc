
#include "hub/session/round.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/hub.h"
#include "gateway/topic.h"
#include "hub/channel/channel.h"
#include "hub/channel/history.h"
#include "hub/channel/views.h"
#include "hub/hub_private.h"
#include "hub/session/fetch.h"
#include "hub/session/pace.h"
#include "hub/session/queue.h"
#include "hub/session/subscription.h"
#include "hub/slice.h"
#include "hub/stats.h"

/* From this many subscriptions on, a channel's own filters are looked through instead of the session's. */
#define MANY_SUBS 8

uint64_t gw_round_floor(const struct gw_session *session)
{
    uint64_t from = UINT64_MAX;
    for (uint32_t i = 0; i < session->sub_count; i++) {
        const struct gw_sub *sub = session->subs[i];
        uint64_t position = sub->position > sub->fresh_to ? sub->position : sub->fresh_to;
        if (position < from)
            from = position;
    }
    return from;
}

void gw_round_begin(struct gw_round *round, struct gw_session *session)
{
    struct gw_hub *hub = session->hub;
    *round = (struct gw_round){
        .hub = hub,
        .session = session,
        .subs = gw_reallocarray(NULL, session->sub_count, sizeof(struct gw_sub *)),
        .bound = UINT64_MAX,
    };
    hub->mark++;
    for (uint32_t i = 0; i < session->sub_count; i++) {
        session->subs[i]->filter->mark = hub->mark;
        session->subs[i]->filter->marked = session->subs[i];
    }
}

void gw_round_end(struct gw_round *round)
{
    free(round->entries);
    free(round->subs);
}

static void round_add_sub(struct gw_round *round, struct gw_sub *sub)
{
    round->subs[round->sub_count++] = sub;
    if (sub->interval_ms < round->interval_ms)
        round->interval_ms = sub->interval_ms;
}

bool gw_round_channel(struct gw_round *round, struct gw_channel *channel)
{
    const struct gw_session *session = round->session;
    round->channel = channel;
    round->sub_count = 0;
    round->interval_ms = INT64_MAX; /* the fastest subscription's, but never faster than the route's */
    if (session->sub_count > MANY_SUBS)
        gw_channel_filters(round->hub, channel);
    if (session->sub_count > MANY_SUBS && channel->filter_count <= 4 * session->sub_count) {
        for (uint32_t i = 0; i < channel->filter_count; i++) {
            if (channel->filters[i]->mark == round->hub->mark)
                round_add_sub(round, channel->filters[i]->marked);
        }
    } else {
        for (uint32_t i = 0; i < session->sub_count; i++) {
            struct gw_sub *sub = session->subs[i];
            if (gw_topic_matches(sub->filter->text, sub->filter->len, channel->name, channel->len))
                round_add_sub(round, sub);
        }
    }
    if (round->interval_ms < channel->interval_ms)
        round->interval_ms = channel->interval_ms;
    return round->sub_count && gw_channel_visible(channel, session->grants);
}

bool gw_round_wants(const struct gw_round *round, uint64_t seq, bool last)
{
    bool wanted = false;
    for (uint32_t i = 0; i < round->sub_count; i++) {
        const struct gw_sub *sub = round->subs[i];
        if (seq > sub->position)
            wanted |= seq > sub->fresh_to || last;
        else if (seq > sub->from && (seq > sub->fresh_to || last))
            return false; /* this one has brought it */
    }
    return wanted;
}

/* --- at a pace ------------------------------------------------------------------------------------------------- */

static bool round_first(void *context, struct gw_message *msg)
{
    *(struct gw_message **)context = msg;
    return true;
}

struct gw_message *gw_round_paced(struct gw_round *round)
{
    struct gw_channel *channel = round->channel;
    struct gw_message *msg = channel->last;
    round->session->paced = true;
    if (!msg)
        gw_channel_history_read(channel, channel->last_seq - 1, round_first, &msg);
    return msg;
}

/* A resumed subscription's cursor may be beyond a value of this channel that was held back when the client left,
 * because messages of other channels came after it. Such a value can't be much older than the cursor; it is sent
 * (again, maybe). */
static bool round_doubts(const struct gw_round *round, const struct gw_message *msg)
{
    for (uint32_t i = 0; i < round->sub_count; i++) {
        const struct gw_sub *sub = round->subs[i];
        if (msg->seq < sub->from && sub->doubt_ns != INT64_MAX &&
            (sub->doubt_ns == INT64_MIN || msg->born_ns > sub->doubt_ns - round->interval_ms * 1000000))
            return true;
    }
    return false;
}

bool gw_round_wants_paced(struct gw_round *round, const struct gw_message *msg)
{
    struct gw_channel *channel = round->channel;
    bool wanted = round_doubts(round, msg);
    for (uint32_t i = 0; i < round->sub_count; i++) {
        const struct gw_sub *sub = round->subs[i];
        if (msg->seq > sub->position)
            wanted |= msg->seq > sub->fresh_to || msg == channel->last;
        else if (msg->seq > sub->from)
            return false; /* this one has brought it */
    }
    return wanted && !gw_pace_catch_up(round->session, channel,
                                       gw_channel_show(round->hub, channel, round->session->grants,
                                                       (struct gw_message *)(uintptr_t)msg),
                                       round->interval_ms);
}

/* --- gaps ------------------------------------------------------------------------------------------------------ */

/* How far the session was told of gaps of this channel since it began to lag: a place in the table, free (to 0) if it
 * was not. */
static struct gw_told *told_place(const struct gw_session *session, uint64_t hash)
{
    uint32_t at = (uint32_t)(hash >> 32);
    struct gw_told *told;
    do
        told = &session->told[at++ & (session->told_allocated - 1)];
    while (told->to && told->hash != hash);
    return told;
}

static uint64_t round_told(const struct gw_round *round)
{
    const struct gw_session *session = round->session;
    return session->told_count ? told_place(session, round->channel->item.hash)->to : 0;
}

static void round_tell(struct gw_round *round, uint64_t to)
{
    struct gw_session *session = round->session;
    if (session->told_count * 2 >= session->told_allocated) {
        struct gw_told *old = session->told;
        uint32_t allocated = session->told_allocated;
        session->told_allocated = allocated ? allocated * 2 : 8;
        session->told = gw_calloc(session->told_allocated, sizeof *session->told);
        for (uint32_t i = 0; i < allocated; i++) {
            if (old[i].to)
                *told_place(session, old[i].hash) = old[i];
        }
        free(old);
    }
    struct gw_told *told = told_place(session, round->channel->item.hash);
    session->told_count += !told->to;
    *told = (struct gw_told){round->channel->item.hash, to};
}

bool gw_round_epoch(struct gw_round *round, struct gw_round_entry *gap)
{
    const struct gw_message *last = round->channel->last;
    uint64_t told_to = round_told(round);
    const struct gw_sub *from = NULL;
    for (uint32_t i = 0; i < round->sub_count && last; i++) {
        const struct gw_sub *sub = round->subs[i];
        if (sub->epoch_from && last->seq > sub->position && last->seq > told_to)
            from = sub;
    }
    if (!from)
        return false;
    *gap = (struct gw_round_entry){.seq = last->seq - 1,
                                   .channel = round->channel,
                                   .epoch_from = from->epoch_from,
                                   .epoch_reason = from->epoch_reason};
    round_tell(round, last->seq);
    return true;
}

bool gw_round_gap(struct gw_round *round, struct gw_round_entry *gap)
{
    uint64_t evicted = gw_channel_evicted(round->channel), from = UINT64_MAX, told_to = round_told(round);
    for (uint32_t i = 0; i < round->sub_count; i++) {
        const struct gw_sub *sub = round->subs[i];
        uint64_t position = sub->position > sub->fresh_to ? sub->position : sub->fresh_to;
        if (position < told_to)
            position = told_to;
        if (position < from)
            from = position;
    }
    if (from == UINT64_MAX || evicted <= from)
        return false;
    for (uint32_t i = 0; i < round->sub_count; i++) {
        const struct gw_sub *sub = round->subs[i];
        if (sub->from <= from && !sub->fresh_to && sub->position >= evicted)
            return false;
    }
    evicted = gw_fetch_missing(round, from, evicted);
    if (evicted <= from)
        return false;
    *gap = (struct gw_round_entry){.seq = evicted, .channel = round->channel, .gap_from = from};
    round_tell(round, evicted);
    return true;
}

static void round_put_gap(struct gw_round *round, const char *name, size_t len, const char *from, uint64_t to_seq,
                          enum gw_gap_reason reason)
{
    char to[64];
    gw_hub_format_cursor(round->hub, to_seq, to);
    gw_session_put_gap(round->session, name, len, from, to, reason);
}

void gw_round_put_gap(struct gw_round *round, const struct gw_round_entry *gap)
{
    char from[64];
    gw_hub_format_cursor(round->hub, gap->gap_from, from);
    round_put_gap(round, gap->channel->name, gap->channel->len, gap->epoch_from ? gap->epoch_from : from, gap->seq,
                  gap->epoch_from ? gap->epoch_reason : round->session->lag_reason);
}

/* A subscription whose channels can't be asked: they were forgotten whole, or are of another epoch and not back yet.
 * With a wildcard nobody knows whether some are still to come, so the gap is the filter's, besides those of the
 * channels. */
static void round_filter(struct gw_round *round, struct gw_sub *sub)
{
    struct gw_hub *hub = round->hub;
    const struct gw_filter *filter = sub->filter;
    const struct gw_channel *channel =
        filter->wildcard ? NULL : gw_channel_find(hub, filter->text, filter->len, gw_hash(filter->text, filter->len));
    /* A walk may meet the channel's next value before it tells of the epoch. */
    if (sub->epoch_from && !sub->epoch_told && (!channel || !channel->last || round->session->walking)) {
        sub->epoch_told = true;
        round_put_gap(round, filter->text, filter->len, sub->epoch_from, hub->head, sub->epoch_reason);
        sub->forgotten_told = hub->channels.forgotten;
        return;
    }
    uint64_t from = sub->position > sub->fresh_to ? sub->position : sub->fresh_to;
    if (from < sub->forgotten_told)
        from = sub->forgotten_told;
    if (channel || hub->channels.forgotten <= from)
        return;
    char text[64];
    gw_hub_format_cursor(hub, from, text);
    round_put_gap(round, filter->text, filter->len, text, hub->channels.forgotten, GW_GAP_HISTORY);
    sub->forgotten_told = hub->channels.forgotten;
}

void gw_round_filters(struct gw_round *round)
{
    for (uint32_t i = 0; i < round->session->sub_count; i++)
        round_filter(round, round->session->subs[i]);
}

/* --- into the queue -------------------------------------------------------------------------------------------- */

void gw_round_put(struct gw_round *round, struct gw_message *msg)
{
    struct gw_session *session = round->session;
    struct gw_message *shown =
        session->grants ? gw_channel_show(round->hub, round->channel, session->grants, msg) : msg;
    struct gw_item item = {.type = GW_ITEM_MESSAGE, .u.message = gw_message_ref(shown)};
    gw_session_put(session, &item, shown->text.len);
    if (msg->seq > session->newest)
        session->newest = msg->seq;
    gw_slice_take(round->hub, 1 + (uint32_t)(shown->text.len / 512));
    GW_STAT_ADD(&round->hub->stats, deliveries, 1);
}

void gw_round_settle(struct gw_round *round, uint64_t position, bool live)
{
    struct gw_session *session = round->session;
    session->position = position;
    session->lagging = !live;
    gw_fetch_passed(session);
    for (uint32_t i = 0; i < session->sub_count; i++) {
        struct gw_sub *sub = session->subs[i];
        if (sub->position < position)
            sub->position = position;
        if (live || !session->walking)
            sub->doubt_ns = INT64_MAX;
        if (live) {
            free(sub->epoch_from);
            sub->epoch_from = NULL;
        }
    }
    if (live) {
        gw_session_forget_told(session);
        gw_fetch_drop(session);
        session->walking = session->unfetched = false;
    }
    if (session->count)
        gw_session_mark_dirty(session);
}
