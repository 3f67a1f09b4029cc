/* losses.c: what channels have lost: to the bounds of their histories, and to an engine that lost it. */
#include "gateway/alloc.h"
#include "hub/channel/channel.h"
#include "hub/channel/history.h"
#include "hub/hub_private.h"

bool gw_channel_has_loss(const void *context, uint64_t key, uint32_t slot)
{
    const struct gw_channel *channel = ((const struct gw_channels *)context)->slots[slot];
    return channel && gw_channel_losses(channel).key == key;
}

struct gw_channel_losses *gw_channel_note_losses(struct gw_channel *channel)
{
    if (!channel->losses)
        channel->losses = gw_calloc(1, sizeof *channel->losses);
    return channel->losses;
}

void gw_channel_note_loss(struct gw_hub *hub, struct gw_channel *channel)
{
    uint64_t evicted = gw_channel_evicted(channel);
    if (evicted <= gw_channel_losses(channel).to)
        return;
    struct gw_order *losses = &hub->channels.losses;
    uint64_t newest = hub->head > evicted ? hub->head : evicted, key = newest << GW_LOSS_BITS;
    if (key <= losses->newest)
        key = losses->newest + 1;
    struct gw_channel_losses *noted = gw_channel_note_losses(channel);
    noted->to = evicted;
    noted->key = key;
    gw_order_add(losses, key, channel->slot);
}

uint64_t gw_channel_evicted(const struct gw_channel *channel)
{
    uint64_t evicted = gw_channel_history_evicted(channel);
    /* What is still there as the last value isn't missing, even if the history threw it away. */
    if (channel->last && evicted >= channel->last->seq)
        evicted = channel->before_last;
    uint64_t lost = gw_channel_losses(channel).lost;
    return evicted > lost ? evicted : lost;
}

uint64_t gw_channel_missing(const struct gw_channel *channel)
{
    uint64_t evicted = gw_channel_history_evicted(channel);
    uint64_t lost = gw_channel_losses(channel).lost;
    return evicted > lost ? evicted : lost;
}

/* As if the number had been a message of each channel, which it may have been. */
static void channel_lost(struct gw_channel *channel, uint64_t to)
{
    gw_channel_note_losses(channel)->lost = to;
    if (channel->last_seq < to)
        channel->last_seq = channel->before_last = to;
}

void gw_channels_lost(struct gw_hub *hub, uint64_t to)
{
    struct gw_channels *channels = &hub->channels;
    channels->lost = to;
    if (channels->forgotten < to)
        channels->forgotten = to;
    for (struct gw_channel *channel = channels->all.oldest; channel; channel = channel->newer) {
        channel_lost(channel, to);
        gw_channel_note_loss(hub, channel);
    }
}
