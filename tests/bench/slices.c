/* slices.c: what a hub with many channels costs, without sockets and broker: CPU time of this thread, so that a busy
 * machine matters little, and the longest turn, in which every other client of the worker would wait.
 *
 *   slices CHANNELS...        default: 10000 100000 1000000 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "app/builtins.h"
#include "gateway/codec.h"
#include "gateway/hub.h"
#include "gateway/timer.h"
#include "hub/inbox.h"
#include "route/routes.h"

#define EPOCH   "benchbench0"
#define PAYLOAD "{\"temperature\":21.5,\"hum\":40.0}"

static struct gw_config *config;
static struct gw_hub *hub;
static struct gw_timers timers;
static uint64_t head;
static double longest;

static double cpu(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

struct client {
    struct gw_session session; /* first member */
    uint64_t got;
};

/* Takes everything, as a socket that is never full. */
static void on_ready(struct gw_session *session)
{
    struct gw_item items[64];
    size_t count;
    while ((count = gw_session_next_batch(session, items, 64, 256 * 1024))) {
        for (size_t i = 0; i < count; i++) {
            ((struct client *)session)->got += items[i].type == GW_ITEM_MESSAGE;
            gw_session_release(session, &items[i]);
        }
    }
}

static void on_kick(struct gw_session *session, enum gw_err why)
{
    (void)session;
    fprintf(stderr, "kicked: %s\n", gw_err_code(why));
    exit(1);
}

static const struct gw_session_ops ops = {.ready = on_ready, .kick = on_kick};

static enum gw_err no_publish(void *context, struct gw_publish **publish)
{
    (void)context, (void)publish;
    return GW_ERR_UPSTREAM_DOWN;
}

static void setup(void)
{
    config = calloc(1, sizeof *config);
    atomic_init(&config->refs, 1);
    config->file = strdup("bench");
    config->route_count = 1;
    config->routes = calloc(1, sizeof *config->routes);
    config->routes[0].topic = strdup("#");
    config->routes[0].codec = gw_codec_find("auto");
    config->routes[0].history_engine = gw_history_find("memory");
    config->routes[0].history = (struct gw_history_limits){.count = 100, .bytes = 1 << 20};
    config->limits = (struct gw_cfg_limits){
        .subscriptions = 100, .queue_bytes = 1 << 20, .channels = 2000000, .history_bytes = 4ull << 30};
    struct gw_routes *routes = gw_routes_build(config);
    gw_timers_init(&timers);
    struct gw_hub_setup made = {
        .epoch = EPOCH, .config = config, .routes = routes, .timers = &timers, .upstream = {NULL, no_publish}};
    hub = gw_hub_create(&made);
    gw_hub_tick(hub, 1, 1764000000000);
    gw_routes_unref(routes);
    head = 0;
}

static void publish(unsigned channel)
{
    char name[64];
    int len = snprintf(name, sizeof name, "home/%u/room/%u", channel / 1000, channel);
    struct gw_message_spec spec = {.channel = name,
                                   .channel_len = (size_t)len,
                                   .json = PAYLOAD,
                                   .json_len = sizeof PAYLOAD - 1,
                                   .payload = PAYLOAD,
                                   .payload_len = sizeof PAYLOAD - 1,
                                   .epoch = EPOCH,
                                   .seq = ++head,
                                   .ts = 1764000000000,
                                   .born_ns = (int64_t)head};
    struct gw_event event = {.type = GW_EVENT_MESSAGE, .u.message = gw_message_create(&spec)};
    gw_hub_handle(hub, &event);
}

/* One step of a turn, as far as it counts for the longest. */
static double step(double start)
{
    double took = cpu() - start;
    if (took > longest)
        longest = took;
    return took;
}

/* Turns until nothing is left to do; CPU seconds of all. */
static double turns(void)
{
    double sum = 0;
    do {
        double start = cpu();
        gw_hub_flush(hub);
        sum += step(start);
    } while (gw_hub_busy(hub));
    return sum;
}

static double subscribe(struct client *client, const char *filter, uint64_t from)
{
    char cursor[64];
    struct gw_subscribed out;
    gw_hub_format_cursor(hub, from, cursor);
    struct gw_start at = {
        .at = from == UINT64_MAX ? GW_START_LAST : GW_START_CURSOR, .cursor = cursor, .cursor_len = strlen(cursor)};
    double start = cpu();
    if (gw_session_subscribe(&client->session, filter, strlen(filter), &at, &out) != GW_OK)
        abort();
    gw_session_catch_up(&client->session);
    return step(start) + turns();
}

static double leave(struct client *client)
{
    double start = cpu();
    gw_session_close(&client->session);
    return step(start) + turns();
}

static void join(struct client *client)
{
    memset(client, 0, sizeof *client);
    gw_session_open(&client->session, hub, &ops);
}

static void expect(const struct client *client, uint64_t messages)
{
    if (client->got == messages)
        return;
    fprintf(stderr, "%llu messages came, not %llu\n", (unsigned long long)client->got, (unsigned long long)messages);
    exit(1);
}

static double longest_ms(void)
{
    double ms = longest * 1000;
    longest = 0;
    return ms;
}

static bool listed(void *context, struct gw_message *msg)
{
    *(size_t *)context += msg->text.len;
    return true;
}

/* Resuming after a short break, again and again. */
static double resume(const char *filter, uint64_t from, uint64_t messages)
{
    double sum = 0;
    for (int i = 0; i < 100; i++) {
        struct client client;
        join(&client);
        sum += subscribe(&client, filter, from);
        expect(&client, messages);
        gw_session_close(&client.session);
    }
    return sum / 100;
}

static void measure(unsigned channels)
{
    setup();
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    for (unsigned i = 0; i < channels; i++)
        publish(i);
    turns();
    longest = 0;
    printf("%u channels: %.0f bytes each, of which payload %zu\n", channels,
           (double)(mallinfo2().uordblks + mallinfo2().hblkhd - before) / channels, sizeof PAYLOAD - 1);

    struct client client;
    join(&client);
    double took = subscribe(&client, "#", UINT64_MAX);
    expect(&client, channels);
    printf("  snapshot of #      %6.3f us a channel, longest turn %6.2f ms\n", took / channels * 1e6, longest_ms());
    took = leave(&client);
    printf("  unsubscribe        %6.3f ms, longest turn %6.2f ms\n", took * 1000, longest_ms());

    uint64_t from = head;
    for (unsigned i = 0; i < 100; i++)
        publish(i);
    turns();
    longest = 0;
    double plain = resume("home/0/room/7", from, 1), wild = resume("#", from, 100);
    printf("  resume, 100 later  %6.3f us plain, %6.3f us # with 100 messages, longest turn %6.2f ms\n", plain * 1e6,
           wild * 1e6, longest_ms());
    plain = resume("home/0/room/7", head, 0), wild = resume("#", head, 0);
    printf("  resume, 0 later    %6.3f us plain, %6.3f us #: %.2f x\n", plain * 1e6, wild * 1e6, wild / plain);

    uint32_t slot = 0;
    size_t bytes = 0;
    bool over = false;
    double sum = 0;
    while (!over) {
        double start = cpu();
        over = gw_hub_list_slice(hub, NULL, "#", 1, &slot, 1024, listed, &bytes);
        sum += step(start);
    }
    printf("  list of all        %6.3f us a channel, longest turn %6.2f ms\n", sum / channels * 1e6, longest_ms());

    struct gw_event event = {.type = GW_EVENT_RELOAD,
                             .u.reload = {.config = gw_config_ref(config), .routes = gw_routes_build(config)}};
    double start = cpu();
    gw_hub_handle(hub, &event);
    took = step(start) + turns();
    printf("  reload             %6.3f us a channel, longest turn %6.2f ms\n", took / channels * 1e6, longest_ms());
    gw_hub_destroy(hub);
    gw_timers_fini(&timers);
    gw_config_unref(config);
    malloc_trim(0);
}

/* Clients with many filters that overlap, against clients with one. */
static void overlap(unsigned filters)
{
    enum { CLIENTS = 100, CHANNELS = 10000, MESSAGES = 2000 };
    setup();
    for (unsigned i = 0; i < CHANNELS; i++)
        publish(i);
    static struct client clients[CLIENTS];
    double joined = 0;
    for (unsigned i = 0; i < CLIENTS; i++) {
        join(&clients[i]);
        joined += subscribe(&clients[i], "#", head);
        for (unsigned f = 1; f < filters; f++) {
            char filter[64];
            if (f % 2)
                snprintf(filter, sizeof filter, "home/%u/#", f / 2 % 10);
            else
                snprintf(filter, sizeof filter, "home/+/room/%u", (i * 50 + f) % CHANNELS);
            joined += subscribe(&clients[i], filter, head);
        }
    }
    double sum = 0;
    for (unsigned i = 0; i < MESSAGES; i++) {
        double start = cpu();
        publish(i * 7 % CHANNELS);
        sum += step(start) + turns();
    }
    for (unsigned i = 0; i < CLIENTS; i++)
        expect(&clients[i], MESSAGES);
    printf("%u clients, %u filters each: %.3f us a subscription, %.4f us a delivery\n", CLIENTS, filters,
           joined / CLIENTS / filters * 1e6, sum / MESSAGES / CLIENTS * 1e6);
    for (unsigned i = 0; i < CLIENTS; i++)
        gw_session_close(&clients[i].session);
    gw_hub_destroy(hub);
    gw_timers_fini(&timers);
    gw_config_unref(config);
}

int main(int argc, char **argv)
{
    static const unsigned defaults[] = {10000, 100000, 1000000};
    gw_builtins_use();
    if (argc > 1) {
        for (int i = 1; i < argc; i++)
            measure((unsigned)atoi(argv[i]));
    } else {
        for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++)
            measure(defaults[i]);
    }
    overlap(1);
    overlap(50);
    return 0;
}
