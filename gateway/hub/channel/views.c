/* views.c: what a client sees of a channel. Most sessions share their grants with others, so a channel remembers what
 * it showed to the last few (struct gw_view). */
#include "hub/channel/views.h"

#include <stdlib.h>

#include "auth/projection.h"
#include "gateway/alloc.h"
#include "hub/channel/channel.h"
#include "hub/hub_private.h"

static const struct gw_view *channel_view(struct gw_channel *channel, const struct gw_grants *grants)
{
    if (!channel->views)
        channel->views = gw_calloc(GW_VIEWS, sizeof *channel->views);
    for (size_t i = 0; i < GW_VIEWS; i++) {
        if (channel->views[i].grants == grants)
            return &channel->views[i];
    }
    struct gw_view *view = &channel->views[channel->next_view++ % GW_VIEWS];
    gw_grants_unref(view->grants);
    view->grants = gw_grants_ref((struct gw_grants *)(uintptr_t)grants);
    view->allowed = gw_grants_allow(grants, GW_RIGHT_SUBSCRIBE, channel->name, channel->len, &view->projection);
    return view;
}

bool gw_channel_visible(struct gw_channel *channel, const struct gw_grants *grants)
{
    return !grants || channel_view(channel, grants)->allowed;
}

struct gw_message *gw_channel_show(const struct gw_hub *hub, struct gw_channel *channel,
                                   const struct gw_grants *grants, struct gw_message *msg)
{
    if (!grants)
        return msg;
    const struct gw_view *view = channel_view(channel, grants);
    if (!view->allowed)
        return NULL;
    return view->projection && !msg->state ? gw_projection_of(view->projection, msg, hub->epoch) : msg;
}

void gw_channel_forget_views(struct gw_channel *channel)
{
    for (size_t i = 0; channel->views && i < GW_VIEWS; i++)
        gw_grants_unref(channel->views[i].grants);
    free(channel->views);
    channel->views = NULL;
}
