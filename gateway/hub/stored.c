#include "hub/stored.h"

#include <stdlib.h>

#include "hub/channel/channel.h"
#include "hub/hub_private.h"
#include "route/routes.h"

void gw_stored_ask_free(struct gw_stored_ask *ask)
{
    if (!ask)
        return;
    gw_hash_set_fini(&ask->known);
    gw_buf_fini(&ask->without);
    gw_buf_fini(&ask->names);
    free(ask);
}

static void stored_answer(struct gw_hub *hub)
{
    struct gw_stored_ask *ask = hub->stored_ask;
    hub->stored_ask = NULL;
    ask->answer(ask->context, ask);
}

void gw_hub_stored_break_off(struct gw_hub *hub)
{
    if (!hub->stored_ask)
        return;
    hub->stored_ask->broken_off = true;
    stored_answer(hub);
}

void gw_hub_stored_ask(struct gw_hub *hub, struct gw_stored_ask *ask)
{
    gw_hub_stored_break_off(hub);
    hub->stored_ask = ask;
    hub->stored_slot = 0;
}

/* Only where the broker would have sent its value to us. */
static bool stored_is_in_question(const struct gw_hub *hub, const struct gw_channel *channel)
{
    const struct gw_stored_ask *ask = hub->stored_ask;
    return channel->stored && channel->last && channel->last->ts < ask->since_ms &&
           !gw_hash_set_has(&ask->known, channel->item.hash) &&
           !gw_routes_channel_from(hub->routes, channel->name, channel->len, &ask->without);
}

void gw_hub_stored_work(struct gw_hub *hub)
{
    struct gw_stored_ask *ask = hub->stored_ask;
    if (!ask)
        return;
    while (hub->stored_slot < hub->channels.slot_count && ask->count < GW_STORED_NAMES) {
        if (!gw_slice_take(hub, 1))
            return;
        const struct gw_channel *channel = gw_channel_at(hub, hub->stored_slot++);
        if (!channel || !stored_is_in_question(hub, channel))
            continue;
        gw_buf_add(&ask->names, channel->name, (size_t)channel->len + 1);
        ask->count++;
    }
    stored_answer(hub);
}
