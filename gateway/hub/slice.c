/* slice.c: what one turn of the loop may cost, so that no client's subscription, resume or size of message holds up
 * another's.
 *
 * Work that grows with the number of channels or messages takes units, about one for each that is looked at (0.2 to
 * 1 us). When those of a turn are used up, a session goes to the end of a list and gets ready() again in the next
 * flush, and the loop comes back without resting. What one session does between two looks at the units is bounded by
 * its slice. Large messages are handed to the kernel by bytes a turn in the same way (net/outbox.c). */
#include "hub/slice.h"

#include "gateway/container.h"
#include "gateway/hub.h"
#include "gateway/list.h"
#include "hub/channel/channel.h"
#include "hub/hub_private.h"
#include "hub/stored.h"

#define TURN_UNITS   4096
#define SLICE_UNITS  1024
#define DIRECT_NAMES 2048
#define NEAR         512
#define ATTACH_NAMES 128
#define SEND_BYTES   (4 << 20)

void gw_slices_init(struct gw_slices *slices)
{
    *slices = (struct gw_slices){
        .work = TURN_UNITS,
        .turn = TURN_UNITS,
        .slice = SLICE_UNITS,
        .direct = DIRECT_NAMES,
        .near = NEAR,
        .attach = ATTACH_NAMES,
        .send_bytes = SEND_BYTES,
    };
    slices->later_end = &slices->later;
}

bool gw_slice_take(struct gw_hub *hub, uint32_t units)
{
    if (hub->slices.work <= 0)
        return false;
    hub->slices.work -= (int32_t)units;
    return true;
}

bool gw_slice_send(struct gw_session *session, size_t bytes)
{
    struct gw_slices *slices = &session->hub->slices;
    if (slices->send_bytes > 0) {
        slices->send_bytes -= (int64_t)bytes;
        return true;
    }
    gw_session_later(session);
    return false;
}

void gw_session_later(struct gw_session *session)
{
    if (session->later_link || session->kicked || !session->open)
        return;
    struct gw_slices *slices = &session->hub->slices;
    GW_QUEUE_ADD(slices->later_end, session, next_later, later_link);
}

void gw_session_not_later(struct gw_session *session)
{
    if (!session->later_link)
        return;
    GW_QUEUE_REMOVE(session->hub->slices.later_end, session, next_later, later_link);
    session->later_link = NULL;
    session->next_later = NULL;
}

void gw_slices_begin(struct gw_hub *hub)
{
    hub->slices.work = hub->slices.turn;
    hub->slices.send_bytes = SEND_BYTES;
    gw_channels_work(hub);
    gw_hub_stored_work(hub);
}

void gw_slices_resume(struct gw_hub *hub)
{
    struct gw_slices *slices = &hub->slices;
    /* Those who were ready before them have not taken everything. */
    if (slices->work < slices->turn / 2)
        slices->work = slices->turn / 2;
    if (slices->send_bytes < SEND_BYTES / 2)
        slices->send_bytes = SEND_BYTES / 2;
    /* Who comes back during this goes behind `last`: everybody has a turn before anybody has two. */
    const struct gw_session *last = GW_CONTAINER_OF(slices->later_end, struct gw_session, next_later);
    while (slices->later && slices->work > 0 && slices->send_bytes > 0) {
        struct gw_session *session = slices->later;
        bool end = session == last;
        gw_session_not_later(session);
        if (!session->kicked)
            session->ops->ready(session);
        if (end)
            break;
    }
}

bool gw_hub_busy(const struct gw_hub *hub)
{
    const struct gw_channels *channels = &hub->channels;
    return hub->slices.later || hub->dirty || hub->stored_ask || channels->policy_slot < channels->slot_count ||
           channels->table.count > hub->config->limits.channels;
}
