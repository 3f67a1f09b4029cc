/* restored.c: the end of filling a hub at start: what the store had, in the order of the sequence. */
#include <stdlib.h>

#include "gateway/alloc.h"
#include "gateway/hub.h"
#include "hub/channel/channel.h"
#include "hub/channel/history.h"
#include "hub/hub_private.h"
#include "hub/keep.h"

struct restored_message {
    uint64_t seq;
    uint32_t slot;
};

struct restored {
    struct restored_message *messages;
    size_t count, allocated;
    uint32_t slot;
};

static bool restored_add(void *context, struct gw_message *msg)
{
    struct restored *restored = context;
    GW_GROW(restored->messages, restored->count, restored->allocated, 1024);
    restored->messages[restored->count++] = (struct restored_message){msg->seq, restored->slot};
    return true;
}

static int restored_compare(const void *a, const void *b)
{
    uint64_t left = ((const struct restored_message *)a)->seq, right = ((const struct restored_message *)b)->seq;
    return left < right ? -1 : left > right;
}

void gw_channels_restored(struct gw_hub *hub)
{
    struct restored all = {0};
    for (struct gw_channel *channel = hub->channels.all.oldest; channel; channel = channel->newer) {
        gw_channel_expire(hub, channel);
        gw_channel_keep_rollup(hub, channel);
        all.slot = channel->slot;
        size_t before = all.count;
        gw_channel_history_read(channel, 0, restored_add, &all);
        if (channel->last && (all.count == before || all.messages[all.count - 1].seq != channel->last->seq))
            restored_add(&all, channel->last);
        struct gw_message *state = gw_channel_state(&hub->channels, channel);
        all.slot |= GW_SLOT_STATE;
        if (state)
            restored_add(&all, state);
    }
    if (all.count)
        qsort(all.messages, all.count, sizeof *all.messages, restored_compare);
    for (size_t i = 0; i < all.count; i++)
        gw_order_add(&hub->channels.messages, all.messages[i].seq, all.messages[i].slot);
    free(all.messages);
    GW_STAT_SET(&hub->stats, history_bytes, hub->channels.history_bytes);
}
