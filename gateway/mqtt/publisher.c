#include "mqtt/publisher.h"

#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/clock.h"
#include "gateway/log.h"
#include "mqtt/publisher_send.h"
#include "mqtt/reason.h"

/* A broker that acknowledges nothing for this many time-outs, while publishes wait for that, is connected to anew. */
#define STUCK_AFTER 3

struct gw_flight {
    struct gw_flight *next;
    struct gw_publish *publish; /* while it waits; NULL: it is with libmosquitto */
    uint64_t token;
    uint32_t worker;
    int mid, qos;
    enum gw_err err; /* why it was not sent */
    unsigned breaks; /* connections that were lost while it was on them */
    int64_t deadline_ms;
};

void gw_publisher_init(struct gw_publisher *publisher, struct gw_inbox **inboxes, unsigned workers,
                       void (*wake)(void *), void *context)
{
    memset(publisher, 0, sizeof *publisher);
    pthread_mutex_init(&publisher->lock, NULL);
    gw_responses_init(&publisher->responses);
    publisher->broker = gw_abilities_default(true);
    publisher->inboxes = inboxes;
    publisher->workers = workers;
    publisher->wake = wake;
    publisher->wake_context = context;
    publisher->waiting_end = &publisher->waiting;
}

static void flight_free(struct gw_flight *flight)
{
    free(flight->publish);
    free(flight);
}

static void flights_free(struct gw_flight *list)
{
    for (struct gw_flight *next; list; list = next) {
        next = list->next;
        flight_free(list);
    }
}

void gw_publisher_fini(struct gw_publisher *publisher)
{
    for (size_t i = 0; i < sizeof publisher->flights / sizeof *publisher->flights; i++)
        flights_free(publisher->flights[i]);
    flights_free(publisher->waiting);
    gw_responses_fini(&publisher->responses);
    pthread_mutex_destroy(&publisher->lock);
}

void gw_publisher_configure(struct gw_publisher *publisher, const struct gw_config *config)
{
    pthread_mutex_lock(&publisher->lock);
    publisher->limit = config->limits.publish_queue;
    publisher->queue_while_down = config->broker.queue_while_down;
    publisher->timeout_ms = config->broker.publish_timeout_ms;
    publisher->responses.closed_on = false;
    if (!publisher->mosq)
        publisher->broker = gw_abilities_default(config->broker.protocol != MQTT_PROTOCOL_V311);
    pthread_mutex_unlock(&publisher->lock);
}

static struct gw_flight **publisher_bucket(struct gw_publisher *publisher, int mid)
{
    return &publisher->flights[(unsigned)mid % (sizeof publisher->flights / sizeof *publisher->flights)];
}

static struct gw_flight *flight_create(const struct gw_publish *publish, int mid)
{
    struct gw_flight *flight = gw_calloc(1, sizeof *flight);
    flight->token = publish->token;
    flight->worker = publish->worker;
    flight->qos = publish->qos;
    flight->deadline_ms = publish->deadline_ms;
    flight->mid = mid;
    return flight;
}

/* Lock held. */
static void publisher_track(struct gw_publisher *publisher, struct gw_flight *flight)
{
    struct gw_flight **bucket = publisher_bucket(publisher, flight->mid);
    flight->next = *bucket;
    *bucket = flight;
    publisher->count++;
    publisher->window += flight->qos > 0;
}

/* Lock held. */
static void publisher_wait(struct gw_publisher *publisher, struct gw_publish **publish)
{
    struct gw_flight *flight = flight_create(*publish, 0);
    flight->publish = *publish;
    *publish = NULL;
    *publisher->waiting_end = flight;
    publisher->waiting_end = &flight->next;
    publisher->count++;
}

/* Lock held. */
static enum gw_err publisher_refuses(struct gw_publisher *publisher, const struct gw_publish *publish)
{
    if (publish->request && !publisher->broker.v5)
        return GW_ERR_UNSUPPORTED;
    if (publish->request && publisher->responses.refused) {
        GW_LOG_ONCE_A_SECOND(GW_LOG_ERROR, "mqtt",
                             "no requests: the broker refuses the subscription to '%s' (broker.response_topic)",
                             publisher->responses.topic);
        return GW_ERR_FORBIDDEN;
    }
    if (!publisher->mosq && !publisher->queue_while_down)
        return GW_ERR_UPSTREAM_DOWN;
    if (publisher->count >= publisher->limit) {
        GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "mqtt", "limits.publish_queue (%u) reached", publisher->limit);
        return publisher->mosq ? GW_ERR_OVERLOADED : GW_ERR_UPSTREAM_DOWN;
    }
    return GW_OK;
}

enum gw_err gw_publisher_publish(void *context, struct gw_publish **publish)
{
    struct gw_publisher *publisher = context;
    pthread_mutex_lock(&publisher->lock);
    bool full = publisher->window >= publisher->broker.in_flight || publisher->waiting;
    enum gw_err err = publisher_refuses(publisher, *publish);
    if (err == GW_OK && (!publisher->mosq || ((*publish)->qos > 0 && full))) {
        publisher_wait(publisher, publish);
    } else if (err == GW_OK) {
        int mid = 0;
        err = gw_publisher_send(publisher, *publish, &mid);
        if (err == GW_OK) {
            publisher_track(publisher, flight_create(*publish, mid));
            free(*publish);
            *publish = NULL;
        }
    }
    pthread_mutex_unlock(&publisher->lock);
    if (err == GW_OK)
        publisher->wake(publisher->wake_context);
    return err;
}

static void publisher_answer(struct gw_publisher *publisher, const struct gw_flight *flight, enum gw_err err,
                             int reason)
{
    struct gw_event event = {
        .type = GW_EVENT_PUBLISHED,
        .u.result = {.token = flight->token, .err = err, .reason = reason},
    };
    atomic_fetch_add_explicit(err == GW_OK ? &publisher->published : &publisher->rejected, 1, memory_order_relaxed);
    /* At QoS 0 its client had `accepted` long ago, and waits only if it was a request. */
    if (flight->qos > 0 || (flight->publish && flight->publish->request))
        gw_inbox_put(publisher->inboxes[flight->worker], &event);
}

/* `err` GW_OK: each has its own. */
static void publisher_answer_all(struct gw_publisher *publisher, struct gw_flight *list, enum gw_err err)
{
    for (struct gw_flight *next; list; list = next) {
        next = list->next;
        publisher_answer(publisher, list, err == GW_OK ? list->err : err, 0);
        flight_free(list);
    }
}

/* Lock held. Takes those out of the waiting list whose time is up. */
static struct gw_flight *publisher_take_late(struct gw_publisher *publisher, int64_t now_ms)
{
    struct gw_flight *late = NULL, **link = &publisher->waiting;
    for (struct gw_flight *flight; (flight = *link);) {
        if (now_ms < flight->deadline_ms) {
            link = &flight->next;
            continue;
        }
        *link = flight->next;
        publisher->count--;
        flight->next = late;
        late = flight;
    }
    publisher->waiting_end = link;
    return late;
}

/* Lock held. Hands over what waits, as far as the broker takes more. What can't be sent comes back as a list. */
static struct gw_flight *publisher_send_waiting(struct gw_publisher *publisher)
{
    struct gw_flight *failed = NULL;
    while (publisher->mosq && publisher->waiting &&
           (publisher->waiting->qos == 0 || publisher->window < publisher->broker.in_flight)) {
        struct gw_flight *flight = publisher->waiting;
        publisher->waiting = flight->next;
        publisher->count--;
        flight->err = gw_monotonic_ms() >= flight->deadline_ms
                          ? GW_ERR_TIMEOUT
                          : gw_publisher_send(publisher, flight->publish, &flight->mid);
        if (flight->err != GW_OK) {
            flight->next = failed;
            failed = flight;
            continue;
        }
        free(flight->publish);
        flight->publish = NULL;
        publisher_track(publisher, flight);
    }
    if (!publisher->waiting)
        publisher->waiting_end = &publisher->waiting;
    return failed;
}

/* Lock held. Is there one with libmosquitto whose client has been answered? */
static bool publisher_is_stale(const struct gw_publisher *publisher, int64_t now_ms)
{
    for (size_t i = 0; i < sizeof publisher->flights / sizeof *publisher->flights; i++) {
        for (const struct gw_flight *flight = publisher->flights[i]; flight; flight = flight->next) {
            if (now_ms >= flight->deadline_ms)
                return true;
        }
    }
    return false;
}

bool gw_publisher_is_stale(struct gw_publisher *publisher)
{
    pthread_mutex_lock(&publisher->lock);
    bool stale = publisher_is_stale(publisher, gw_monotonic_ms());
    pthread_mutex_unlock(&publisher->lock);
    return stale;
}

void gw_publisher_connected(struct gw_publisher *publisher, struct mosquitto *mosq, const struct gw_abilities *broker)
{
    int64_t now_ms = gw_monotonic_ms();
    pthread_mutex_lock(&publisher->lock);
    publisher->broker = *broker;
    publisher->mosq = mosq;
    publisher->heard_ms = now_ms;
    gw_responses_connected(&publisher->responses, broker->v5 ? mosq : NULL, broker->ids);
    struct gw_flight *late = publisher_take_late(publisher, now_ms);
    struct gw_flight *failed = publisher_send_waiting(publisher);
    pthread_mutex_unlock(&publisher->lock);
    publisher_answer_all(publisher, late, GW_ERR_UPSTREAM_DOWN);
    publisher_answer_all(publisher, failed, GW_OK);
}

/* Lock held. Everything that libmosquitto has, as a list. */
static struct gw_flight *publisher_take_flights(struct gw_publisher *publisher)
{
    struct gw_flight *all = NULL;
    for (size_t i = 0; i < sizeof publisher->flights / sizeof *publisher->flights; i++) {
        for (struct gw_flight *flight = publisher->flights[i], *next; flight; flight = next) {
            next = flight->next;
            flight->next = all;
            all = flight;
            publisher->count--;
        }
        publisher->flights[i] = NULL;
    }
    publisher->window = 0;
    return all;
}

/* Lock held. May libmosquitto go on with what it has, on another connection? Only if nobody has been answered yet,
 * and nothing of it has broken a connection before. */
static bool publisher_may_go_on(struct gw_publisher *publisher, bool broken, int64_t now_ms)
{
    bool may = publisher->window > 0 && !publisher_is_stale(publisher, now_ms);
    for (size_t i = 0; i < sizeof publisher->flights / sizeof *publisher->flights; i++) {
        for (struct gw_flight *flight = publisher->flights[i]; flight; flight = flight->next)
            may = (flight->breaks += broken) < 2 && flight->qos > 0 && may;
    }
    return may;
}

bool gw_publisher_lost(struct gw_publisher *publisher, const struct gw_loss *loss)
{
    struct gw_flight *all = NULL;
    int64_t now_ms = gw_monotonic_ms();
    pthread_mutex_lock(&publisher->lock);
    bool broken = publisher->mosq != NULL;
    if (broken && loss->why) {
        gw_blame_lost(&publisher->blame, loss->why, loss->by_broker, now_ms);
        gw_responses_lost(&publisher->responses, loss->by_broker);
    }
    publisher->mosq = NULL;
    bool drop = !loss->kept || !publisher_may_go_on(publisher, broken, now_ms);
    if (drop)
        all = publisher_take_flights(publisher);
    pthread_mutex_unlock(&publisher->lock);
    publisher_answer_all(publisher, all, GW_ERR_UPSTREAM_DOWN);
    return drop;
}

void gw_publisher_acknowledged(struct gw_publisher *publisher, int mid, int reason,
                               const mosquitto_property *properties)
{
    pthread_mutex_lock(&publisher->lock);
    struct gw_flight **link = publisher_bucket(publisher, mid), *flight, *failed;
    while ((flight = *link) && flight->mid != mid)
        link = &flight->next;
    if (flight) {
        *link = flight->next;
        publisher->count--;
        publisher->window -= flight->qos > 0;
    }
    publisher->heard_ms = gw_monotonic_ms();
    gw_blame_acknowledged(&publisher->blame, mid);
    failed = publisher_send_waiting(publisher);
    pthread_mutex_unlock(&publisher->lock);
    publisher_answer_all(publisher, failed, GW_OK);
    if (!flight)
        return;
    enum gw_err err = GW_OK;
    if (reason >= 0x80) {
        char words[GW_REASON_MAX];
        GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "mqtt", "the broker refused a publish: %s",
                             gw_reason_words(words, reason, properties));
        err = reason == MQTT_RC_NOT_AUTHORIZED     ? GW_ERR_FORBIDDEN
              : reason == MQTT_RC_QUOTA_EXCEEDED   ? GW_ERR_OVERLOADED
              : reason == MQTT_RC_PACKET_TOO_LARGE ? GW_ERR_TOO_LARGE
                                                   : GW_ERR_REJECTED;
    }
    publisher_answer(publisher, flight, err, reason);
    flight_free(flight);
}

void gw_publisher_set_response_topic(struct gw_publisher *publisher, const struct gw_cfg_broker *broker)
{
    pthread_mutex_lock(&publisher->lock);
    gw_responses_set_topic(&publisher->responses, broker);
    pthread_mutex_unlock(&publisher->lock);
}

bool gw_publisher_has_topic(struct gw_publisher *publisher, const char *filter)
{
    pthread_mutex_lock(&publisher->lock);
    bool same = publisher->responses.topic && !strcmp(publisher->responses.topic, filter);
    pthread_mutex_unlock(&publisher->lock);
    return same;
}

bool gw_publisher_subscribed(struct gw_publisher *publisher, int mid, int granted)
{
    pthread_mutex_lock(&publisher->lock);
    bool ours = gw_responses_subscribed(&publisher->responses, mid, granted);
    pthread_mutex_unlock(&publisher->lock);
    return ours;
}

bool gw_publisher_respond(struct gw_publisher *publisher, const struct gw_packet *packet,
                          const mosquitto_property *properties)
{
    unsigned worker = 0;
    uint64_t token = 0;
    enum gw_response_kind kind =
        gw_responses_match(&publisher->responses, packet, properties, publisher->workers, &worker, &token);
    if (kind == GW_RESPONSE_UNKNOWN)
        atomic_fetch_add_explicit(&publisher->responses_unknown, 1, memory_order_relaxed);
    if (kind != GW_RESPONSE_FOUND)
        return kind != GW_RESPONSE_NONE;
    struct gw_event event = {.type = GW_EVENT_RESPONSE, .u.response = {.token = token, .len = packet->payload_len}};
    if (packet->payload_len) {
        event.u.response.payload = gw_malloc(packet->payload_len);
        memcpy(event.u.response.payload, packet->payload, packet->payload_len);
    }
    gw_inbox_put(publisher->inboxes[worker], &event);
    return true;
}

enum gw_publisher_state gw_publisher_expire(struct gw_publisher *publisher, int64_t now_ms)
{
    enum gw_publisher_state state = GW_PUBLISHER_WELL;
    pthread_mutex_lock(&publisher->lock);
    struct gw_flight *late = publisher_take_late(publisher, now_ms);
    bool down = publisher->mosq == NULL;
    bool silent = now_ms - publisher->heard_ms > STUCK_AFTER * publisher->timeout_ms;
    if (down && publisher_is_stale(publisher, now_ms))
        state = GW_PUBLISHER_STALE;
    else if (!down && silent && (late || publisher->count >= publisher->limit))
        state = GW_PUBLISHER_STUCK;
    pthread_mutex_unlock(&publisher->lock);
    publisher_answer_all(publisher, late, down ? GW_ERR_UPSTREAM_DOWN : GW_ERR_TIMEOUT);
    return state;
}
