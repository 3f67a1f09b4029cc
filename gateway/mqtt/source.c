#include "mqtt/source.h"

#include <errno.h>
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "mqtt/attempts.h"
#include "mqtt/client.h"
#include "mqtt/ingest.h"
#include "mqtt/publisher.h"
#include "mqtt/reason.h"
#include "mqtt/receiver.h"
#include "mqtt/redelivery.h"
#include "mqtt/subscriptions.h"
#include "mqtt/tls.h"
#include "route/routes.h"

/* Our own loop instead of mosquitto_loop_start(): libmosquitto 2.0.11 waits with select(2), which can't take a
 * descriptor above 1023, and with thousands of web clients a reconnect gets one; and its back-off has no jitter. */

/* A broker that takes the connection but doesn't answer CONNECT or SUBSCRIBE for so long is given up. */
#define HANDSHAKE_MS 10000
/* How long stopping may take to get the last packets out. */
#define STOP_MS 1000
/* ... and how much longer main waits for the thread: getaddrinfo(3) can't be interrupted. */
#define JOIN_MS 1000

struct gw_source {
    pthread_t thread;
    bool started;
    int wake_fd;
    atomic_bool stopping;

    pthread_mutex_t lock;
    struct gw_config *next_config; /* {lock} a reload that the thread has not seen yet */
    struct gw_routes *next_routes; /* {lock} */
    struct gw_auth *next_auth;     /* {lock} for the workers */

    /* From here on: the MQTT thread's alone. */
    struct gw_config *config;
    struct gw_routes *routes;
    struct gw_ingest ingest;
    struct gw_publisher publisher;
    struct mosquitto *mosq; /* NULL: to be made */
    struct gw_subscriptions subs;
    struct gw_redelivery redelivery;
    bool connecting, connected, up;
    int64_t deadline_ms; /* of the handshake */
    struct gw_attempts attempts;
    struct gw_abilities broker;
    struct gw_mqtt_tls tls;
    char told[GW_REASON_MAX + 64]; /* what the broker gave as its reason, in CONNACK or DISCONNECT; "": nothing */
    int told_code;                 /* ... its number; 0: none */
    bool again;                    /* end this connection and make another at once, with a client object of its own */
    struct gw_receiver receiver;

    _Atomic uint64_t received, received_bytes, doubles, too_large, connects, connect_failures, disconnects;
};

static void source_wake(void *context)
{
    struct gw_source *source = context;
    uint64_t one = 1;
    ssize_t written = write(source->wake_fd, &one, sizeof one);
    (void)written; /* it only fails when it is full, and then the thread is awake anyway */
}

static void source_post_state(struct gw_source *source, bool up)
{
    source->up = up;
    struct gw_event event = {.type = GW_EVENT_UPSTREAM, .u.upstream = {.up = up, .since = gw_wall_ms()}};
    gw_ingest_post(&source->ingest, &event);
}

static bool source_is_v5(const struct gw_source *source)
{
    return source->attempts.version == MQTT_PROTOCOL_V5;
}

/* --- connection
 * ----------------------------------------------------------------------------------------------------- */

static void source_check_up(struct gw_source *source)
{
    if (!source->connected || source->subs.unanswered || source->up)
        return;
    source->connecting = false;
    gw_attempts_complete(&source->attempts, gw_monotonic_ms());
    gw_log(GW_LOG_INFO, "mqtt", "connected to %s, %zu subscription(s)", source->config->broker.url,
           source->subs.count);
    source_post_state(source, true);
}

static void source_on_subscribe(struct mosquitto *mosq, void *object, int mid, int count, const int *granted,
                                const mosquitto_property *properties)
{
    (void)mosq;
    (void)properties;
    struct gw_source *source = object;
    if (gw_publisher_subscribed(&source->publisher, mid, count > 0 ? granted[0] : 0x80))
        return;
    gw_subscriptions_answered(&source->subs, mid, count, granted);
    source_check_up(source);
}

static void source_drop_client(struct gw_source *source)
{
    if (source->mosq)
        mosquitto_destroy(source->mosq);
    source->mosq = NULL;
}

/* The connection is gone or did not come about. What libmosquitto still has of it goes with its client object, except
 * in a kept session. `why` NULL: it is nothing to tell. */
static void source_lost(struct gw_source *source, const char *why, bool by_broker)
{
    const struct gw_cfg_broker *broker = &source->config->broker;
    bool was = source->connected || source->connecting;
    const struct gw_loss loss = {
        .why = *source->told ? source->told
               : why         ? why
                             : "connecting anew",
        .by_broker = by_broker && gw_reason_may_be_ours(source->told_code),
        .kept = broker->session_expiry_ms > 0 && !source->again,
    };
    if (was && why)
        GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "mqtt", "no connection to %s: %s", broker->url, loss.why);
    gw_subscriptions_lost(&source->subs, loss.by_broker);
    if (gw_publisher_lost(&source->publisher, &loss))
        source_drop_client(source);
    gw_receiver_lost(&source->receiver);
    if (was && why) {
        atomic_fetch_add(source->up ? &source->disconnects : &source->connect_failures, 1);
        if (gw_attempts_lost(&source->attempts, broker, by_broker, gw_monotonic_ms()) && !*source->told)
            gw_log(GW_LOG_WARN, "mqtt",
                   "%s closes every connection within seconds: another client with the id '%s'? Give each its own "
                   "broker.client_id; the broker's log tells more",
                   broker->url, broker->client_id);
    }
    source->connected = source->connecting = source->again = false;
    source->told[0] = '\0';
    source->told_code = 0;
    if (source->up)
        source_post_state(source, false);
}

/* The same, and nothing goes on from here with the next connection. */
static void source_give_up(struct gw_source *source, const char *why, bool by_broker)
{
    source->again = true;
    source_lost(source, why, by_broker);
}

static void source_refused(struct gw_source *source, int reason, const mosquitto_property *properties)
{
    char words[GW_REASON_MAX];
    int code = source_is_v5(source) ? reason : gw_reason_of_return_code(reason);
    source->told_code = code;
    snprintf(source->told, sizeof source->told, "it refused the connection: %s",
             gw_reason_words(words, code, properties));
    source->again = code == MQTT_RC_UNSUPPORTED_PROTOCOL_VERSION &&
                    gw_attempts_refused(&source->attempts, &source->config->broker, true, gw_monotonic_ms());
}

static void source_on_connect(struct mosquitto *mosq, void *object, int reason, int flags,
                              const mosquitto_property *properties)
{
    struct gw_source *source = object;
    if (reason) {
        source_refused(source, reason, properties);
        return; /* libmosquitto closes it */
    }
    source->connected = true;
    source->broker = gw_abilities_read(source_is_v5(source), properties, &source->config->broker);
    if (!gw_attempts_accepted(&source->attempts, &source->config->broker, gw_monotonic_ms()) ||
        gw_publisher_is_stale(&source->publisher)) {
        source->again = true;
        return;
    }
    gw_redelivery_connected(&source->redelivery, flags & 1);
    gw_receiver_connected(&source->receiver, source_is_v5(source), !source->config->broker.tls_enabled);
    atomic_fetch_add(&source->connects, 1);
    gw_subscriptions_send(&source->subs, mosq, &source->broker);
    gw_publisher_connected(&source->publisher, mosq, &source->broker);
    source_check_up(source);
}

static void source_on_disconnect(struct mosquitto *mosq, void *object, int reason,
                                 const mosquitto_property *properties)
{
    (void)mosq;
    struct gw_source *source = object;
    char words[GW_REASON_MAX];
    if (reason < 0x80) /* no MQTT 5 DISCONNECT of the broker's: told by the loop */
        return;
    source->told_code = reason;
    snprintf(source->told, sizeof source->told, "the broker disconnects: %s",
             gw_reason_words(words, reason, properties));
}

static void source_on_publish(struct mosquitto *mosq, void *object, int mid, int reason,
                              const mosquitto_property *properties)
{
    (void)mosq;
    struct gw_source *source = object;
    gw_publisher_acknowledged(&source->publisher, mid, reason, properties);
}

static void source_on_log(struct mosquitto *mosq, void *object, int level, const char *line)
{
    (void)mosq;
    struct gw_source *source = object;
    if (level == MOSQ_LOG_ERR && source->config->broker.tls_enabled && strstr(line, "OpenSSL"))
        gw_mqtt_tls_note(&source->tls, line);
}

/* `properties`: NULL if the receiver took the packet, which leaves to libmosquitto what could be for the publisher.
 */
static void source_take(struct gw_source *source, const struct gw_packet *packet,
                        const mosquitto_property *properties)
{
    atomic_fetch_add_explicit(&source->received, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&source->received_bytes, packet->payload_len, memory_order_relaxed);
    if (packet->payload_len > source->config->broker.max_packet) {
        atomic_fetch_add_explicit(&source->too_large, 1, memory_order_relaxed);
        GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "mqtt", "dropped a payload of %zu bytes on '%.*s': above broker.max_packet",
                             packet->payload_len, (int)packet->topic_len, packet->topic);
        return;
    }
    if (gw_publisher_respond(&source->publisher, packet, properties))
        return;
    bool again = packet->qos > 0 && !packet->retain && source->config->broker.session_expiry_ms > 0 &&
                 gw_redelivery_is_double(&source->redelivery, packet);
    if (again || gw_subscriptions_is_double(&source->subs, source->routes, packet)) {
        atomic_fetch_add_explicit(&source->doubles, 1, memory_order_relaxed);
        return;
    }
    gw_ingest_message(&source->ingest, source->routes, packet);
}

static void source_on_packet(void *context, const struct gw_packet *packet)
{
    source_take(context, packet, NULL);
}

static void source_on_message(struct mosquitto *mosq, void *object, const struct mosquitto_message *message,
                              const mosquitto_property *properties)
{
    (void)mosq;
    struct gw_packet packet = {
        .topic = message->topic,
        .topic_len = strlen(message->topic),
        .payload = message->payload,
        .payload_len = message->payloadlen > 0 ? (size_t)message->payloadlen : 0,
        .mid = (uint16_t)message->mid,
        .qos = (uint8_t)message->qos,
        .retain = message->retain,
    };
    const mosquitto_property *at = properties;
    while (packet.id_count < GW_PACKET_IDS_MAX &&
           (at = mosquitto_property_read_varint(at, MQTT_PROP_SUBSCRIPTION_IDENTIFIER, &packet.ids[packet.id_count],
                                                packet.id_count > 0)))
        packet.id_count++;
    source_take(object, &packet, properties);
    errno = 0; /* receiver.h */
}

static int source_make_client(struct gw_source *source)
{
    const struct gw_cfg_broker *broker = &source->config->broker;
    gw_publisher_set_response_topic(&source->publisher, broker);
    int version = gw_attempts_version(&source->attempts, broker, gw_monotonic_ms());
    int rc = gw_client_create(broker, version, &source->tls, source, &source->mosq);
    if (!source->mosq)
        return rc;
    mosquitto_log_callback_set(source->mosq, source_on_log);
    mosquitto_connect_v5_callback_set(source->mosq, source_on_connect);
    mosquitto_disconnect_v5_callback_set(source->mosq, source_on_disconnect);
    mosquitto_subscribe_v5_callback_set(source->mosq, source_on_subscribe);
    mosquitto_message_v5_callback_set(source->mosq, source_on_message);
    mosquitto_publish_v5_callback_set(source->mosq, source_on_publish);
    return rc;
}

/* An attempt or a connection failed in libmosquitto. `error` is errno as it was then. */
static void source_failed(struct gw_source *source, int rc, int error)
{
    const struct gw_cfg_broker *broker = &source->config->broker;
    bool closed = rc == MOSQ_ERR_SUCCESS || rc == MOSQ_ERR_CONN_LOST ||
                  (rc == MOSQ_ERR_ERRNO && (error == ECONNRESET || error == EPIPE || error == 0));
    bool tls = broker->tls_enabled && *source->tls.reason;
    if (source->again) { /* what was told is dealt with */
        source_lost(source, NULL, false);
        source->attempts.at_ms = 0;
        return;
    }
    /* Closed between CONNECT and CONNACK: some brokers do that with a version they don't know. */
    if (closed && !tls && !*source->told && source->connecting && !source->connected &&
        gw_attempts_refused(&source->attempts, broker, false, gw_monotonic_ms())) {
        source_give_up(source, "the broker closed the connection without answering CONNECT: trying MQTT 3.1.1",
                       closed);
        source->attempts.at_ms = 0;
        return;
    }
    source_lost(source, tls ? source->tls.reason : gw_reason_of_error(rc, error), closed);
}

static void source_attempt(struct gw_source *source)
{
    const struct gw_cfg_broker *broker = &source->config->broker;
    source->tls.reason[0] = '\0';
    source->tls.final = false;
    int rc = source->mosq ? MOSQ_ERR_SUCCESS : source_make_client(source);
    source->connecting = true;
    source->deadline_ms = gw_monotonic_ms() + HANDSHAKE_MS;
    if (rc != MOSQ_ERR_SUCCESS)
        source_drop_client(source); /* half made: never to be used */
    errno = 0;
    if (rc == MOSQ_ERR_SUCCESS)
        rc = mosquitto_connect_bind_async(source->mosq, broker->host, broker->port,
                                          (int)(broker->keepalive_ms / 1000), NULL);
    if (rc != MOSQ_ERR_SUCCESS)
        source_failed(source, rc, errno);
}

/* Did the broker's machine take the connection? Then it is its program that says nothing. */
static bool source_is_open(const struct gw_source *source)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof peer;
    int fd = source->mosq ? mosquitto_socket(source->mosq) : -1;
    return fd >= 0 && getpeername(fd, (struct sockaddr *)&peer, &len) == 0;
}

/* The handshake takes too long. */
static void source_overdue(struct gw_source *source)
{
    bool open = source_is_open(source);
    bool other = open && !source->connected &&
                 gw_attempts_refused(&source->attempts, &source->config->broker, false, gw_monotonic_ms());
    source_give_up(source,
                   !open               ? "the broker does not answer: check the address, the port and firewalls"
                   : source->connected ? "the broker does not answer SUBSCRIBE"
                   : other             ? "the broker does not answer CONNECT: trying MQTT 3.1.1"
                                       : "the broker does not answer CONNECT; see its log",
                   false);
    if (other)
        source->attempts.at_ms = 0;
}

/* --- the loop
 * ------------------------------------------------------------------------------------------------------- */

static void source_apply_reload(struct gw_source *source, struct gw_config *config, struct gw_routes *routes,
                                struct gw_auth *auth)
{
    struct gw_config *old_config = source->config;
    struct gw_routes *old_routes = source->routes;
    source->config = config;
    source->routes = routes;
    gw_publisher_configure(&source->publisher, config);
    gw_route_stats_configure(&source->ingest.routes, config);
    source->tls.broker = &config->broker;
    if (gw_client_differs(&old_config->broker, &config->broker)) {
        gw_log(GW_LOG_INFO, "mqtt", "the broker settings changed: reconnecting");
        if (source->mosq && source->connected) {
            mosquitto_disconnect(source->mosq);
            mosquitto_loop_write(source->mosq, 1);
        }
        source_give_up(source, "the broker settings changed", false);
        gw_attempts_reset(&source->attempts);
    }
    gw_subscriptions_change(&source->subs, routes, source->connected ? source->mosq : NULL, &source->broker);
    /* From the next message on; and because the inboxes keep the order, the workers change at the same place. */
    struct gw_event event = {.type = GW_EVENT_RELOAD, .u.reload = {routes, config, auth}};
    gw_ingest_post(&source->ingest, &event);
    gw_auth_unref(auth);
    gw_routes_unref(old_routes);
    gw_config_unref(old_config);
}

static void source_check_reload(struct gw_source *source)
{
    pthread_mutex_lock(&source->lock);
    struct gw_config *config = source->next_config;
    struct gw_routes *routes = source->next_routes;
    struct gw_auth *auth = source->next_auth;
    source->next_config = NULL;
    source->next_routes = NULL;
    source->next_auth = NULL;
    pthread_mutex_unlock(&source->lock);
    if (config)
        source_apply_reload(source, config, routes, auth);
}

static void source_turn(struct gw_source *source, int timeout_ms)
{
    struct pollfd fds[2] = {{.fd = source->wake_fd, .events = POLLIN}, {.fd = -1}};
    bool active = source->mosq && (source->connecting || source->connected);
    if (active) {
        fds[1].fd = mosquitto_socket(source->mosq);
        fds[1].events = gw_receiver_events(&source->receiver, source->mosq);
    }
    if (poll(fds, 2, timeout_ms) < 0)
        return;
    if (fds[0].revents) {
        uint64_t count;
        ssize_t got = read(source->wake_fd, &count, sizeof count);
        (void)got;
    }
    if (!active)
        return;
    errno = 0;
    int rc = MOSQ_ERR_SUCCESS;
    if (fds[1].revents & (POLLIN | POLLHUP | POLLERR))
        rc = gw_receiver_read(&source->receiver, source->mosq);
    if (rc == MOSQ_ERR_SUCCESS && !source->again && mosquitto_socket(source->mosq) >= 0)
        rc = gw_receiver_write(&source->receiver, source->mosq);
    int saved = errno;
    if (rc == MOSQ_ERR_SUCCESS && !source->again)
        rc = mosquitto_loop_misc(source->mosq);
    if (rc != MOSQ_ERR_SUCCESS || source->again || mosquitto_socket(source->mosq) < 0)
        source_failed(source, rc, saved);
}

static void source_expire(struct gw_source *source, int64_t now)
{
    enum gw_publisher_state state = gw_publisher_expire(&source->publisher, now);
    if (state == GW_PUBLISHER_STALE && !source->connecting)
        source_give_up(source, NULL, false); /* there is no connection: it only answers */
    else if (state == GW_PUBLISHER_STUCK)
        source_give_up(source, "the broker acknowledges no publishes, so that none can be sent: connecting anew",
                       false);
}

static void *source_run(void *context)
{
    struct gw_source *source = context;
    int64_t misc_ms = 0;
    while (!atomic_load(&source->stopping)) {
        source_check_reload(source);
        int64_t now = gw_monotonic_ms();
        if (now - misc_ms >= 100) {
            source_expire(source, now);
            misc_ms = now;
        }
        if (!source->connecting && !source->connected && now >= source->attempts.at_ms)
            source_attempt(source);
        if (source->connecting && now >= source->deadline_ms)
            source_overdue(source);
        int64_t wait = 500;
        if (!source->connecting && !source->connected && source->attempts.at_ms - now < wait)
            wait = source->attempts.at_ms > now ? source->attempts.at_ms - now : 0;
        source_turn(source, (int)wait);
    }
    if (source->mosq && source->connected) {
        /* MQTT 5: without properties the session's expiry stays as it was given, so the broker keeps it. */
        int64_t until = gw_monotonic_ms() + STOP_MS;
        while (mosquitto_socket(source->mosq) >= 0 && gw_receiver_events(&source->receiver, source->mosq) & POLLOUT &&
               gw_monotonic_ms() < until)
            source_turn(source, 50);
        if (mosquitto_socket(source->mosq) >= 0)
            gw_client_disconnect(source->mosq, until);
    }
    source_drop_client(source);
    return NULL;
}

/* --- from main
 * ------------------------------------------------------------------------------------------------------ */

struct gw_source *gw_source_create(struct gw_config *config, struct gw_routes *routes, const char *epoch,
                                   struct gw_inbox **inboxes, unsigned workers)
{
    mosquitto_lib_init();
    struct gw_source *source = gw_calloc(1, sizeof *source);
    pthread_mutex_init(&source->lock, NULL);
    source->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    source->config = gw_config_ref(config);
    source->routes = gw_routes_ref(routes);
    gw_receiver_init(&source->receiver, source_on_packet, source);
    gw_ingest_init(&source->ingest, epoch, inboxes, workers);
    gw_publisher_init(&source->publisher, inboxes, workers, source_wake, source);
    gw_publisher_configure(&source->publisher, config);
    gw_route_stats_configure(&source->ingest.routes, config);
    gw_subscriptions_change(&source->subs, routes, NULL, NULL);
    return source;
}

void gw_source_go_on(struct gw_source *source, uint64_t seq, const struct gw_history_keeper *keeper,
                     struct gw_history_store *store)
{
    source->ingest.seq = seq;
    source->ingest.ask_at = seq + 1;
    source->ingest.keeper = keeper;
    source->ingest.store = store;
}

uint64_t gw_source_seq(const struct gw_source *source)
{
    return source->ingest.seq;
}

enum gw_err gw_source_start(struct gw_source *source)
{
    source->broker = gw_abilities_default(true);
    source_post_state(source, false);
    if (pthread_create(&source->thread, NULL, source_run, source))
        return GW_ERR_INTERNAL;
    source->started = true;
    return GW_OK;
}

void gw_source_reload(struct gw_source *source, struct gw_config *config, struct gw_routes *routes,
                      struct gw_auth *auth)
{
    pthread_mutex_lock(&source->lock);
    gw_config_unref(source->next_config);
    gw_routes_unref(source->next_routes);
    gw_auth_unref(source->next_auth);
    source->next_config = gw_config_ref(config);
    source->next_routes = gw_routes_ref(routes);
    source->next_auth = gw_auth_ref(auth);
    pthread_mutex_unlock(&source->lock);
    source_wake(source);
}

bool gw_source_stop(struct gw_source *source)
{
    if (!source->started)
        return true;
    atomic_store(&source->stopping, true);
    source_wake(source);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += (STOP_MS + JOIN_MS) / 1000;
    source->started = pthread_timedjoin_np(source->thread, NULL, &until) != 0;
    return !source->started;
}

void gw_source_destroy(struct gw_source *source)
{
    if (!source)
        return;
    if (source->mosq)
        mosquitto_destroy(source->mosq);
    gw_receiver_lost(&source->receiver);
    gw_publisher_fini(&source->publisher);
    gw_ingest_fini(&source->ingest);
    gw_subscriptions_fini(&source->subs);
    gw_config_unref(source->next_config);
    gw_routes_unref(source->next_routes);
    gw_auth_unref(source->next_auth);
    gw_routes_unref(source->routes);
    gw_config_unref(source->config);
    pthread_mutex_destroy(&source->lock);
    close(source->wake_fd);
    free(source);
    mosquitto_lib_cleanup();
}

struct gw_upstream gw_source_upstream(struct gw_source *source)
{
    return (struct gw_upstream){.context = &source->publisher, .publish = gw_publisher_publish};
}

struct gw_source_stats gw_source_stats(struct gw_source *source)
{
    return (struct gw_source_stats){
        .received = atomic_load(&source->received),
        .received_bytes = atomic_load(&source->received_bytes),
        .messages = atomic_load(&source->ingest.messages),
        .doubles = atomic_load(&source->doubles),
        .codec_dropped = atomic_load(&source->ingest.codec_dropped),
        .too_large = atomic_load(&source->too_large),
        .unrouted = atomic_load(&source->ingest.unrouted),
        .published = atomic_load(&source->publisher.published),
        .rejected = atomic_load(&source->publisher.rejected),
        .responses_unknown = atomic_load(&source->publisher.responses_unknown),
        .connects = atomic_load(&source->connects),
        .connect_failures = atomic_load(&source->connect_failures),
        .disconnects = atomic_load(&source->disconnects),
    };
}

void gw_source_route_stats(struct gw_source *source, gw_route_stats_visit visit, void *context)
{
    gw_route_stats_read(&source->ingest.routes, visit, context);
}
