/* ties.c: which filters match which channels. Fan-out walks from a channel to its filters, so every channel has a
 * list of them. A filter that matches few channels is put into their lists when it comes; one that matches many only
 * makes all lists out of date, and each is made anew when it is used next: so neither costs more than a slice. */
#include "gateway/alloc.h"
#include "hub/channel/channel.h"
#include "hub/channel/filter.h"
#include "hub/hub_private.h"
#include "topic/topic_tree.h"

static void channel_add_filter(struct gw_channel *channel, struct gw_filter *filter)
{
    GW_GROW(channel->filters, channel->filter_count, channel->filter_allocated, 2);
    channel->filters[channel->filter_count++] = filter;
}

static bool channel_collect_filter(void *context, void *filter)
{
    channel_add_filter(context, filter);
    return true;
}

void gw_channel_filters(struct gw_hub *hub, struct gw_channel *channel)
{
    if (channel->filters_at == hub->filters_at)
        return;
    channel->filters_at = hub->filters_at;
    channel->filter_count = 0;
    gw_topic_tree_match_name(hub->filters, channel->name, channel->len, channel_collect_filter, channel);
}

bool gw_channels_match(struct gw_hub *hub, const struct gw_filter *filter, size_t *steps, gw_channel_visit visit,
                       void *context)
{
    if (filter->wildcard)
        return gw_topic_tree_match_some(hub->channels.names, filter->text, filter->len, steps, visit, context);
    struct gw_channel *channel = gw_channel_find(hub, filter->text, filter->len, gw_hash(filter->text, filter->len));
    return !channel || visit(context, channel);
}

struct tie {
    struct gw_hub *hub;
    struct gw_filter *filter;
};

/* A channel whose filters are to be collected anew anyway is left alone. */
static bool channel_attach(void *context, void *value)
{
    const struct tie *tie = context;
    struct gw_channel *channel = value;
    if (channel->filters_at == tie->hub->filters_at)
        channel_add_filter(channel, tie->filter);
    return true;
}

static bool channel_detach(void *context, void *value)
{
    const struct tie *tie = context;
    struct gw_channel *channel = value;
    for (uint32_t i = 0; channel->filters_at == tie->hub->filters_at && i < channel->filter_count; i++) {
        if (channel->filters[i] == tie->filter) {
            channel->filters[i] = channel->filters[--channel->filter_count];
            break;
        }
    }
    return true;
}

/* A filter that matches few is tied to them at once. Of any other the channels learn when they are used next. */
static void channels_tie(struct gw_hub *hub, struct gw_filter *filter, gw_channel_visit visit)
{
    struct tie tie = {hub, filter};
    size_t steps = hub->slices.attach;
    if (!gw_channels_match(hub, filter, &steps, visit, &tie))
        hub->filters_at++;
}

void gw_channels_attach(struct gw_hub *hub, struct gw_filter *filter)
{
    channels_tie(hub, filter, channel_attach);
}

void gw_channels_detach(struct gw_hub *hub, struct gw_filter *filter)
{
    channels_tie(hub, filter, channel_detach);
}
