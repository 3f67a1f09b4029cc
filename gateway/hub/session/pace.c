/* pace.c: at most one value per interval, session and channel, and always the last one (`rate: latest`, `interval`).
 *
 * After a value was queued a pause begins; a value that comes within it is held, and replaced by a newer one. At the
 * end of the pause the held value is queued and the next pause begins; if nothing is held, the pause is forgotten. So
 * a value that comes after silence goes at once, and an idle channel costs nothing.
 *
 * A held value may be queued after messages of other channels with higher sequence numbers. It then goes out with the
 * cursor of the newest of those, so that a client's position never moves back. A client that disconnects while a
 * value is held has a cursor beyond it: that is repaired when it resumes (round_paced() in catchup.c).
 *
 * A held value is almost always the channel's last value too, so holding costs no memory of its own. */
#include "hub/session/pace.h"

#include <stdlib.h>

#include "gateway/alloc.h"
#include "gateway/container.h"
#include "gateway/hub.h"
#include "gateway/list.h"
#include "gateway/table.h"
#include "gateway/topic.h"
#include "hub/channel/channel.h"
#include "hub/hub_private.h"
#include "hub/session/queue.h"
#include "hub/session/subscription.h"

struct gw_pause {
    struct gw_timer timer; /* first member; the end of the pause */
    struct gw_session *session;
    uint64_t channel; /* gw_channel.number */
    int64_t interval_ms;
    struct gw_message *held; /* NULL: nothing came since */
    struct gw_table_item item;
    struct gw_pause *next, **link; /* of the same session */
};

void gw_session_pace_from(struct gw_session *session, int64_t now_ms)
{
    session->pace_from_ms = now_ms;
}

void gw_pauses_fini(struct gw_table *pauses)
{
    assert(!pauses->count);
    gw_table_empty(pauses);
}

static uint64_t pause_hash(const struct gw_session *session, const struct gw_channel *channel)
{
    uint64_t hash = (uint64_t)(uintptr_t)session >> 4 ^ channel->number * 0x9e3779b97f4a7c15u;
    return (hash * 0xff51afd7ed558ccdu) >> 32;
}

static struct gw_pause *pause_find(const struct gw_session *session, const struct gw_channel *channel)
{
    struct gw_table_item *item = gw_table_first(&session->hub->pauses, pause_hash(session, channel));
    for (; item; item = gw_table_next(item)) {
        struct gw_pause *pause = GW_CONTAINER_OF(item, struct gw_pause, item);
        if (pause->session == session && pause->channel == channel->number)
            return pause;
    }
    return NULL;
}

static void pause_free(struct gw_pause *pause)
{
    struct gw_hub *hub = pause->session->hub;
    gw_timer_cancel(hub->timers, &pause->timer);
    gw_table_remove(&hub->pauses, &pause->item);
    GW_LIST_REMOVE(pause, next, link);
    pause->session->pause_count--;
    gw_message_unref(pause->held);
    free(pause);
}

/* Queues the held value. */
static void pause_release(struct gw_pause *pause)
{
    struct gw_message *msg = pause->held;
    pause->held = NULL;
    gw_session_queue(pause->session, msg);
    gw_message_unref(msg);
}

static void pause_over(struct gw_timer *timer)
{
    struct gw_pause *pause = (struct gw_pause *)timer;
    struct gw_session *session = pause->session;
    if (!pause->held || session->kicked) {
        pause_free(pause);
        return;
    }
    /* A client that does not read goes on holding: the value may be replaced until there is room. */
    if (gw_session_has_room(session))
        pause_release(pause);
    gw_timer_set(session->hub->timers, timer, session->hub->now_ms + pause->interval_ms);
}

static struct gw_pause *pause_begin(struct gw_session *session, const struct gw_channel *channel, int64_t interval_ms,
                                    int64_t due_ms)
{
    struct gw_hub *hub = session->hub;
    struct gw_pause *pause = gw_calloc(1, sizeof *pause);
    pause->timer.fire = pause_over;
    pause->session = session;
    pause->channel = channel->number;
    pause->interval_ms = interval_ms;
    gw_table_add(&hub->pauses, &pause->item, pause_hash(session, channel));
    GW_LIST_ADD(session->pauses, pause, next, link);
    session->pause_count++;
    gw_timer_set(hub->timers, &pause->timer, due_ms);
    return pause;
}

/* The pauses of a session are bounded, so that they take no more memory than its queue may; beyond that values go
 * unpaced.
 */
static bool pause_allowed(const struct gw_session *session)
{
    return session->pause_count < session->hub->config->limits.queue_bytes / sizeof(struct gw_pause);
}

static void pause_hold(struct gw_pause *pause, struct gw_message *msg)
{
    if (pause->held) {
        gw_message_unref(pause->held);
        GW_STAT_ADD(&pause->session->hub->stats, conflated, 1);
    }
    pause->held = gw_message_ref(msg);
}

void gw_pace_deliver(struct gw_session *session, const struct gw_channel *channel, struct gw_message *msg,
                     int64_t interval_ms)
{
    struct gw_hub *hub = session->hub;
    session->paced = true;
    if (session->lagging || session->kicked) {
        session->stamp = msg->seq; /* what it missed, catching up will find */
        return;
    }
    struct gw_pause *pause = pause_find(session, channel);
    if (!pause && session->pace_from_ms && session->pace_from_ms + interval_ms > hub->now_ms &&
        pause_allowed(session))
        pause = pause_begin(session, channel, interval_ms, session->pace_from_ms + interval_ms);
    if (!pause) {
        gw_session_deliver(session, msg);
        if (pause_allowed(session) && !session->lagging)
            pause_begin(session, channel, interval_ms, hub->now_ms + interval_ms);
        return;
    }
    session->stamp = msg->seq;
    pause_hold(pause, msg);
    if (interval_ms < pause->interval_ms) { /* it has subscribed anew, to go faster */
        pause->interval_ms = interval_ms;
        if (pause->timer.due_ms > hub->now_ms + interval_ms)
            gw_timer_set(hub->timers, &pause->timer, hub->now_ms + interval_ms);
    }
    pause->interval_ms = interval_ms;
}

bool gw_pace_catch_up(struct gw_session *session, const struct gw_channel *channel, struct gw_message *msg,
                      int64_t interval_ms)
{
    struct gw_pause *pause = pause_find(session, channel);
    session->paced = true;
    if (session->pace_from_ms && session->pace_from_ms + interval_ms > session->hub->now_ms &&
        pause_allowed(session)) {
        if (!pause)
            pause = pause_begin(session, channel, interval_ms, session->pace_from_ms + interval_ms);
        pause_hold(pause, msg);
        return true;
    }
    if (pause && pause->held) { /* never newer than what follows now */
        gw_message_unref(pause->held);
        pause->held = NULL;
        GW_STAT_ADD(&session->hub->stats, conflated, 1);
    }
    return false;
}

void gw_session_flush_held(struct gw_session *session)
{
    for (struct gw_pause *pause = session->pauses; pause; pause = pause->next) {
        if (pause->held)
            pause_release(pause);
    }
}

void gw_pace_review(struct gw_session *session, struct gw_message *(*show)(struct gw_session *, struct gw_message *))
{
    for (struct gw_pause *pause = session->pauses; pause; pause = pause->next) {
        struct gw_message *held = pause->held, *shown = held ? show(session, held) : NULL;
        pause->held = shown ? gw_message_ref(shown) : NULL;
        gw_message_unref(held);
    }
}

void gw_pace_drop(struct gw_session *session)
{
    while (session->pauses)
        pause_free(session->pauses);
}

int64_t gw_session_interval(const struct gw_session *session, const struct gw_channel *channel)
{
    int64_t fastest = -1;
    for (uint32_t i = 0; i < session->sub_count; i++) {
        const struct gw_sub *sub = session->subs[i];
        if ((fastest < 0 || sub->interval_ms < fastest) &&
            gw_topic_matches(sub->filter->text, sub->filter->len, channel->name, channel->len))
            fastest = sub->interval_ms;
    }
    return channel->interval_ms > fastest ? channel->interval_ms : fastest;
}
