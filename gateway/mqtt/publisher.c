#include "mqtt/publisher.h"

#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "gateway/buf.h"

/* A flight whose worker gave up long ago is kept this many time-outs, in case libmosquitto still delivers it. */
#define FORGET_AFTER 10

struct gw_flight {
    struct gw_flight *next;
    struct gw_publish *publish; /* until it is sent */
    uint64_t token;
    uint32_t worker;
    int mid;
    int64_t since_ms;
};

void gw_publisher_init(struct gw_publisher *publisher, struct gw_inbox **inboxes, unsigned workers,
                       void (*wake)(void *), void *context)
{
    memset(publisher, 0, sizeof *publisher);
    pthread_mutex_init(&publisher->lock, NULL);
    publisher->inboxes = inboxes;
    publisher->workers = workers;
    publisher->wake = wake;
    publisher->wake_context = context;
    publisher->waiting_end = &publisher->waiting;
    if (getrandom(&publisher->nonce, sizeof publisher->nonce, 0) != sizeof publisher->nonce)
        publisher->nonce = (uint32_t)gw_monotonic_ns();
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
    free(publisher->response_topic);
    pthread_mutex_destroy(&publisher->lock);
}

void gw_publisher_configure(struct gw_publisher *publisher, const struct gw_config *config)
{
    pthread_mutex_lock(&publisher->lock);
    publisher->limit = config->limits.publish_queue;
    publisher->queue_while_down = config->broker.queue_while_down;
    publisher->timeout_ms = config->broker.publish_timeout_ms;
    if (!publisher->mosq)
        publisher->v5 = config->broker.protocol == MQTT_PROTOCOL_V5;
    pthread_mutex_unlock(&publisher->lock);
}

static struct gw_flight **publisher_bucket(struct gw_publisher *publisher, int mid)
{
    return &publisher->flights[(unsigned)mid % (sizeof publisher->flights / sizeof *publisher->flights)];
}

static enum gw_err publisher_error(int rc)
{
    switch (rc) {
    case MOSQ_ERR_SUCCESS:
        return GW_OK;
    case MOSQ_ERR_NO_CONN:
    case MOSQ_ERR_CONN_LOST:
        return GW_ERR_UPSTREAM_DOWN;
    case MOSQ_ERR_PAYLOAD_SIZE:
    case MOSQ_ERR_OVERSIZE_PACKET:
        return GW_ERR_TOO_LARGE;
    case MOSQ_ERR_QOS_NOT_SUPPORTED: /* the broker can't do what the route asks for: never less, silently */
    case MOSQ_ERR_RETAIN_NOT_SUPPORTED:
        return GW_ERR_REJECTED;
    case MOSQ_ERR_INVAL:
    case MOSQ_ERR_MALFORMED_UTF8:
        return GW_ERR_BAD_REQUEST;
    case MOSQ_ERR_NOMEM:
        return GW_ERR_NO_MEMORY;
    default:
        return GW_ERR_INTERNAL;
    }
}

/* Correlation data: nonce of the process, worker and token, so that an answer finds whoever asked, and one to an
 * earlier process finds nobody. */
#define CORRELATION     "%08x-%08x-%016llx"
#define CORRELATION_LEN 34
/* The highest subscription identifier (MQTT 5.0 section 3.8.2.1.2); those of routes count from 1. */
#define RESPONSE_SUBSCRIPTION 268435455

/* Lock held. The broker handles SUBSCRIBE before the PUBLISH that follows it on the same connection. */
static void publisher_listen(struct gw_publisher *publisher)
{
    if (publisher->response_subscribed || !publisher->response_topic)
        return;
    mosquitto_property *properties = NULL;
    mosquitto_property_add_varint(&properties, MQTT_PROP_SUBSCRIPTION_IDENTIFIER, RESPONSE_SUBSCRIPTION);
    if (mosquitto_subscribe_v5(publisher->mosq, &publisher->response_mid, publisher->response_topic, 1, 0,
                               properties) == MOSQ_ERR_SUCCESS)
        publisher->response_subscribed = true;
    mosquitto_property_free_all(&properties);
}

/* Where a route's filter (`#`, say) matches the response topic as well, the broker sends a copy for each. */
static bool publisher_is_copy(const struct gw_packet *packet)
{
    for (size_t i = 0; i < packet->id_count; i++) {
        if (packet->ids[i] == RESPONSE_SUBSCRIPTION)
            return false;
    }
    return packet->id_count > 0;
}

static mosquitto_property *publisher_request_properties(struct gw_publisher *publisher,
                                                        const struct gw_publish *publish)
{
    char correlation[CORRELATION_LEN + 1];
    snprintf(correlation, sizeof correlation, CORRELATION, publisher->nonce, publish->worker,
             (unsigned long long)publish->token);
    mosquitto_property *properties = NULL;
    mosquitto_property_add_string(&properties, MQTT_PROP_RESPONSE_TOPIC, publisher->response_topic);
    mosquitto_property_add_binary(&properties, MQTT_PROP_CORRELATION_DATA, correlation, CORRELATION_LEN);
    return properties;
}

/* Lock held. */
static int publisher_send(struct gw_publisher *publisher, const struct gw_publish *publish, int *mid)
{
    if (publish->payload_len > MQTT_MAX_PAYLOAD)
        return MOSQ_ERR_PAYLOAD_SIZE;
    int len = (int)publish->payload_len;
    if (!publisher->v5)
        return mosquitto_publish(publisher->mosq, mid, publish->topic, len, publish->payload, publish->qos,
                                 publish->retain);
    mosquitto_property *properties = NULL;
    if (publish->request) {
        publisher->response_wanted = true;
        publisher_listen(publisher);
        properties = publisher_request_properties(publisher, publish);
    }
    int rc = mosquitto_publish_v5(publisher->mosq, mid, publish->topic, len, publish->payload, publish->qos,
                                  publish->retain, properties);
    mosquitto_property_free_all(&properties);
    return rc;
}

static struct gw_flight *flight_create(const struct gw_publish *publish, int mid)
{
    struct gw_flight *flight = gw_calloc(1, sizeof *flight);
    flight->token = publish->token;
    flight->worker = publish->worker;
    flight->mid = mid;
    flight->since_ms = gw_monotonic_ms();
    return flight;
}

/* Lock held. */
static void publisher_track(struct gw_publisher *publisher, struct gw_flight *flight)
{
    struct gw_flight **bucket = publisher_bucket(publisher, flight->mid);
    flight->next = *bucket;
    *bucket = flight;
    publisher->count++;
}

enum gw_err gw_publisher_publish(void *context, struct gw_publish **publish)
{
    struct gw_publisher *publisher = context;
    enum gw_err err = GW_OK;
    pthread_mutex_lock(&publisher->lock);
    if ((*publish)->request && !publisher->v5) {
        err = GW_ERR_UNSUPPORTED;
    } else if ((*publish)->request && publisher->response_refused) {
        err = GW_ERR_FORBIDDEN;
        GW_LOG_ONCE_A_SECOND(GW_LOG_ERROR, "mqtt",
                             "no requests: the broker refuses the subscription to '%s' (broker.response_topic)",
                             publisher->response_topic);
    } else if (!publisher->mosq && !publisher->queue_while_down) {
        err = GW_ERR_UPSTREAM_DOWN;
    } else if (publisher->count >= publisher->limit) {
        err = publisher->mosq ? GW_ERR_OVERLOADED : GW_ERR_UPSTREAM_DOWN;
        GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "mqtt", "limits.publish_queue (%u) reached", publisher->limit);
    } else if (publisher->mosq) {
        int mid = 0;
        err = publisher_error(publisher_send(publisher, *publish, &mid));
        if (err == GW_OK && (*publish)->qos > 0)
            publisher_track(publisher, flight_create(*publish, mid));
        else if (err == GW_OK)
            atomic_fetch_add_explicit(&publisher->published, 1, memory_order_relaxed);
        if (err == GW_OK) {
            free(*publish);
            *publish = NULL;
        }
    } else {
        struct gw_flight *flight = flight_create(*publish, 0);
        flight->publish = *publish;
        *publish = NULL;
        *publisher->waiting_end = flight;
        publisher->waiting_end = &flight->next;
        publisher->count++;
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
    gw_inbox_put(publisher->inboxes[flight->worker], &event);
}

static void publisher_answer_all(struct gw_publisher *publisher, struct gw_flight *list, enum gw_err err)
{
    for (struct gw_flight *next; list; list = next) {
        next = list->next;
        if (!list->publish || list->publish->qos > 0 ||
            list->publish->request) /* else it was accepted and nobody waits */
            publisher_answer(publisher, list, err, 0);
        flight_free(list);
    }
}

void gw_publisher_connected(struct gw_publisher *publisher, struct mosquitto *mosq, bool v5)
{
    struct gw_flight *failed = NULL;
    pthread_mutex_lock(&publisher->lock);
    publisher->mosq = mosq;
    publisher->response_mid = 0;
    publisher->response_subscribed = publisher->response_refused = false;
    if (mosq)
        publisher->v5 = v5;
    if (mosq && v5 && publisher->response_wanted)
        publisher_listen(publisher);
    while (mosq && publisher->waiting) {
        struct gw_flight *flight = publisher->waiting;
        publisher->waiting = flight->next;
        publisher->count--;
        int rc = publisher_send(publisher, flight->publish, &flight->mid);
        if (rc != MOSQ_ERR_SUCCESS) {
            flight->next = failed;
            failed = flight;
        } else if (flight->publish->qos > 0) {
            free(flight->publish);
            flight->publish = NULL;
            publisher_track(publisher, flight);
        } else {
            flight_free(flight);
        }
    }
    if (!publisher->waiting)
        publisher->waiting_end = &publisher->waiting;
    pthread_mutex_unlock(&publisher->lock);
    publisher_answer_all(publisher, failed, GW_ERR_REJECTED);
}

void gw_publisher_forget(struct gw_publisher *publisher)
{
    struct gw_flight *all = NULL;
    pthread_mutex_lock(&publisher->lock);
    publisher->mosq = NULL;
    for (size_t i = 0; i < sizeof publisher->flights / sizeof *publisher->flights; i++) {
        for (struct gw_flight *flight = publisher->flights[i], *next; flight; flight = next) {
            next = flight->next;
            flight->next = all;
            all = flight;
            publisher->count--;
        }
        publisher->flights[i] = NULL;
    }
    pthread_mutex_unlock(&publisher->lock);
    publisher_answer_all(publisher, all, GW_ERR_TIMEOUT);
}

void gw_publisher_acknowledged(struct gw_publisher *publisher, int mid, int reason)
{
    pthread_mutex_lock(&publisher->lock);
    struct gw_flight **link = publisher_bucket(publisher, mid), *flight;
    while ((flight = *link) && flight->mid != mid)
        link = &flight->next;
    if (flight) {
        *link = flight->next;
        publisher->count--;
    }
    pthread_mutex_unlock(&publisher->lock);
    if (!flight)
        return;
    enum gw_err err = GW_OK;
    if (reason >= 0x80)
        err = reason == MQTT_RC_NOT_AUTHORIZED     ? GW_ERR_FORBIDDEN
              : reason == MQTT_RC_QUOTA_EXCEEDED   ? GW_ERR_OVERLOADED
              : reason == MQTT_RC_PACKET_TOO_LARGE ? GW_ERR_TOO_LARGE
                                                   : GW_ERR_REJECTED;
    publisher_answer(publisher, flight, err, reason);
    flight_free(flight);
}

void gw_publisher_set_response_topic(struct gw_publisher *publisher, const struct gw_cfg_broker *broker)
{
    char *topic = broker->response_topic ? gw_strdup(broker->response_topic) : NULL;
    if (!topic) {
        struct gw_buf made;
        gw_buf_init(&made);
        gw_buf_printf(&made, "sluice/response/%s", broker->client_id);
        topic = gw_strdup(made.data);
        gw_buf_fini(&made);
        for (char *at = topic + strlen("sluice/response/"); (at = strpbrk(at, "+#/"));)
            *at = '_';
    }
    pthread_mutex_lock(&publisher->lock);
    free(publisher->response_topic);
    publisher->response_topic = topic;
    pthread_mutex_unlock(&publisher->lock);
}

bool gw_publisher_subscribed(struct gw_publisher *publisher, int mid, int granted)
{
    pthread_mutex_lock(&publisher->lock);
    bool ours = publisher->response_mid && publisher->response_mid == mid;
    if (ours) {
        publisher->response_mid = 0;
        publisher->response_refused = granted >= 0x80;
    }
    pthread_mutex_unlock(&publisher->lock);
    if (ours && granted >= 0x80)
        gw_log(GW_LOG_ERROR, "mqtt",
               "the broker refused the subscription to '%s', so requests get no answers (broker.response_topic)",
               publisher->response_topic);
    return ours;
}

bool gw_publisher_respond(struct gw_publisher *publisher, const struct gw_packet *packet,
                          const mosquitto_property *properties)
{
    /* Without the lock: only this thread changes it. */
    const char *topic = publisher->response_topic;
    if (!topic || strlen(topic) != packet->topic_len || memcmp(packet->topic, topic, packet->topic_len) != 0)
        return false;
    if (publisher_is_copy(packet))
        return true;
    void *data = NULL;
    uint16_t data_len = 0;
    unsigned nonce = 0, worker = 0;
    unsigned long long token = 0;
    char correlation[CORRELATION_LEN + 1] = "";
    mosquitto_property_read_binary(properties, MQTT_PROP_CORRELATION_DATA, &data, &data_len, false);
    if (data_len == CORRELATION_LEN)
        memcpy(correlation, data, data_len);
    free(data);
    if (sscanf(correlation, "%8x-%8x-%16llx", &nonce, &worker, &token) != 3 || nonce != publisher->nonce ||
        worker >= publisher->workers) {
        atomic_fetch_add_explicit(&publisher->responses_unknown, 1, memory_order_relaxed);
        return true;
    }
    struct gw_event event = {.type = GW_EVENT_RESPONSE, .u.response = {.token = token, .len = packet->payload_len}};
    if (packet->payload_len) {
        event.u.response.payload = gw_malloc(packet->payload_len);
        memcpy(event.u.response.payload, packet->payload, packet->payload_len);
    }
    gw_inbox_put(publisher->inboxes[worker], &event);
    return true;
}

void gw_publisher_expire(struct gw_publisher *publisher, int64_t now_ms)
{
    struct gw_flight *late = NULL;
    pthread_mutex_lock(&publisher->lock);
    while (publisher->waiting && now_ms - publisher->waiting->since_ms >= publisher->timeout_ms) {
        struct gw_flight *flight = publisher->waiting;
        publisher->waiting = flight->next;
        publisher->count--;
        flight->next = late;
        late = flight;
    }
    if (!publisher->waiting)
        publisher->waiting_end = &publisher->waiting;
    for (size_t i = 0; i < sizeof publisher->flights / sizeof *publisher->flights; i++) {
        for (struct gw_flight **link = &publisher->flights[i], *flight; (flight = *link);) {
            if (now_ms - flight->since_ms < publisher->timeout_ms * FORGET_AFTER) {
                link = &flight->next;
                continue;
            }
            *link = flight->next;
            publisher->count--;
            flight_free(flight); /* its worker answered with a time-out long ago */
        }
    }
    pthread_mutex_unlock(&publisher->lock);
    publisher_answer_all(publisher, late, GW_ERR_UPSTREAM_DOWN);
}
