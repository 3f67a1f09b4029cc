/* since.c: from a time to a place in the sequence. Numbers and times grow together, so any message that came before
 * the time is a place from which nothing is missed; the newest such place is wanted. There are two kinds: messages
 * that are still there, found by halving the order of all, and the newest one that a channel's history has thrown
 * away. The second kind matters where histories are bounded by age: without it, what left a history just now would
 * count as missing. */
#include "hub/channel/since.h"

#include <string.h>

#include "base/units.h"
#include "gateway/hub.h"
#include "gateway/topic.h"
#include "hub/channel/channel.h"
#include "hub/channel/filter.h"
#include "hub/channel/history.h"
#include "hub/hub_private.h"

/* The search passes over this many blocks whose messages are all gone, before it takes a place for too late. */
#define DEAD_BLOCKS 4

struct found {
    uint64_t seq;
    struct gw_message *msg;
};

static bool since_is_it(void *context, struct gw_message *msg)
{
    struct found *found = context;
    found->msg = msg->seq == found->seq ? msg : NULL;
    return false;
}

/* The message of that number, borrowed; NULL: it is gone. */
static const struct gw_message *since_message(const struct gw_hub *hub, uint64_t seq, uint32_t slot)
{
    const struct gw_channel *channel = gw_channel_at(hub, slot & ~GW_SLOT_STATE);
    if (!channel)
        return NULL;
    if (slot & GW_SLOT_STATE) {
        const struct gw_message *state = gw_channel_state(&hub->channels, channel);
        return state && state->seq == seq ? state : NULL;
    }
    if (channel->last && channel->last->seq == seq)
        return channel->last;
    struct found found = {seq, NULL};
    if (channel->history)
        channel->engine->read(channel->history, seq - 1, since_is_it, &found);
    return found.msg;
}

/* The first message from the beginning of that block on; *after: behind it. */
static const struct gw_message *since_first(const struct gw_hub *hub, size_t block, struct gw_order_place *after)
{
    const struct gw_order *messages = &hub->channels.messages;
    *after = (struct gw_order_place){block, 0};
    uint64_t key;
    uint32_t slot;
    while (after->block < block + DEAD_BLOCKS && gw_order_next(messages, after, &key, &slot)) {
        const struct gw_message *msg = since_message(hub, key, slot);
        if (msg)
            return msg;
    }
    return NULL;
}

/* The number of the newest message that is still there and came before the time; 0: there is none. */
static uint64_t since_before(const struct gw_hub *hub, int64_t since_ms)
{
    const struct gw_order *messages = &hub->channels.messages;
    size_t low = 0, high = messages->count; /* the first block that begins too late is in (low, high] */
    struct gw_order_place place;
    const struct gw_message *msg;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        msg = since_first(hub, middle, &place);
        if (msg && msg->ts < since_ms)
            low = middle;
        else
            high = middle;
    }
    uint64_t key, seq = 0;
    uint32_t slot;
    place = (struct gw_order_place){low, 0};
    while (place.block <= low + DEAD_BLOCKS && gw_order_next(messages, &place, &key, &slot)) {
        msg = since_message(hub, key, slot);
        if (msg && msg->ts >= since_ms)
            break;
        if (msg)
            seq = msg->seq;
    }
    return seq;
}

int64_t gw_hub_time_at(const struct gw_hub *hub, uint64_t seq)
{
    const struct gw_order *messages = &hub->channels.messages;
    size_t block = gw_order_after(messages, seq).block;
    for (int tries = 0; tries <= DEAD_BLOCKS; tries++, block--) {
        struct gw_order_place place = {block, 0};
        int64_t found = INT64_MIN;
        uint64_t key;
        uint32_t slot;
        while (place.block == block && gw_order_next(messages, &place, &key, &slot) && key <= seq) {
            const struct gw_message *msg = since_message(hub, key, slot);
            found = msg ? msg->ts : found;
        }
        if (found != INT64_MIN || !block)
            return found;
    }
    return INT64_MIN;
}

struct evicted {
    struct gw_hub *hub;
    int64_t since_ms;
    uint64_t seq;
};

static bool since_evicted(void *context, void *value)
{
    struct evicted *evicted = context;
    struct gw_channel *channel = value;
    gw_channel_expire(evicted->hub, channel);
    if (!channel->history || !channel->engine->evicted_ts ||
        channel->engine->evicted_ts(channel->history) >= evicted->since_ms)
        return true;
    uint64_t seq = channel->engine->evicted(channel->history);
    evicted->seq = seq > evicted->seq ? seq : evicted->seq;
    return true;
}

uint64_t gw_hub_since(struct gw_hub *hub, const char *filter, size_t len, int64_t since_ms)
{
    GW_ASSERT_LOOP(hub);
    struct gw_filter matched = {
        .text = (char *)(uintptr_t)filter,
        .len = len,
        .wildcard = gw_topic_has_wildcard(filter, len),
    };
    struct evicted evicted = {hub, since_ms, 0};
    size_t steps = hub->slices.direct;
    gw_channels_match(hub, &matched, &steps, since_evicted, &evicted);
    uint64_t before = since_before(hub, since_ms);
    return before > evicted.seq ? before : evicted.seq;
}

bool gw_start_since(const struct gw_hub *hub, const char *text, size_t len, struct gw_start *start)
{
    char copy[64];
    if (!len || len >= sizeof copy || memchr(text, '\0', len))
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    if (!gw_parse_time(copy, gw_hub_wall(hub), &start->since_ms))
        return false;
    if (start->since_ms > gw_hub_wall(hub))
        start->since_ms = gw_hub_wall(hub);
    start->at = GW_START_SINCE;
    return true;
}
