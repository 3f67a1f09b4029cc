#include "mqtt/stored.h"

#include <mqtt_protocol.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/clock.h"
#include "gateway/log.h"
#include "gateway/topic.h"
#include "mqtt/source_private.h"

/* What the broker has stored seems to have come when nothing came for so long. Where nothing came at all it may only
 * be slow, and devices that find their broker empty publish anew. */
#define QUIET_MS         5000
#define QUIET_NOTHING_MS 30000
/* The same for topics that were subscribed to one by one. */
#define QUIET_TOPICS_MS         2000
#define QUIET_TOPICS_NOTHING_MS 5000
/* Unsubscribed from, though never subscribed to: brokers answer in order. */
#define PROBE "sluice/probe"
/* Topics of one channel at most: of one that has more nothing is known. */
#define TOPICS_ROOM 16
/* After this many connections that the broker has closed on such a subscription there are no more of them. */
#define STRIKES 2

static void stored_forget_batch(struct gw_stored *stored)
{
    gw_stored_ask_free(stored->ask);
    stored->ask = NULL;
    stored->count = stored->unanswered = 0;
    stored->probe = 0;
}

void gw_stored_fini(struct gw_stored *stored)
{
    stored_forget_batch(stored);
    gw_hash_set_fini(&stored->known);
    gw_buf_fini(&stored->filters);
}

static int stored_unsubscribe(struct gw_source *source, const char *filter)
{
    int mid = 0;
    int rc = source->broker.v5 ? mosquitto_unsubscribe_v5(source->mosq, &mid, filter, NULL)
                               : mosquitto_unsubscribe(source->mosq, &mid, filter);
    return rc == MOSQ_ERR_SUCCESS ? mid : 0;
}

/* Unsubscribes from the topics of the batch that are not the routes' own, and asks for a last answer. */
static void stored_leave(struct gw_source *source)
{
    struct gw_stored *stored = &source->stored;
    for (const char *at = stored->filters.data; at && at < stored->filters.data + stored->filters.len;
         at += strlen(at) + 1)
        stored_unsubscribe(source, at);
    stored->probe = stored_unsubscribe(source, PROBE);
}

void gw_stored_connected(struct gw_source *source, bool session_present)
{
    struct gw_stored *stored = &source->stored;
    stored_forget_batch(stored);
    if (session_present && stored->filters.len)
        stored_leave(source);
    gw_buf_clear(&stored->filters);
    gw_hash_set_fini(&stored->known);
    stored->state = source->broker.retain ? GW_STORED_BURST : GW_STORED_IDLE;
    stored->guess = !source->broker.v5 || !source->broker.ids;
    stored->kept = session_present;
    stored->again = false;
    stored->round++;
    stored->since_ms = gw_wall_ms();
    stored->most = 2 * (size_t)source->config->limits.channels;
    stored->arrivals = stored->seen = stored->cleared = 0;
    stored->quiet_ms = gw_monotonic_ms();
    stored->probe = 0;
}

void gw_stored_lost(struct gw_source *source, bool by_broker)
{
    struct gw_stored *stored = &source->stored;
    if (stored->state == GW_STORED_VERIFY && stored->unanswered && by_broker && ++stored->strikes == STRIKES) {
        stored->refused = true;
        gw_log(GW_LOG_WARN, "mqtt",
               "the broker closes the connection when a single topic is subscribed to: values that are cleared while "
               "there is no connection stay");
    }
    stored->state = GW_STORED_IDLE;
    stored_forget_batch(stored);
}

void gw_stored_reloaded(struct gw_source *source)
{
    source->stored.again = true;
    source->stored.refused = false;
    source->stored.strikes = 0;
    source->stored.most = 2 * (size_t)source->config->limits.channels;
}

void gw_stored_note(struct gw_stored *stored, uint64_t hash)
{
    if ((stored->state != GW_STORED_IDLE || stored->guess) && stored->known.count < stored->most)
        gw_hash_set_add(&stored->known, hash);
}

/* --- the hub's part -------------------------------------------------------------------------------------------- */

/* The routes for which nothing can have come: the broker has not granted their filter. */
static void stored_find_without(const struct gw_source *source, struct gw_buf *without)
{
    for (uint32_t i = 0; gw_routes_get(source->routes, i); i++) {
        const char *filter = gw_routes_filter(source->routes, i);
        bool granted = false;
        for (size_t j = 0; j < source->subs.count && !granted; j++) {
            const struct gw_sub_entry *entry = &source->subs.items[j];
            granted = gw_sub_is_granted(entry) &&
                      gw_topic_filter_covers(entry->filter, strlen(entry->filter), filter, strlen(filter));
        }
        gw_buf_addc(without, granted ? 0 : 1);
    }
}

static void stored_ask(struct gw_source *source)
{
    struct gw_stored *stored = &source->stored;
    struct gw_stored_ask *ask = gw_calloc(1, sizeof *ask);
    stored_forget_batch(stored);
    ask->answer = gw_stored_answered;
    ask->context = source;
    ask->round = stored->round;
    ask->since_ms = stored->since_ms;
    gw_hash_set_merge(&ask->known, &stored->known);
    stored_find_without(source, &ask->without);
    stored->state = GW_STORED_ASKED;
    const struct gw_event event = {.type = GW_EVENT_STORED, .u.stored = ask};
    gw_inbox_put(source->ingest.inboxes[0], &event);
}

void gw_stored_answered(void *context, struct gw_stored_ask *ask)
{
    struct gw_source *source = context;
    pthread_mutex_lock(&source->lock);
    gw_stored_ask_free(source->stored_answer);
    source->stored_answer = ask;
    pthread_mutex_unlock(&source->lock);
    gw_source_wake(source);
}

/* --- topic by topic -------------------------------------------------------------------------------------------- */

static void stored_finish(struct gw_source *source)
{
    struct gw_stored *stored = &source->stored;
    stored_forget_batch(stored);
    stored->state = GW_STORED_IDLE;
    if (!stored->guess)
        gw_hash_set_fini(&stored->known);
    if (stored->cleared)
        gw_log(GW_LOG_INFO, "mqtt",
               "cleared %llu last value(s) that the broker does not keep any more: they were cleared there while "
               "there was no connection",
               (unsigned long long)stored->cleared);
    stored->cleared = 0;
}

static void stored_subscribe(void *context, const struct gw_cfg_route *route, const char *filter)
{
    struct gw_source *source = context;
    struct gw_stored *stored = &source->stored;
    if (stored->count == GW_STORED_BATCH) { /* one of this channel's, for it began with room for TOPICS_ROOM */
        stored->topics[stored->count - 1].refused = true;
        return;
    }
    struct gw_stored_topic *topic = &stored->topics[stored->count++];
    *topic = (struct gw_stored_topic){.channel = stored->at, .hash = gw_hash(filter, strlen(filter))};
    /* What a transform makes is known by its topic only: the payload need not have all that it once had. */
    if (route->transform && gw_topic_has_wildcard(filter, strlen(filter))) {
        topic->refused = true;
        return;
    }
    if (gw_subscriptions_again(&source->subs, source->mosq, &source->broker, filter, stored->kept))
        return; /* it is one of the routes' filters, and so stays subscribed to */
    topic->mid = gw_subscriptions_try(&source->subs, source->mosq, &source->broker, filter);
    topic->refused = !topic->mid;
    if (topic->refused)
        return;
    stored->unanswered++;
    gw_buf_add(&stored->filters, filter, strlen(filter) + 1);
}

/* The next channels of the hub's answer. */
static void stored_next_batch(struct gw_source *source)
{
    struct gw_stored *stored = &source->stored;
    struct gw_stored_ask *ask = stored->ask;
    stored->count = 0;
    gw_buf_clear(&stored->filters);
    while (stored->at < ask->names.len && stored->count + TOPICS_ROOM <= GW_STORED_BATCH) {
        const char *name = ask->names.data + stored->at;
        size_t len = strlen(name);
        if (!gw_hash_set_has(&stored->known, gw_hash(name, len)))
            gw_routes_topics_of_channel(source->routes, name, len, stored_subscribe, source);
        stored->at += len + 1;
    }
    if (!stored->count) {
        if (ask->count == GW_STORED_NAMES)
            stored_ask(source); /* there may be more */
        else
            stored_finish(source);
        return;
    }
    stored->state = GW_STORED_VERIFY;
    stored->seen = stored->arrivals;
    stored->quiet_ms = gw_monotonic_ms();
}

/* Nothing came for any topic of the channel, and all of them were granted. */
static bool stored_is_gone(const struct gw_stored *stored, size_t *at, uint64_t hash)
{
    bool gone = !gw_hash_set_has(&stored->known, hash);
    const size_t channel = stored->topics[*at].channel;
    for (; *at < stored->count && stored->topics[*at].channel == channel; ++*at)
        gone = gone && !stored->topics[*at].refused && !gw_hash_set_has(&stored->known, stored->topics[*at].hash);
    return gone;
}

static void stored_judge(struct gw_source *source)
{
    struct gw_stored *stored = &source->stored;
    for (size_t at = 0; at < stored->count;) {
        const char *name = stored->ask->names.data + stored->topics[at].channel;
        uint64_t hash = gw_hash(name, strlen(name));
        if (stored_is_gone(stored, &at, hash)) {
            gw_ingest_clear(&source->ingest, name, strlen(name), stored->since_ms);
            stored->cleared++;
            atomic_fetch_add(&stored->cleared_total, 1);
        }
        gw_stored_note(stored, hash);
    }
    gw_buf_clear(&stored->filters);
    stored->strikes = 0;
}

bool gw_stored_subscribed(struct gw_source *source, int mid, int granted)
{
    struct gw_stored *stored = &source->stored;
    for (size_t i = 0; i < stored->count && stored->unanswered; i++) {
        if (stored->topics[i].mid != mid)
            continue;
        stored->topics[i].mid = 0;
        stored->topics[i].refused = granted >= MQTT_RC_UNSPECIFIED;
        stored->unanswered--;
        stored->quiet_ms = gw_monotonic_ms();
        return true;
    }
    return false;
}

static void stored_begin_again(struct gw_stored *stored)
{
    stored_forget_batch(stored);
    stored->again = false;
    stored->round++;
    stored->state = GW_STORED_BURST;
    stored->quiet_ms = gw_monotonic_ms();
}

void gw_stored_unsubscribed(struct gw_source *source, int mid)
{
    struct gw_stored *stored = &source->stored;
    if (!stored->probe || mid != stored->probe)
        return;
    stored->probe = 0;
    if (stored->again || (stored->state == GW_STORED_PROBE && stored->arrivals != stored->seen)) {
        stored_begin_again(stored);
    } else if (stored->state == GW_STORED_PROBE) {
        stored_ask(source);
    } else if (stored->state == GW_STORED_LEAVE) {
        stored_judge(source);
        stored_next_batch(source);
    }
}

static void stored_take_answer(struct gw_source *source)
{
    struct gw_stored *stored = &source->stored;
    pthread_mutex_lock(&source->lock);
    struct gw_stored_ask *ask = source->stored_answer;
    source->stored_answer = NULL;
    pthread_mutex_unlock(&source->lock);
    if (!ask)
        return;
    if (stored->state != GW_STORED_ASKED || ask->round != stored->round) {
        gw_stored_ask_free(ask);
        return;
    }
    if (stored->again || ask->broken_off) {
        gw_stored_ask_free(ask);
        stored_begin_again(stored);
        return;
    }
    stored->ask = ask;
    stored->at = 0;
    stored_next_batch(source);
}

void gw_stored_tick(struct gw_source *source, int64_t now_ms)
{
    struct gw_stored *stored = &source->stored;
    if (stored->state == GW_STORED_IDLE || !source->connected) {
        stored->again = false;
        return;
    }
    if (stored->arrivals != stored->seen || source->subs.unanswered || stored->unanswered) {
        stored->seen = stored->arrivals;
        stored->quiet_ms = now_ms;
    }
    int64_t quiet = now_ms - stored->quiet_ms;
    if (stored->state == GW_STORED_ASKED) {
        stored_take_answer(source);
    } else if (stored->state == GW_STORED_BURST && quiet >= (stored->arrivals ? QUIET_MS : QUIET_NOTHING_MS)) {
        if (stored->refused || stored->known.count >= stored->most || gw_subscriptions_has(&source->subs, PROBE)) {
            stored->state = GW_STORED_IDLE;
            return;
        }
        stored->state = GW_STORED_PROBE;
        stored->probe = stored_unsubscribe(source, PROBE);
    } else if (stored->state == GW_STORED_VERIFY &&
               quiet >= (stored->arrivals ? QUIET_TOPICS_MS : QUIET_TOPICS_NOTHING_MS)) {
        stored->state = GW_STORED_LEAVE;
        stored_leave(source);
    }
}
