/* hub_world.c: a hub with its engine, its mail and a clock, as the hub's tests try it. */
#include "hub_world.h"

#include "check.h"
#include "gateway/codec.h"
#include "hub/channel/history.h"
#include "hub/hub_private.h"
#include "hub/inbox.h"
#include "mqtt/ingest.h"
#include "route/routes.h"

const char *const channel_names[CHANNELS] = {"a", "a/b", "a/b/c", "a/x/c", "d", "d/e", "$s"};

struct gw_config *config;
struct gw_hub *hub;
struct gw_timers timers;
struct client clients[SESSIONS];
uint64_t lost_to;
struct gw_routes *routes;
struct gw_inbox *inbox;
static struct gw_ingest ingest;

static void on_ready(struct gw_session *session)
{
    (void)session; /* clients drain when the test says so */
}

static void on_kick(struct gw_session *session, enum gw_err why)
{
    (void)why;
    ((struct client *)session)->kicked = true;
}

const struct gw_session_ops ops = {.ready = on_ready, .kick = on_kick};

static enum gw_err no_publish(void *context, struct gw_publish **publish)
{
    (void)context;
    (void)publish;
    return GW_ERR_UPSTREAM_DOWN;
}

struct gw_config *make_config(uint32_t history, size_t queue, uint32_t channels)
{
    struct gw_config *made = calloc(1, sizeof *made);
    atomic_init(&made->refs, 1);
    made->file = strdup("test");
    made->route_count = 2;
    made->routes = calloc(2, sizeof *made->routes);
    for (int i = 0; i < 2; i++) {
        made->routes[i].topic = strdup(i ? "$s" : "#");
        made->routes[i].codec = gw_codec_find("auto");
        made->routes[i].history_engine = gw_history_find("memory");
        made->routes[i].history = (struct gw_history_limits){.count = history, .bytes = 1 << 20};
    }
    made->limits = (struct gw_cfg_limits){.subscriptions = 10,
                                          .queue_bytes = queue,
                                          .channels = channels,
                                          .history_bytes = 1 << 24,
                                          .publishes_per_session = 4};
    return made;
}

static void no_wake(void *context)
{
    (void)context;
}

void setup_hub(uint32_t history, size_t queue, uint32_t channels)
{
    config = make_config(history, queue, channels);
    routes = gw_routes_build(config);
    gw_timers_init(&timers);
    inbox = gw_inbox_create(1000, no_wake, NULL);
    static struct gw_stored stored; /* of no connection */
    gw_ingest_init(&ingest, &toy, &store, &inbox, 1, &stored);
    gw_route_stats_configure(&ingest.routes, config);
    store = (struct gw_engine_store){.sink = gw_ingest_sink(&ingest)};
    struct gw_hub_setup setup = {.epoch = EPOCH,
                                 .config = config,
                                 .routes = routes,
                                 .timers = &timers,
                                 .upstream = {NULL, no_publish},
                                 .mail = {NULL, toy_mail}};
    hub = gw_hub_create(&setup);
    now_ms = 1;
    gw_hub_tick(hub, now_ms, 1);
    head = lost_to = 0;
    memset(clients, 0, sizeof clients);
}

void check_history_bytes(void)
{
    size_t bytes = 0, kept = 0;
    for (const struct gw_channel *channel = hub->channels.all.oldest; channel; channel = channel->newer) {
        bytes += gw_channel_history_bytes(channel);
        kept += channel->in_history;
        assert_true(channel->in_history == (gw_channel_history_count(channel) > 0));
    }
    assert_int_equal(hub->channels.history_bytes, bytes);
    for (const struct gw_channel *channel = hub->channels.with_history.oldest; channel; kept--)
        channel = channel->newer_history ? gw_channel_at(hub, channel->newer_history - 1) : NULL;
    assert_int_equal(kept, 0);
}

void teardown_hub(void)
{
    for (size_t i = 0; i < SESSIONS; i++)
        gw_session_close(&clients[i].session);
    toy_finish(); /* nobody waits any more */
    check_history_bytes();
    gw_hub_destroy(hub);
    gw_timers_fini(&timers);
    gw_ingest_fini(&ingest);
    gw_inbox_destroy(inbox);
    gw_routes_unref(routes);
    gw_config_unref(config);
}

void take_inbox(bool flush)
{
    struct gw_event *events;
    size_t count;
    gw_inbox_take(inbox, &events, &count);
    for (size_t i = 0; i < count; i++) {
        if (events[i].type == GW_EVENT_MESSAGE)
            head = events[i].u.message->seq;
        else if (events[i].type == GW_EVENT_LOST)
            head = lost_to = events[i].u.lost;
        gw_hub_handle(hub, &events[i]);
        if (flush)
            gw_hub_flush(hub);
    }
}

void offer_message(unsigned channel, const char *payload, bool retained)
{
    const char *name = channel_names[channel];
    const struct gw_packet packet = {.topic = name,
                                     .topic_len = strlen(name),
                                     .payload = payload,
                                     .payload_len = strlen(payload),
                                     .retain = retained};
    gw_ingest_message(&ingest, routes, &packet);
}

void send_message(unsigned channel, const char *json, bool retained)
{
    offer_message(channel, json, retained);
    take_inbox(true);
}
