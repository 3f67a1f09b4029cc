/* session.c: a session's queue and its life. Its subscriptions are in subscribe.c; what it gets while it lags in
 * catchup.c. */
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/hub.h"
#include "gateway/list.h"
#include "gateway/session_log.h"
#include "gateway/topic.h"
#include "hub/access.h"
#include "hub/hub_private.h"
#include "hub/publish/pending.h"
#include "hub/session/fetch.h"
#include "hub/session/pace.h"
#include "hub/session/presence.h"
#include "hub/session/queue.h"
#include "hub/session/subscription.h"
#include "hub/slice.h"
#include "hub/stats.h"
#include "hub/windows/windows.h"
#include "message/cursor.h"

#define QUEUE_START 8
/* The second size: whoever gets more than a few at once mostly gets a batch. */
#define QUEUE_BATCH 64

void gw_item_release(struct gw_item *item)
{
    switch (item->type) {
    case GW_ITEM_MESSAGE:
        gw_message_unref(item->u.message);
        break;
    case GW_ITEM_GAP:
        free(item->u.gap);
        break;
    case GW_ITEM_TEXT:
        gw_buf_fini(item->u.text);
        free(item->u.text);
        break;
    }
}

void gw_item_set_text(struct gw_item *item, struct gw_buf *text)
{
    struct gw_buf *own = gw_malloc(sizeof *own);
    *own = gw_buf_move(text);
    gw_item_release(item);
    item->type = GW_ITEM_TEXT;
    item->u.text = own;
}

static size_t item_bytes(const struct gw_item *item)
{
    switch (item->type) {
    case GW_ITEM_MESSAGE:
        return item->u.message->text.len;
    case GW_ITEM_GAP:
        return 128;
    case GW_ITEM_TEXT:
        return item->u.text->len;
    }
    return 0;
}

struct gw_gap *gw_gap_create(const char *channel, size_t len, const char *from, const char *to, const char *reason)
{
    size_t from_len = strlen(from), to_len = strlen(to);
    struct gw_gap *gap = gw_malloc(sizeof *gap + len + 1 + from_len + 1 + to_len + 1);
    gap->reason = reason;
    gap->channel = (char *)(gap + 1);
    memcpy(gap->channel, channel, len);
    gap->channel[len] = '\0';
    gap->from = gap->channel + len + 1;
    memcpy(gap->from, from, from_len + 1);
    gap->to = gap->from + from_len + 1;
    memcpy(gap->to, to, to_len + 1);
    return gap;
}

/* --- the queue ----------------------------------------------------------------------------------------------- */

static void session_grow(struct gw_session *session)
{
    uint32_t allocated = !session->allocated                ? QUEUE_START
                         : session->allocated < QUEUE_BATCH ? QUEUE_BATCH
                                                            : session->allocated * 2;
    struct gw_item *items = gw_reallocarray(NULL, allocated, sizeof *items);
    for (uint32_t i = 0; i < session->count; i++)
        items[i] = session->items[(session->first + i) & (session->allocated - 1)];
    free(session->items);
    session->items = items;
    session->allocated = allocated;
    session->first = 0;
}

static inline void session_put(struct gw_session *session, const struct gw_item *item, size_t bytes)
{
    if (session->count == session->allocated)
        session_grow(session);
    session->items[(session->first + session->count++) & (session->allocated - 1)] = *item;
    session->queued_bytes += bytes;
}

void gw_session_put(struct gw_session *session, const struct gw_item *item, size_t bytes)
{
    session_put(session, item, bytes);
}

static inline bool session_has_room(const struct gw_session *session)
{
    return session->queued_bytes < session->hub->config->limits.queue_bytes;
}

bool gw_session_has_room(const struct gw_session *session)
{
    return session_has_room(session);
}

void gw_session_mark_dirty(struct gw_session *session)
{
    if (session->dirty || session->kicked)
        return;
    struct gw_hub *hub = session->hub;
    session->dirty = true;
    session->next_dirty = NULL;
    *hub->dirty_end = session;
    hub->dirty_end = &session->next_dirty;
}

void gw_session_forget_told(struct gw_session *session)
{
    free(session->told);
    session->told = NULL;
    session->told_count = session->told_allocated = 0;
}

/* Nothing is queued live any more; every subscription stands at `position`, or where it wants to begin. */
void gw_session_lag_from(struct gw_session *session, uint64_t position, const char *reason)
{
    session->lagging = true;
    session->walking = false;
    session->lag_reason = reason;
    session->position = position;
    for (uint32_t i = 0; i < session->sub_count; i++) {
        struct gw_sub *sub = session->subs[i];
        sub->position = sub->from > position ? sub->from : position;
    }
}

static void session_overflow(struct gw_session *session, uint64_t seq)
{
    struct gw_hub *hub = session->hub;
    GW_STAT_ADD(&hub->stats, overflows, 1);
    GW_SESSION_LOG_ONCE_A_SECOND(session, GW_LOG_WARN, "the client reads too slowly: %zu bytes wait for it",
                                 session->queued_bytes);
    gw_session_lag_from(session, seq - 1, "overflow");
}

void gw_session_queue(struct gw_session *session, struct gw_message *msg)
{
    struct gw_item item = {.type = GW_ITEM_MESSAGE};
    if (msg->seq < session->newest) {
        item.u.message = gw_message_at(msg, session->hub->epoch, session->newest);
    } else {
        item.u.message = gw_message_ref(msg);
        session->newest = msg->seq;
    }
    gw_session_put(session, &item, item_bytes(&item));
    GW_STAT_ADD(&session->hub->stats, deliveries, 1);
    gw_session_mark_dirty(session);
}

bool gw_session_take(struct gw_session *session, struct gw_message *msg)
{
    session->stamp = msg->seq;
    if (session->lagging || session->kicked)
        return false;
    if (!session_has_room(session)) {
        session_overflow(session, msg->seq);
        return false;
    }
    session->newest = msg->seq;
    struct gw_item item = {.type = GW_ITEM_MESSAGE, .u.message = msg};
    session_put(session, &item, msg->text.len);
    if (!session->dirty)
        gw_session_mark_dirty(session);
    return true;
}

void gw_session_deliver(struct gw_session *session, struct gw_message *msg)
{
    if (!gw_session_take(session, msg))
        return;
    gw_message_ref(msg);
    GW_STAT_ADD(&session->hub->stats, deliveries, 1);
}

void gw_session_push(struct gw_session *session, struct gw_buf *text)
{
    if (session->kicked || !session->open) {
        gw_buf_fini(text);
        return;
    }
    struct gw_item item = {.type = GW_ITEM_TEXT, .u.text = gw_malloc(sizeof *item.u.text)};
    *item.u.text = gw_buf_move(text);
    gw_session_put(session, &item, item.u.text->len);
    if (session->queued_bytes > session->hub->config->limits.queue_bytes * 2) {
        gw_session_kick(session, GW_ERR_SLOW);
        return;
    }
    gw_session_mark_dirty(session);
}

void gw_session_wake(struct gw_session *session)
{
    GW_ASSERT_LOOP(session->hub);
    if (session->open && !session->dirty)
        gw_session_mark_dirty(session);
}

size_t gw_session_next_batch(struct gw_session *session, struct gw_item *items, size_t most, size_t most_bytes)
{
    GW_ASSERT_LOOP(session->hub);
    size_t taken = 0, bytes = 0;
    while (taken < most && bytes < most_bytes) {
        if (!session->count && session->lagging && !session->kicked)
            gw_session_catch_up(session);
        if (!session->count || session->kicked)
            break;
        size_t len = item_bytes(&session->items[session->first]);
        if (len >= GW_LARGE_BYTES && !gw_slice_send(session, len))
            break;
        struct gw_item *item = &items[taken++];
        *item = session->items[session->first];
        session->first = (session->first + 1) & (session->allocated - 1);
        session->count--;
        session->queued_bytes -= len;
        bytes += len;
    }
    if (session->windows && !session->count)
        gw_windows_drained(session);
    return taken;
}

void gw_session_shrink(struct gw_session *session)
{
    if (session->count || session->allocated <= QUEUE_START)
        return;
    free(session->items);
    session->items = NULL;
    session->allocated = session->first = 0;
}

bool gw_session_next(struct gw_session *session, struct gw_item *item)
{
    return gw_session_next_batch(session, item, 1, SIZE_MAX) > 0;
}

static void session_clear_queue(struct gw_session *session)
{
    for (uint32_t i = 0; i < session->count; i++)
        gw_item_release(&session->items[(session->first + i) & (session->allocated - 1)]);
    free(session->items);
    session->items = NULL;
    session->first = session->count = session->allocated = 0;
    session->queued_bytes = 0;
}

void gw_session_review(struct gw_session *session,
                       struct gw_message *(*show)(struct gw_session *, struct gw_message *))
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < session->count; i++) {
        struct gw_item item = session->items[(session->first + i) & (session->allocated - 1)];
        if (item.type == GW_ITEM_MESSAGE) {
            struct gw_message *msg = item.u.message, *shown = show(session, msg);
            session->queued_bytes -= msg->text.len;
            if (shown) {
                item.u.message = gw_message_ref(shown);
                session->queued_bytes += shown->text.len;
            }
            gw_message_unref(msg);
            if (!shown)
                continue;
        }
        session->items[(session->first + kept++) & (session->allocated - 1)] = item;
    }
    session->count = kept;
}

static uint64_t session_place(const struct gw_session *session)
{
    if (session->windows && !session->sub_count)
        return gw_windows_place(session);
    if (session->lagging)
        return session->position;
    uint64_t seq = session->hub->head;
    /* A cursor ahead of this worker (it came from another one) is still where the client stands. */
    for (uint32_t i = 0; i < session->sub_count; i++) {
        if (session->subs[i]->from > seq)
            seq = session->subs[i]->from;
    }
    return seq;
}

size_t gw_session_place(const struct gw_session *session, char out[64])
{
    return gw_hub_format_cursor(session->hub, session_place(session), out);
}

size_t gw_session_cursor(const struct gw_session *session, bool settled, char out[64])
{
    uint64_t seq = session_place(session);
    for (uint32_t i = 0; i < session->count; i++) {
        const struct gw_item *item = &session->items[(session->first + i) & (session->allocated - 1)];
        /* Beside messages, windows say nothing: their cursors are older. */
        if (item->type == GW_ITEM_MESSAGE && !(item->u.message->window && session->sub_count)) {
            seq = item->u.message->seq - 1;
            settled = false;
            break;
        }
    }
    if (settled && !session->lagging && !session->window_joins &&
        (session->paced || session->settled || (session->windows && !session->sub_count)))
        return gw_cursor_format_settled(out, session->hub->epoch, seq);
    return gw_hub_format_cursor(session->hub, seq, out);
}

/* --- life ---------------------------------------------------------------------------------------------------- */

void gw_session_open(struct gw_session *session, struct gw_hub *hub, const struct gw_session_ops *ops)
{
    GW_ASSERT_LOOP(hub);
    *session = (struct gw_session){
        .ops = ops, .hub = hub, .id = ++hub->next_session, .open = true, .grants = hub->auth ? hub->nothing : NULL};
    GW_LIST_ADD(hub->sessions, session, next, link);
    gw_stats_session_opened(&hub->stats, ops->transport);
}

void gw_session_close(struct gw_session *session)
{
    if (!session->open)
        return;
    struct gw_hub *hub = session->hub;
    GW_ASSERT_LOOP(hub);
    session->open = false;
    if (hub->presences)
        gw_presence_closed(hub->presences, session);
    gw_pending_drop(session);
    gw_pace_drop(session);
    gw_fetch_drop(session);
    gw_session_forget_identity(session);
    while (session->sub_count)
        gw_sub_free(hub, session->subs[--session->sub_count]);
    gw_windows_drop(session);
    free(session->subs);
    gw_session_forget_told(session);
    session->subs = NULL;
    session->sub_allocated = 0;
    session_clear_queue(session);
    gw_session_not_later(session);
    if (session->dirty) {
        struct gw_session **link = &hub->dirty;
        while (*link != session)
            link = &(*link)->next_dirty;
        *link = session->next_dirty;
        if (hub->dirty_end == &session->next_dirty)
            hub->dirty_end = link;
        session->dirty = false;
    }
    GW_LIST_REMOVE(session, next, link);
    gw_stats_session_closed(&hub->stats, session->ops->transport);
    GW_SESSION_LOG(session, GW_LOG_DEBUG, "closed");
}

void gw_session_kick(struct gw_session *session, enum gw_err why)
{
    if (session->kicked)
        return;
    session->kicked = true;
    session_clear_queue(session);
    GW_STAT_ADD(&session->hub->stats, kicked, 1);
    if (why == GW_ERR_SHUTDOWN)
        GW_SESSION_LOG(session, GW_LOG_DEBUG, "ended: %s", gw_err_code(why));
    else
        GW_SESSION_LOG_ONCE_A_SECOND(session, GW_LOG_INFO, "ended: %s", gw_err_code(why));
    session->ops->kick(session, why);
}
