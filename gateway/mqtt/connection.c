/* connection.c: the connection to the broker, from the attempt to its end. */
#include <errno.h>
#include <mqtt_protocol.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "gateway/clock.h"
#include "gateway/log.h"
#include "mqtt/client.h"
#include "mqtt/notes.h"
#include "mqtt/source_private.h"

/* A broker that takes the connection but doesn't answer CONNECT or SUBSCRIBE for so long is given up. */
#define HANDSHAKE_MS 10000
/* The next address of its name is tried after this time, twice as long at each further round. */
#define REACH_MS 2000

void gw_connection_post_state(struct gw_source *source, bool up)
{
    source->up = up;
    if (source->role == GW_SOURCE_PUBLISH)
        return;
    if (source->role == GW_SOURCE_INGEST) { /* every process hears of it, by the engine */
        source->ingest.engine->shared->upstream(source->ingest.store, up);
        return;
    }
    struct gw_event event = {.type = GW_EVENT_UPSTREAM, .u.upstream = {.up = up, .since = gw_wall_ms()}};
    gw_ingest_post(&source->ingest, &event);
    gw_liveness_up(source->ingest.liveness, up, source->subs.kept, false, gw_monotonic_ms());
}

bool gw_connection_is_v5(const struct gw_source *source)
{
    return source->attempts.version == MQTT_PROTOCOL_V5;
}

static void connection_check_up(struct gw_source *source)
{
    if (!source->connected || source->subs.unanswered || source->up)
        return;
    source->connecting = false;
    gw_attempts_complete(&source->attempts, gw_monotonic_ms());
    gw_connection_report(source); /* before anybody hears that it is ready */
    const struct gw_granted *granted = &source->granted;
    struct gw_buf names = {0};
    gw_subscriptions_name_refused(&source->subs, &names);
    if (granted->granted == granted->wanted)
        gw_log(GW_LOG_INFO, "mqtt", "connected to %s, %zu subscription(s)", source->settings.url, granted->granted);
    else
        gw_log(GW_LOG_WARN, "mqtt", "connected to %s, %zu of %zu subscription(s); without %s", source->settings.url,
               granted->granted, granted->wanted, names.data ? names.data : "the others");
    gw_buf_fini(&names);
    gw_connection_post_state(source, true);
}

void gw_connection_report(struct gw_source *source)
{
    source->subs.changed = false;
    pthread_mutex_lock(&source->lock);
    gw_granted_read(&source->granted, &source->subs, source->routes);
    pthread_mutex_unlock(&source->lock);
}

static void connection_on_subscribe(struct mosquitto *mosq, void *object, int mid, int count, const int *granted,
                                    const mosquitto_property *properties)
{
    struct gw_source *source = object;
    if (gw_publisher_subscribed(&source->publisher, mid, count > 0 ? granted[0] : 0x80))
        return;
    if (gw_stored_subscribed(source, mid, count > 0 ? granted[0] : MQTT_RC_UNSPECIFIED))
        return;
    gw_subscriptions_answered(&source->subs, mosq, &source->broker, mid, count, granted, properties);
    connection_check_up(source);
}

static void connection_on_unsubscribe(struct mosquitto *mosq, void *object, int mid,
                                      const mosquitto_property *properties)
{
    (void)mosq;
    (void)properties;
    gw_stored_unsubscribed(object, mid);
    gw_leftover_unsubscribed(object, mid);
}

static void connection_drop_client(struct gw_source *source)
{
    if (source->mosq)
        mosquitto_destroy(source->mosq);
    source->mosq = NULL;
}

/* What to do about a client that has our id as well. */
static const char *connection_own_id(const struct gw_source *source)
{
    if (source->role == GW_SOURCE_PUBLISH)
        return "Give each gateway its own node, in the table of the engine";
    if (source->role == GW_SOURCE_INGEST)
        return "The gateways of this cluster share it, and nobody else may have it: give each cluster its own "
               "broker.client_id";
    return "Give each its own broker.client_id";
}

/* The connection is gone or did not come about. What libmosquitto still has of it goes with its client object, except
 * in a kept session. `why` NULL: it is nothing to tell. */
static void connection_lost(struct gw_source *source, const char *why, bool by_broker)
{
    const struct gw_cfg_broker *broker = &source->settings;
    bool was = source->connected || source->connecting, up = source->up;
    const struct gw_loss loss = {
        .why = why && *source->told ? source->told : why,
        .by_broker = by_broker && gw_reason_may_be_ours(source->told_code),
        .kept = broker->session_expiry_ms > 0 && !source->again,
    };
    if (was && why)
        GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "mqtt", "no connection to %s: %s", broker->url, loss.why);
    gw_subscriptions_lost(&source->subs, loss.by_broker);
    gw_stored_lost(source, loss.by_broker);
    gw_leftover_reset(&source->leftover);
    if (up) /* before the clients are answered: who has heard of it must not find the gateway ready after that */
        gw_connection_post_state(source, false);
    if (gw_publisher_lost(&source->publisher, &loss))
        connection_drop_client(source);
    gw_receiver_lost(&source->receiver);
    if (was && why) {
        atomic_fetch_add(up ? &source->disconnects : &source->connect_failures, 1);
        if (gw_attempts_lost(&source->attempts, broker, by_broker, gw_monotonic_ms()) && !*source->told)
            gw_log(GW_LOG_WARN, "mqtt",
                   "%s closes every connection within seconds: another client with the id '%s'? %s; the broker's log "
                   "tells more",
                   broker->url, broker->client_id, connection_own_id(source));
    }
    source->connected = source->connecting = source->again = false;
    source->told[0] = '\0';
    source->told_code = 0;
}

/* The same, and nothing goes on from here with the next connection. */
void gw_connection_give_up(struct gw_source *source, const char *why, bool by_broker)
{
    source->again = true;
    connection_lost(source, why, by_broker);
}

static void connection_refused(struct gw_source *source, int reason, const mosquitto_property *properties)
{
    char words[GW_REASON_MAX];
    int code = gw_connection_is_v5(source) ? reason : gw_reason_of_return_code(reason);
    source->told_code = code;
    snprintf(source->told, sizeof source->told, "it refused the connection: %s",
             gw_reason_words(words, code, properties));
    source->again = code == MQTT_RC_UNSUPPORTED_PROTOCOL_VERSION &&
                    gw_attempts_refused(&source->attempts, &source->settings, true, gw_monotonic_ms());
}

static void connection_on_connect(struct mosquitto *mosq, void *object, int reason, int flags,
                                  const mosquitto_property *properties)
{
    struct gw_source *source = object;
    if (reason) {
        connection_refused(source, reason, properties);
        return; /* libmosquitto closes it */
    }
    source->connected = true;
    source->broker = gw_abilities_read(gw_connection_is_v5(source), properties, &source->settings);
    if (!gw_attempts_accepted(&source->attempts, &source->settings, gw_monotonic_ms()) ||
        gw_publisher_is_stale(&source->publisher)) {
        source->again = true;
        return;
    }
    gw_destination_took(&source->destination);
    gw_redelivery_connected(&source->redelivery, flags & 1);
    source->expecting = flags & 1;
    gw_receiver_connected(&source->receiver, gw_connection_is_v5(source), source->settings.tls_enabled);
    atomic_fetch_add(&source->connects, 1);
    gw_stored_connected(source, flags & 1);
    if (source->role == GW_SOURCE_INGEST && flags & 1) /* whoever had the session before has got all of that */
        source->stored.state = GW_STORED_IDLE;
    gw_subscriptions_send(&source->subs, mosq, &source->broker, flags & 1);
    if (source->role != GW_SOURCE_INGEST)
        gw_publisher_connected(&source->publisher, mosq, &source->broker);
    connection_check_up(source);
}

static void connection_on_disconnect(struct mosquitto *mosq, void *object, int reason,
                                     const mosquitto_property *properties)
{
    (void)mosq;
    struct gw_source *source = object;
    char words[GW_REASON_MAX];
    if (reason < 0x80) /* no MQTT 5 DISCONNECT of the broker's: told by the loop */
        return;
    source->told_code = reason;
    snprintf(source->told, sizeof source->told, "the broker disconnects: %s",
             gw_reason_words(words, reason, properties ? properties : source->notes));
}

static void connection_on_publish(struct mosquitto *mosq, void *object, int mid, int reason,
                                  const mosquitto_property *properties)
{
    (void)mosq;
    struct gw_source *source = object;
    gw_publisher_acknowledged(&source->publisher, mid, reason, properties ? properties : source->notes);
}

void gw_connection_note(void *context, const uint8_t *data, size_t len)
{
    struct gw_source *source = context;
    mosquitto_property_free_all(&source->notes);
    if (gw_connection_is_v5(source))
        source->notes = gw_notes_read(data, len);
}

static void connection_on_log(struct mosquitto *mosq, void *object, int level, const char *line)
{
    (void)mosq;
    struct gw_source *source = object;
    if (level == MOSQ_LOG_ERR && source->settings.tls_enabled && strstr(line, "OpenSSL"))
        gw_tls_note(&source->tls.reason, line);
}

static int connection_make_client(struct gw_source *source)
{
    const struct gw_cfg_broker *broker = &source->settings;
    gw_publisher_set_response_topic(&source->publisher, broker);
    int version = gw_attempts_version(&source->attempts, broker, gw_monotonic_ms());
    int rc = gw_client_create(broker, version, &source->tls, source, &source->mosq);
    if (!source->mosq)
        return rc;
    /* Brokers count wrongly below the most there can be; what we take at once is bounded by not reading. */
    if (source->role == GW_SOURCE_INGEST)
        mosquitto_int_option(source->mosq, MOSQ_OPT_RECEIVE_MAXIMUM, 65535);
    mosquitto_log_callback_set(source->mosq, connection_on_log);
    mosquitto_connect_v5_callback_set(source->mosq, connection_on_connect);
    mosquitto_disconnect_v5_callback_set(source->mosq, connection_on_disconnect);
    mosquitto_subscribe_v5_callback_set(source->mosq, connection_on_subscribe);
    mosquitto_unsubscribe_v5_callback_set(source->mosq, connection_on_unsubscribe);
    mosquitto_message_v5_callback_set(source->mosq, gw_source_on_message);
    mosquitto_publish_v5_callback_set(source->mosq, connection_on_publish);
    return rc;
}

/* Did the broker's machine take the connection? Then it is its program that says nothing. */
bool gw_connection_is_open(const struct gw_source *source)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof peer;
    int fd = source->mosq ? mosquitto_socket(source->mosq) : -1;
    return fd >= 0 && getpeername(fd, (struct sockaddr *)&peer, &len) == 0;
}

/* mosquitto sends the stored values of a subscription before it answers SUBSCRIBE: a million take a while, and to
 * give up would be to begin with them again, for ever. So only a broker that has sent nothing in all that time is
 * silent. One that goes on sending and never answers is in the log again and again. */
bool gw_connection_hears(struct gw_source *source, int64_t now)
{
    uint64_t received = atomic_load_explicit(&source->received, memory_order_relaxed);
    if (!source->connected || received == source->received_before)
        return false;
    gw_log(GW_LOG_WARN, "mqtt", "%s has sent %llu message(s), but does not answer SUBSCRIBE yet: waiting",
           source->settings.url, (unsigned long long)(received - source->received_before));
    source->received_before = received;
    source->deadline_ms = now + HANDSHAKE_MS;
    return true;
}

/* Once more, at once, to where the last attempt went. */
static void connection_try_again(struct gw_source *source)
{
    source->attempts.at_ms = 0;
    gw_destination_stay(&source->destination);
}

/* Nothing is reached at this address. True: the next attempt goes to another one of the name, at once. */
static bool connection_is_elsewhere(struct gw_source *source, const char *why)
{
    if (source->open || !source->connecting || source->connected || !gw_destination_has_more(&source->destination))
        return false;
    GW_LOG_ONCE_A_SECOND(GW_LOG_INFO, "mqtt", "no connection to %s at %s: %s; trying its next address",
                         source->settings.url, source->destination.address.text, why);
    connection_lost(source, NULL, false);
    atomic_fetch_add(&source->connect_failures, 1);
    source->attempts.at_ms = 0;
    return true;
}

/* Nothing came for too long. */
static void connection_is_silent(struct gw_source *source)
{
    bool open = source->open;
    if (connection_is_elsewhere(source, "no answer"))
        return;
    bool other = open && !source->connected &&
                 gw_attempts_refused(&source->attempts, &source->settings, false, gw_monotonic_ms());
    gw_connection_give_up(source,
                          !open ? "the broker does not answer: check the address, the port and firewalls"
                          : source->connected ? "the broker does not answer SUBSCRIBE"
                          : other             ? "the broker does not answer CONNECT: trying MQTT 3.1.1"
                                              : "the broker does not answer CONNECT; see its log",
                          false);
    if (other)
        connection_try_again(source);
}

void gw_connection_overdue(struct gw_source *source)
{
    int64_t until = source->begun_ms + HANDSHAKE_MS;
    if (source->open && gw_monotonic_ms() < until)
        source->deadline_ms = until; /* it was only to be reached by now */
    else
        connection_is_silent(source);
}

/* An attempt or a connection failed in libmosquitto. `error` is errno as it was then. */
void gw_connection_failed(struct gw_source *source, int rc, int error)
{
    const struct gw_cfg_broker *broker = &source->settings;
    bool closed = *source->told || rc == MOSQ_ERR_SUCCESS || rc == MOSQ_ERR_CONN_LOST ||
                  (rc == MOSQ_ERR_ERRNO && (error == ECONNRESET || error == EPIPE || error == 0));
    bool tls = broker->tls_enabled && *source->tls.reason.text;
    if (source->again) { /* what was told is dealt with */
        connection_lost(source, NULL, false);
        connection_try_again(source);
        return;
    }
    if (!tls && !*source->told && connection_is_elsewhere(source, gw_reason_of_error(rc, error)))
        return;
    if (rc == MOSQ_ERR_KEEPALIVE && source->connecting && !source->connected) {
        connection_is_silent(source); /* libmosquitto has closed it */
        return;
    }
    /* Closed between CONNECT and CONNACK: some brokers do that with a version they don't know. */
    if (closed && !tls && !*source->told && source->connecting && !source->connected &&
        gw_attempts_refused(&source->attempts, broker, false, gw_monotonic_ms())) {
        gw_connection_give_up(
            source,
            "the broker closed the connection without answering CONNECT (it may want TLS, or know no MQTT "
            "5): trying MQTT "
            "3.1.1",
            closed);
        connection_try_again(source);
        return;
    }
    connection_lost(source, tls ? source->tls.reason.text : gw_reason_of_error(rc, error), closed);
}

/* How long to wait until TCP is there. */
static int64_t connection_reach_ms(const struct gw_source *source)
{
    int64_t reach = REACH_MS;
    for (unsigned i = 0; i < source->attempts.count && reach < HANDSHAKE_MS; i++)
        reach *= 2;
    return gw_destination_has_more(&source->destination) && reach < HANDSHAKE_MS ? reach : HANDSHAKE_MS;
}

void gw_connection_attempt(struct gw_source *source)
{
    const struct gw_cfg_broker *broker = &source->settings;
    const char *address = gw_destination_next(&source->destination);
    if (!address && source->destination.answer.state == GW_LOOKUP_WAITING)
        return;
    source->open = false;
    source->tls.reason.text[0] = '\0';
    source->tls.reason.final = false;
    source->connecting = true;
    if (!address) {
        connection_lost(source, source->destination.answer.reason, false);
        return;
    }
    int rc = source->mosq ? MOSQ_ERR_SUCCESS : connection_make_client(source);
    source->begun_ms = gw_monotonic_ms();
    source->deadline_ms = source->begun_ms + connection_reach_ms(source);
    source->received_before = atomic_load_explicit(&source->received, memory_order_relaxed);
    if (rc != MOSQ_ERR_SUCCESS)
        connection_drop_client(source); /* half made: never to be used */
    errno = 0;
    if (rc == MOSQ_ERR_SUCCESS)
        rc = mosquitto_connect_bind_async(source->mosq, address, broker->port, (int)(broker->keepalive_ms / 1000),
                                          NULL);
    if (rc != MOSQ_ERR_SUCCESS)
        gw_connection_failed(source, rc, errno);
}

void gw_connection_expire(struct gw_source *source, int64_t now)
{
    enum gw_publisher_state state = gw_publisher_expire(&source->publisher, now);
    if (state == GW_PUBLISHER_STALE && !source->connecting)
        gw_connection_give_up(source, NULL, false); /* there is no connection: it only answers */
    else if (state == GW_PUBLISHER_STUCK)
        gw_connection_give_up(
            source, "the broker acknowledges no publishes, so that none can be sent: connecting anew", false);
}
