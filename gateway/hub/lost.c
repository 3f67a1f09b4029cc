/* lost.c: what an engine says of its sequence: numbers that will never come, and that they begin anew. */
#include "hub/lost.h"

#include <string.h>

#include "gateway/hub.h"
#include "hub/channel/channel.h"
#include "hub/hub_private.h"
#include "hub/session/fetch.h"
#include "hub/session/queue.h"
#include "hub/windows/windows.h"
#include "message/cursor.h"

void gw_hub_lost(struct gw_hub *hub, uint64_t to)
{
    uint64_t before = hub->head;
    if (to <= before)
        return;
    hub->head = to;
    gw_channels_lost(hub, to);
    gw_windows_doubt(hub);
    /* Sessions that lag already find the loss on their way. */
    for (struct gw_session *session = hub->sessions; session; session = session->next) {
        if (session->windows && !session->kicked)
            gw_windows_lost(session, before);
        if (session->lagging || session->kicked || !session->sub_count)
            continue;
        gw_session_lag_from(session, before, GW_GAP_HISTORY);
        gw_session_mark_dirty(session);
    }
}

/* Sessions may be freed as they are ended, so the list is looked through anew each time. */
static struct gw_session *epoch_subscriber(const struct gw_hub *hub)
{
    struct gw_session *session = hub->sessions;
    while (session && (session->kicked || !(session->sub_count + session->window_count)))
        session = session->next;
    return session;
}

void gw_hub_new_epoch(struct gw_hub *hub, const char *epoch)
{
    /* Clients come back with a cursor of the old epoch, and are told then: resuming is the one way of doing it. */
    for (struct gw_session *session; (session = epoch_subscriber(hub));)
        gw_session_kick(session, GW_ERR_SHUTDOWN);
    for (struct gw_session *session = hub->sessions; session; session = session->next) {
        gw_fetch_drop(session);
        session->newest = session->stamp = session->position = 0;
    }
    gw_windows_begin_anew(hub);
    gw_channels_begin_anew(hub);
    hub->head = 0;
    hub->moments.count = 0;
    memset(hub->epoch, 0, sizeof hub->epoch);
    strncpy(hub->epoch, epoch, GW_EPOCH_MAX);
}
