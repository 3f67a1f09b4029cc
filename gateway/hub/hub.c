/* hub.c: events in, and fan-out to sessions. What transports ask is in questions.c. */
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/auth.h"
#include "gateway/hub.h"
#include "gateway/log.h"
#include "hub/access.h"
#include "hub/channel/channel.h"
#include "hub/channel/views.h"
#include "hub/hub_private.h"
#include "hub/inbox.h"
#include "hub/lost.h"
#include "hub/moments.h"
#include "hub/publish/confirm.h"
#include "hub/publish/pending.h"
#include "hub/series/series.h"
#include "hub/session/fetch.h"
#include "hub/session/giveback.h"
#include "hub/session/pace.h"
#include "hub/session/presence.h"
#include "hub/session/queue.h"
#include "hub/session/subscription.h"
#include "hub/slice.h"
#include "hub/stats.h"
#include "hub/stored.h"
#include "route/routes.h"
#include "topic/topic_tree.h"

struct gw_hub *gw_hub_create(const struct gw_hub_setup *setup)
{
    struct gw_hub *hub = gw_calloc(1, sizeof *hub);
    hub->config = gw_config_ref(setup->config);
    hub->routes = gw_routes_ref(setup->routes);
    hub->auth = gw_auth_ref(setup->auth);
    hub->nothing = gw_grants_create();
    hub->upstream = setup->upstream;
    hub->mail = setup->mail;
    hub->watch = setup->watch;
    hub->sharing = setup->sharing;
    hub->sharing_store = setup->sharing_store;
    hub->timers = setup->timers;
    hub->repeats = setup->repeats;
    hub->route_stats = setup->route_stats;
    hub->worker = setup->worker;
    strncpy(hub->epoch, setup->epoch, GW_EPOCH_MAX);
    hub->filters = gw_topic_tree_create();
    hub->dirty_end = &hub->dirty;
    gw_slices_init(&hub->slices);
    hub->filters_at = 1;
    gw_channels_init(&hub->channels);
    hub->presences = gw_presence_select(hub->config);
    return hub;
}

void gw_hub_destroy(struct gw_hub *hub)
{
    if (!hub)
        return;
    assert(!hub->sessions);
    gw_stored_ask_free(hub->stored_ask);
    gw_fetches_fini(hub);
    gw_giveback_all(&hub->giveback);
    gw_channels_fini(&hub->channels);
    gw_pauses_fini(&hub->pauses);
    gw_topic_tree_destroy(hub->filters);
    gw_pending_fini(hub);
    free(hub->presences);
    gw_grants_unref(hub->nothing);
    gw_auth_unref(hub->auth);
    gw_routes_unref(hub->routes);
    gw_config_unref(hub->config);
    free(hub);
}

void gw_hub_tick(struct gw_hub *hub, int64_t monotonic_ms, int64_t wall_ms)
{
    if (!hub->thread_known) {
        hub->thread = pthread_self();
        hub->thread_known = true;
    }
    hub->now_ms = monotonic_ms;
    hub->wall_ms = wall_ms;
}

/* The pace of a session for which `sub` is one that matches the channel. */
static int64_t hub_interval(const struct gw_channel *channel, const struct gw_sub *sub)
{
    if (!sub->interval_ms || sub->session->sub_count == 1)
        return sub->interval_ms > channel->interval_ms ? sub->interval_ms : channel->interval_ms;
    return gw_session_interval(sub->session, channel);
}

/* So many sessions have taken the message. */
static inline void hub_took(struct gw_hub *hub, struct gw_message *msg, uint32_t taken)
{
    if (!taken)
        return;
    gw_message_ref_many(msg, taken);
    GW_STAT_ADD(&hub->stats, deliveries, taken);
}

/* The hot path: every subscriber of every filter that matches the channel, each session once. Neighbours mostly have
 * the same grants, so what those see is looked up only where they change, and the references of all who took it are
 * taken together (giveback.c). Until then the event's own keeps the message, or the message its projection. */
static void hub_fan_out(struct gw_hub *hub, struct gw_channel *channel, struct gw_message *msg)
{
    gw_channel_filters(hub, channel);
    const struct gw_grants *grants = NULL;
    struct gw_message *shown = msg;
    uint32_t taken = 0; /* of `shown`, without a reference yet */
    for (uint32_t i = 0; i < channel->filter_count; i++) {
        const struct gw_filter *filter = channel->filters[i];
        for (uint32_t j = 0; j < filter->count; j++) {
            const struct gw_sub *sub = filter->subs[j];
            if (sub->session->stamp == msg->seq || msg->seq <= sub->from)
                continue;
            if (sub->session->grants != grants) {
                hub_took(hub, shown, taken);
                taken = 0;
                grants = sub->session->grants;
                shown = gw_channel_show(hub, channel, grants, msg);
            }
            if (!shown)
                continue;
            int64_t interval = channel->interval_ms | sub->interval_ms ? hub_interval(channel, sub) : 0;
            if (interval)
                gw_pace_deliver(sub->session, channel, shown, interval);
            else if (gw_session_take(sub->session, shown))
                taken++;
        }
    }
    hub_took(hub, shown, taken);
}

/* Is the message of use for longer than the last value, so that it is news though it be the same? What the broker
 * says of one that it sends again is rounded to seconds. */
static bool hub_lives_longer(const struct gw_message *last, const struct gw_message *msg)
{
    return last->expires_ms &&
           (!msg->expires_ms || msg->expires_ms > last->expires_ms + 2000 || gw_message_is_expired(last, msg->ts));
}

/* The broker sends retained messages again whenever we subscribe again; what we have already is no news. */
bool gw_hub_repeats(const struct gw_message *last, const struct gw_message *msg)
{
    if (msg->retained && msg->clear) /* the broker keeps no value any more: it is news if ours is from before */
        return !last || last->ts >= msg->ts;
    if (last && msg->retained && hub_lives_longer(last, msg))
        return false;
    return msg->retained && last && last->payload.len == msg->payload.len &&
           !memcmp(last->payload.data, msg->payload.data, msg->payload.len);
}

/* Policy on_change: is what it looks at the same as in the channel's last value, or within the deadband of it? That
 * value is what clients see, so a slow drift passes once it has left the band. */
bool gw_hub_unchanged(const struct gw_routes *routes, uint32_t route, const struct gw_message *last,
                      const struct gw_message *msg)
{
    if (!msg->watched.data || !last || !last->watched.data)
        return false;
    if (last->expires_ms && (!msg->expires_ms || msg->expires_ms > last->expires_ms) &&
        msg->ts - last->ts > (last->expires_ms - last->ts) / 2)
        return false; /* it is time to renew it */
    if (msg->is_number && last->is_number) {
        double difference = msg->number - last->number;
        return (difference < 0 ? -difference : difference) <= gw_routes_get(routes, route)->rate_deadband;
    }
    return msg->watched.len == last->watched.len && !memcmp(msg->watched.data, last->watched.data, msg->watched.len);
}

static void hub_on_message(struct gw_hub *hub, struct gw_message *msg)
{
    if (msg->state) {
        gw_hub_on_state(hub, msg);
        gw_message_unref(msg);
        return;
    }
    GW_STAT_ADD(&hub->stats, messages, 1);
    struct gw_channel *channel = gw_channel_of(hub, msg);
    if (!channel) {
        GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "hub",
                             "dropped a message on '%s': it came by the engine, and no route here makes this channel",
                             msg->channel.data);
        hub->head = msg->seq;
    } else if (gw_hub_repeats(channel->last, msg)) {
        channel->stored |= msg->stored;
        GW_STAT_ADD(&hub->stats, repeats, 1);
    } else if (gw_hub_unchanged(hub->routes, channel->route, channel->last, msg)) {
        GW_STAT_ADD(&hub->stats, unchanged, 1);
        if (hub->confirms.count && !msg->retained)
            gw_confirms_see(hub, channel->last);
    } else {
        gw_moment_note(&hub->moments, msg->seq, msg->born_ns);
        hub->head = msg->seq;
        hub->unflushed += msg->text.len;
        gw_channel_append(hub, channel, msg);
        if (hub->series_catching)
            gw_series_catch(hub, msg);
        uint64_t before = atomic_load_explicit(&hub->stats.deliveries, memory_order_relaxed);
        hub_fan_out(hub, channel, msg);
        if (atomic_load_explicit(&hub->stats.deliveries, memory_order_relaxed) != before)
            gw_stats_arrived(&hub->arrivals, msg->born_ns);
        if (hub->confirms.count && !msg->retained)
            gw_confirms_see(hub, msg);
        if (hub->windows.shapes)
            gw_windows_see(hub, channel, msg);
    }
    gw_message_unref(msg);
}

static void hub_on_upstream(struct gw_hub *hub, const struct gw_upstream_state *state)
{
    hub->state = *state;
    for (struct gw_session *session = hub->sessions, *next; session; session = next) {
        next = session->next;
        if (session->ops->upstream && !session->kicked)
            session->ops->upstream(session, state);
    }
}

static void hub_on_reload(struct gw_hub *hub, struct gw_config *config, struct gw_routes *routes,
                          struct gw_auth *auth)
{
    gw_config_unref(hub->config);
    gw_routes_unref(hub->routes);
    gw_auth_unref(hub->auth);
    hub->config = config;
    hub->routes = routes;
    hub->auth = auth;
    gw_hub_stored_break_off(hub);
    gw_channels_relimit(hub);
    gw_hub_identify_again(hub);
}

void gw_hub_handle(struct gw_hub *hub, struct gw_event *event)
{
    GW_ASSERT_LOOP(hub);
    switch (event->type) {
    case GW_EVENT_MESSAGE:
        hub_on_message(hub, event->u.message);
        break;
    case GW_EVENT_UPSTREAM:
        hub_on_upstream(hub, &event->u.upstream);
        break;
    case GW_EVENT_PUBLISHED:
        gw_hub_settle(hub, &event->u.result);
        break;
    case GW_EVENT_RESPONSE:
        gw_hub_respond(hub, &event->u.response);
        break;
    case GW_EVENT_LOST:
        gw_hub_lost(hub, event->u.lost);
        break;
    case GW_EVENT_EPOCH:
        gw_hub_new_epoch(hub, event->u.epoch);
        break;
    case GW_EVENT_STORED:
        gw_hub_stored_ask(hub, event->u.stored);
        break;
    case GW_EVENT_RELOAD:
        hub_on_reload(hub, event->u.reload.config, event->u.reload.routes, event->u.reload.auth);
        break;
    case GW_EVENT_STOP:
        break; /* the worker's business */
    }
    /* Messages of one batch are joined in the sessions' queues, but a batch larger than a queue must not make a
     * session look slow that has had no chance to send yet. */
    if (hub->unflushed > hub->config->limits.queue_bytes / 2)
        gw_hub_flush(hub);
}

void gw_hub_flush(struct gw_hub *hub)
{
    GW_ASSERT_LOOP(hub);
    hub->unflushed = 0;
    gw_slices_begin(hub);
    while (hub->dirty) {
        struct gw_session *session = hub->dirty;
        hub->dirty = session->next_dirty;
        if (!hub->dirty)
            hub->dirty_end = &hub->dirty;
        session->dirty = false;
        if (!session->kicked)
            session->ops->ready(session);
    }
    if (hub->slices.later)
        gw_slices_resume(hub);
    gw_giveback_all(&hub->giveback);
    gw_stats_flushed(hub);
}

void gw_hub_kick_all(struct gw_hub *hub, enum gw_err why)
{
    while (true) {
        struct gw_session *session = hub->sessions;
        while (session && session->kicked)
            session = session->next;
        if (!session)
            return;
        gw_session_kick(session, why);
    }
}

bool gw_hub_empty(const struct gw_hub *hub)
{
    return !hub->sessions;
}
