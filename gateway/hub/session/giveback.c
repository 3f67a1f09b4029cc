/* giveback.c: the references that a worker's sessions hold to messages, given back many at a time.
 *
 * Every worker delivers the same messages, and a counter that two processors change in turn costs each of them more
 * than all the rest of a delivery. So the sessions' references are taken by one addition for each message and worker
 * (hub_fan_out()), and those that sessions are done with are counted here, in plain numbers, and given back at the
 * end of the turn. A message lives that much longer at the most. */
#include "hub/session/giveback.h"

#include "hub/hub_private.h"

/* Neighbours in the sequence never share a slot. Two forms of one message do; then they give back more often. */
static struct gw_returned *giveback_slot(struct gw_giveback *giveback, const struct gw_message *msg)
{
    return &giveback->slots[msg->seq % GW_GIVEBACK_SLOTS];
}

void gw_session_release(struct gw_session *session, struct gw_item *item)
{
    if (item->type != GW_ITEM_MESSAGE) {
        gw_item_release(item);
        return;
    }
    struct gw_giveback *giveback = &session->hub->giveback;
    struct gw_message *msg = item->u.message;
    struct gw_returned *slot = giveback_slot(giveback, msg);
    if (slot->msg == msg) {
        slot->count++;
        return;
    }
    if (slot->msg)
        gw_message_unref_many(slot->msg, slot->count);
    else
        giveback->used[giveback->used_count++] = (uint16_t)(slot - giveback->slots);
    *slot = (struct gw_returned){msg, 1};
}

void gw_giveback_all(struct gw_giveback *giveback)
{
    for (uint32_t i = 0; i < giveback->used_count; i++) {
        struct gw_returned *slot = &giveback->slots[giveback->used[i]];
        gw_message_unref_many(slot->msg, slot->count);
        slot->msg = NULL;
    }
    giveback->used_count = 0;
}
