#include "mqtt/source.h"

#include <errno.h>
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "gateway/alloc.h"
#include "gateway/clock.h"
#include "gateway/log.h"
#include "mqtt/client.h"
#include "mqtt/passed_on.h"
#include "mqtt/source_private.h"
#include "route/routes.h"

/* Our own loop instead of mosquitto_loop_start(): libmosquitto 2.0.11 waits with select(2), which can't take a
 * descriptor above 1023, and with thousands of web clients a reconnect gets one; and its back-off has no jitter. */

void gw_source_wake(void *context)
{
    struct gw_source *source = context;
    uint64_t one = 1;
    ssize_t written = write(source->wake_fd, &one, sizeof one);
    (void)written; /* it only fails when it is full, and then the thread is awake anyway */
}

/* In a session that the broker has kept: can one of our filters have brought it? */
static void source_check_leftover(struct gw_source *source, const struct gw_packet *packet, bool routed)
{
    if (packet->retain || source->stored.state >= GW_STORED_VERIFY) /* it has some of its own for a while */
        return;
    if (routed ? packet->id_count && !gw_subscriptions_knows(&source->subs, packet)
               : gw_routes_canonical_subscription(source->routes, packet->topic, packet->topic_len) == SIZE_MAX)
        gw_leftover_suspect(source, packet, routed);
}

/* `properties`: NULL if the receiver took the packet, which leaves to libmosquitto what could be for the publisher.
 */
static void source_take(struct gw_source *source, const struct gw_packet *packet,
                        const mosquitto_property *properties)
{
    atomic_fetch_add_explicit(&source->received, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&source->received_bytes, packet->payload_len, memory_order_relaxed);
    if (packet->payload_len > source->settings.max_packet) {
        atomic_fetch_add_explicit(&source->too_large, 1, memory_order_relaxed);
        if (packet->retain)
            gw_ingest_note_stored(&source->ingest, source->routes, packet);
        GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "mqtt", "dropped a payload of %zu bytes on '%.*s': above broker.max_packet",
                             packet->payload_len, (int)packet->topic_len, packet->topic);
        return;
    }
    if (gw_publisher_respond(&source->publisher, packet, properties))
        return;
    if (source->role == GW_SOURCE_INGEST) {
        gw_sharing_take(source, packet);
        return;
    }
    bool again = packet->qos > 0 && !packet->retain && source->settings.session_expiry_ms > 0 &&
                 gw_redelivery_is_double(&source->redelivery, packet);
    if (again || gw_subscriptions_is_double(&source->subs, source->routes, packet)) {
        atomic_fetch_add_explicit(&source->doubles, 1, memory_order_relaxed);
        return;
    }
    bool routed = gw_ingest_message(&source->ingest, source->routes, packet);
    if (source->subs.kept)
        source_check_leftover(source, packet, routed);
}

/* Does the packet come by a subscription that brings stored values, or by one that says of live messages whether they
 * are stored? An empty payload is live by either: no broker stores one. */
static void source_take_retained(struct gw_source *source, const struct gw_packet *packet,
                                 const mosquitto_property *properties)
{
    if (gw_subscriptions_is_live(packet) || !packet->payload_len ||
        (!packet->id_count && !source->stored.guess && source->stored.state == GW_STORED_IDLE)) {
        struct gw_packet live = *packet;
        live.retain = false;
        live.kept = true;
        source_take(source, &live, properties);
        return;
    }
    gw_stored_arrived(&source->stored);
    source_take(source, packet, properties);
}

static void source_on_packet(void *context, const struct gw_packet *packet)
{
    if (packet->retain)
        source_take_retained(context, packet, NULL);
    else
        source_take(context, packet, NULL);
}

void gw_source_on_message(struct mosquitto *mosq, void *object, const struct mosquitto_message *message,
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
    packet.expires =
        mosquitto_property_read_int32(properties, MQTT_PROP_MESSAGE_EXPIRY_INTERVAL, &packet.expiry, false) != NULL;
    struct gw_buf block = {0};
    gw_passed_on_read(properties, &block);
    packet.properties = block.data;
    packet.properties_len = block.len;
    if (packet.retain)
        source_take_retained(object, &packet, properties);
    else
        source_take(object, &packet, properties);
    gw_buf_fini(&block);
    if (((struct gw_source *)object)->role == GW_SOURCE_INGEST && packet.qos)
        gw_sharing_await(object);
    errno = 0; /* receiver.h */
}

/* --- the loop --------------------------------------------------------------------------------------------------- */

static bool source_is_wanted(const struct gw_source *source)
{
    return source->role != GW_SOURCE_INGEST || source->term;
}

static void source_apply_reload(struct gw_source *source, struct gw_config *config, struct gw_routes *routes,
                                struct gw_auth *auth)
{
    struct gw_config *old_config = source->config;
    struct gw_routes *old_routes = source->routes;
    source->config = config;
    source->routes = routes;
    gw_publisher_configure(&source->publisher, config);
    gw_route_stats_configure(&source->ingest.routes, config);
    if (source->ingest.liveness)
        gw_liveness_configure(source->ingest.liveness, routes);
    gw_source_settle_settings(source);
    source->attempts.v5_again_ms = 0; /* the broker may be another one meanwhile */
    if (gw_client_differs(&old_config->broker, &config->broker)) {
        gw_log(GW_LOG_INFO, "mqtt", "the broker settings changed: reconnecting");
        if (source->mosq && source->connected) {
            mosquitto_disconnect(source->mosq);
            mosquitto_loop_write(source->mosq, 1);
        }
        gw_connection_give_up(source, "the broker settings changed", false);
        gw_attempts_reset(&source->attempts);
    }
    gw_stored_reloaded(source);
    if (source->role != GW_SOURCE_PUBLISH)
        gw_subscriptions_change(&source->subs, routes, source->connected ? source->mosq : NULL, &source->broker);
    /* From the next message on; and because the inboxes keep the order, the workers change at the same place. */
    struct gw_event event = {.type = GW_EVENT_RELOAD, .u.reload = {routes, config, auth}};
    if (source->role != GW_SOURCE_PUBLISH)
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
    bool pending = active && gw_receiver_pending(&source->receiver, source->mosq);
    gw_sharing_flush(source);
    if (poll(fds, 2, pending ? 0 : timeout_ms) < 0)
        return;
    if (fds[0].revents) {
        uint64_t count;
        ssize_t got = read(source->wake_fd, &count, sizeof count);
        (void)got;
    }
    if (!active)
        return;
    gw_receiver_settle(&source->receiver);
    source->open = source->open || gw_connection_is_open(source);
    errno = 0;
    int rc = MOSQ_ERR_SUCCESS;
    if (pending || fds[1].revents & (POLLIN | POLLHUP | POLLERR))
        rc = gw_receiver_read(&source->receiver, source->mosq);
    if (rc == MOSQ_ERR_SUCCESS && !source->again && mosquitto_socket(source->mosq) >= 0)
        rc = gw_receiver_write(&source->receiver, source->mosq);
    int saved = errno;
    if (rc == MOSQ_ERR_SUCCESS && !source->again)
        rc = mosquitto_loop_misc(source->mosq);
    if (rc != MOSQ_ERR_SUCCESS || source->again || mosquitto_socket(source->mosq) < 0)
        gw_connection_failed(source, rc, saved);
}

/* After what has come was read. */
static void source_watch(struct gw_source *source)
{
    if (!source->ingest.liveness)
        return;
    gw_liveness_tick(source->ingest.liveness, gw_monotonic_ms());
    gw_ingest_tell_states(&source->ingest);
}

/* How long there is nothing to do but what wakes the thread. */
static int64_t source_rest(const struct gw_source *source, int64_t now)
{
    int64_t wait = 500;
    if (!source->connecting && !source->connected && source_is_wanted(source)) {
        int64_t left = source->attempts.at_ms - now;
        bool asking = source->destination.waiting && !source->destination.came;
        if (left < wait && (left > 0 || !asking))
            wait = left > 0 ? left : 0;
    }
    if (!source->ingest.liveness)
        return wait;
    bool tells = !source->ingest.engine->shared || atomic_load(&source->ingest.term);
    return gw_liveness_wait(source->ingest.liveness, tells, now, wait);
}

static void *source_run(void *context)
{
    struct gw_source *source = context;
    int64_t misc_ms = 0;
    while (!atomic_load(&source->stopping)) {
        source_check_reload(source);
        gw_sharing_check_term(source);
        int64_t now = gw_monotonic_ms();
        if (now - misc_ms >= 100) {
            gw_connection_expire(source, now);
            if (source->connected)
                gw_subscriptions_retry(&source->subs, source->mosq, &source->broker, now);
            gw_stored_tick(source, now);
            misc_ms = now;
        }
        if (!source->connected)
            gw_destination_tick(&source->destination);
        if (!source->connecting && !source->connected && source_is_wanted(source) &&
            (now >= source->attempts.at_ms || source->destination.came))
            gw_connection_attempt(source);
        if (source->connecting && now >= source->deadline_ms && !gw_connection_hears(source, now))
            gw_connection_overdue(source);
        source_turn(source, (int)source_rest(source, now));
        source_watch(source);
        if (source->subs.changed && !source->subs.unanswered)
            gw_connection_report(source);
    }
    if (source->mosq && source->connected) {
        /* MQTT 5: without properties the session's expiry stays as it was given, so the broker keeps it. */
        int64_t until = gw_monotonic_ms() + GW_SOURCE_STOP_MS;
        gw_receiver_stop(&source->receiver);
        while (mosquitto_socket(source->mosq) >= 0 && gw_receiver_owes(&source->receiver) &&
               gw_monotonic_ms() < until)
            source_turn(source, 50);
        while (mosquitto_socket(source->mosq) >= 0 && gw_receiver_events(&source->receiver, source->mosq) & POLLOUT &&
               gw_monotonic_ms() < until)
            source_turn(source, 50);
        if (mosquitto_socket(source->mosq) >= 0)
            gw_client_disconnect(source->mosq, until);
    }
    source->up = false; /* no worker is there to be told */
    gw_connection_give_up(source, NULL, false);
    return NULL;
}

/* --- from main -------------------------------------------------------------------------------------------------- */

struct gw_source *gw_source_create(enum gw_source_role role, struct gw_config *config, struct gw_routes *routes,
                                   const struct gw_engine *engine, struct gw_engine_store *store,
                                   struct gw_inbox **inboxes, unsigned workers)
{
    mosquitto_lib_init();
    struct gw_source *source = gw_calloc(1, sizeof *source);
    pthread_mutex_init(&source->lock, NULL);
    source->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    source->config = gw_config_ref(config);
    source->routes = gw_routes_ref(routes);
    source->role = role;
    gw_receiver_init(&source->receiver, source_on_packet, gw_connection_note, source);
    gw_ingest_init(&source->ingest, engine, store, inboxes, workers, &source->stored);
    gw_source_settle_settings(source);
    gw_publisher_init(&source->publisher, inboxes, workers, gw_source_wake, source);
    gw_publisher_configure(&source->publisher, config);
    gw_route_stats_configure(&source->ingest.routes, config);
    gw_granted_init(&source->granted);
    gw_ingest_share(&source->ingest, gw_source_wake, source);
    if (role != GW_SOURCE_PUBLISH) {
        source->ingest.liveness = gw_liveness_create(gw_monotonic_ms());
        gw_liveness_configure(source->ingest.liveness, routes);
    }
    if (role == GW_SOURCE_INGEST) {
        gw_receiver_defer(&source->receiver, &gw_sharing_safety);
        source->subs.shared = true;
    }
    if (role != GW_SOURCE_PUBLISH)
        gw_subscriptions_change(&source->subs, routes, NULL, NULL);
    gw_connection_report(source);
    return source;
}

struct gw_engine_sink gw_source_sink(struct gw_source *source)
{
    return gw_ingest_sink(&source->ingest);
}

enum gw_err gw_source_start(struct gw_source *source)
{
    source->broker = gw_abilities_default(true);
    gw_connection_post_state(source, false);
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
    gw_source_wake(source);
}

void gw_source_stop(struct gw_source *source)
{
    if (!source->started)
        return;
    atomic_store(&source->stopping, true);
    gw_source_wake(source);
    pthread_join(source->thread, NULL);
    source->started = false;
}

void gw_source_destroy(struct gw_source *source)
{
    if (!source)
        return;
    if (source->mosq)
        mosquitto_destroy(source->mosq);
    gw_destination_fini(&source->destination);
    gw_receiver_fini(&source->receiver);
    free(source->own_id);
    free(source->own_response_topic);
    mosquitto_property_free_all(&source->notes);
    gw_publisher_fini(&source->publisher);
    gw_ingest_fini(&source->ingest);
    gw_subscriptions_fini(&source->subs);
    gw_granted_fini(&source->granted);
    gw_stored_fini(&source->stored);
    gw_leftover_fini(&source->leftover);
    gw_stored_ask_free(source->stored_answer);
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
