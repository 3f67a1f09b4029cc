/* driver.c: the way of a message through the gateway on one thread, without broker, clock or libwebsockets, so that
 * the number of instructions is the same each time: route table, codec, message, inbox, hub, sessions, transport,
 * wire, down to sendmsg(2) on socket pairs. Without the ring of io_uring, which not every kernel allows: each
 * connection sends for itself.
 *
 *   driver TRANSPORT CLIENTS CHANNELS BATCH OTHERS ROUNDS      TRANSPORT: ws raw sse poll socketio socketio-poll
 *                                                              mqtt mqtt-qos1 ws-resume mqtt-resume
 *                                                              mqtt-resume-qos1 none windows
 *
 * With `none` there are no clients: what is counted is what a message costs that is only taken in.
 * With `windows` all clients ask for the same windows of a day: what is counted is what a message costs that goes
 * into them, and that must not depend on how many clients there are. With `ws-resume` and, in a kept session,
 * `mqtt-resume` and `mqtt-resume-qos1` the clients are away while a batch comes in. What is counted is what they cost
 * from their return until they have it.
 *
 * OTHERS is a number of routes and, with ws, of filters subscribed to that none of the messages matches: they should
 * cost nothing.
 *
 * Each round, BATCH messages come in at once, going round the channels; then every client's end is read and counted.
 * After ROUNDS of them, in which buffers grow to their sizes, as many again are counted: callgrind counts
 * (--toggle-collect) what guard_turn() and, where clients say something, guard_request() do; reading and checking are
 * outside. Prints how many messages the clients got in the counted rounds, and how many system calls sent them
 * (callgrind does not see what those cost; the linker leads the gateway's calls through the __wrap_ functions below).
 */
#include "driver.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/builtins.h"
#include "config/protocols.h"
#include "hub/inbox.h"
#include "mqtt/ingest.h"
#include "net/admission.h"

#define CLOCK_MS 1000

struct guard guard;
static struct gw_server server;
static struct gw_ingest ingest;
static struct gw_engine_found found;
static struct gw_routes *routes;
static struct client *clients;
static int qos; /* of the messages that come in */

static unsigned long calls;
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __real_send(int fd, const void *data, size_t len, int flags);
ssize_t __wrap_send(int fd, const void *data, size_t len, int flags);

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    calls++;
    return __real_sendmsg(fd, message, flags);
}

ssize_t __wrap_send(int fd, const void *data, size_t len, int flags)
{
    calls++;
    return __real_send(fd, data, len, flags);
}

bool guard_is(const char *transport)
{
    return strcmp(guard.transport, transport) == 0;
}

void guard_fail(const char *what)
{
    fprintf(stderr, "driver: %s\n", what);
    exit(1);
}

static enum gw_err no_publish(void *context, struct gw_publish **publish)
{
    (void)context;
    (void)publish;
    return GW_ERR_UPSTREAM_DOWN;
}

static void no_wake(void *context)
{
    (void)context;
}

static struct gw_config *load(void)
{
    char path[] = "/tmp/sluice-guard-XXXXXX";
    int fd = mkstemp(path);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    if (!file)
        guard_fail("no temporary file");
    fprintf(file, "broker: { url: mqtt://127.0.0.1 }\nlimits: { subscriptions: 10000 }\nsocketio: true\nmqtt: true\n"
                  "routes:\n");
    for (unsigned i = 0; i < guard.others; i++)
        fprintf(file, "  - topic: others/%u/{name}/state\n", i);
    fprintf(file, "  - { topic: 'guard/{name...}', history: { count: %u } }\n",
            guard.batch > 100 ? guard.batch : 100);
    fclose(file);
    struct gw_config *config;
    struct gw_buf problems = {0};
    enum gw_err err = gw_config_load(path, &config, &problems);
    unlink(path);
    if (err != GW_OK)
        guard_fail(problems.data);
    return config;
}

static void prepare(void)
{
    static struct gw_inbox *inboxes[1];
    struct gw_config *config = load();
    routes = gw_routes_build(config);
    server = (struct gw_server){.workers = &guard.worker, .worker_count = 1, .admission = gw_admission_create()};
    guard.worker = (struct gw_worker){.server = &server, .thread = pthread_self(), .started = true, .spare_fd = -1};
    guard.listener = (struct gw_listener){.watch = {.worker = &guard.worker, .fd = -1}, .protocol = GW_PROTOCOL_HTTP};
    gw_timers_init(&guard.worker.timers);
    guard.worker.batches = gw_batches_create();
    guard.worker.inbox = inboxes[0] = gw_inbox_create(config->limits.inbox, no_wake, NULL);
    const struct gw_engine *engine = gw_engine_find("memory");
    struct gw_engine_store *store;
    struct gw_buf error = {0};
    if (engine->open(NULL, &found, &store, &error) != GW_OK)
        guard_fail(error.data);
    struct gw_hub_setup setup = {.epoch = found.epoch,
                                 .config = config,
                                 .routes = routes,
                                 .upstream = {NULL, no_publish},
                                 .timers = &guard.worker.timers};
    guard.worker.hub = gw_hub_create(&setup);
    gw_hub_tick(guard.worker.hub, CLOCK_MS, CLOCK_MS);
    struct gw_event up = {.type = GW_EVENT_UPSTREAM, .u.upstream = {true, CLOCK_MS}};
    gw_hub_handle(guard.worker.hub, &up);
    static struct gw_stored stored; /* of no connection */
    gw_ingest_init(&ingest, engine, store, inboxes, 1, &stored);
    const struct gw_engine_sink sink = gw_ingest_sink(&ingest);
    guard.epoch = found.epoch;
    if (engine->start(store, &sink, &error) != GW_OK)
        guard_fail(error.data);
    gw_route_stats_configure(&ingest.routes, config);
}

/* BATCH messages in, and whatever leaves because of them. */
static __attribute__((noinline)) void turn(unsigned first)
{
    static const char payload[] = "{\"state\":\"ON\",\"mark\":\"" MARK
                                  "\",\"power\":21.5,\"energy\":1234.25,\"voltage\":230,\"linkquality\":120,"
                                  "\"update\":{\"state\":\"idle\"}}";
    char topic[32];
    for (unsigned i = 0; i < guard.batch; i++) {
        int len = snprintf(topic, sizeof topic, "guard/%u", (first + i) % guard.channel_count);
        struct gw_packet packet = {.topic = topic,
                                   .topic_len = (size_t)len,
                                   .payload = payload,
                                   .payload_len = sizeof payload - 1,
                                   .qos = qos};
        gw_ingest_message(&ingest, routes, &packet);
    }
    struct gw_event *events;
    size_t count;
    gw_inbox_take(guard.worker.inbox, &events, &count);
    for (size_t i = 0; i < count; i++)
        gw_hub_handle(guard.worker.hub, &events[i]);
    gw_hub_flush(guard.worker.hub);
    guard.published += guard.batch;
    gw_batches_forget(guard.worker.batches);
}

void guard_turn(unsigned first);
__attribute__((noinline)) void guard_turn(unsigned first)
{
    turn(first);
    __asm__ volatile("");
}

int main(int argc, char **argv)
{
    if (argc != 7)
        guard_fail("TRANSPORT CLIENTS CHANNELS BATCH OTHERS ROUNDS");
    gw_builtins_use();
    guard.transport = argv[1];
    qos = guard_at_qos1();
    guard.client_count = (unsigned)atoi(argv[2]);
    guard.channel_count = (unsigned)atoi(argv[3]);
    guard.batch = (unsigned)atoi(argv[4]);
    guard.others = (unsigned)atoi(argv[5]);
    unsigned rounds = (unsigned)atoi(argv[6]);
    bool none = guard_is("none"), taken_in_only = none || guard_is("windows");
    struct rlimit files = {20000, 20000};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);

    prepare();
    if (none != !guard.client_count)
        guard_fail("no clients with `none`, and only with it");
    clients = calloc(guard.client_count + 1, sizeof *clients);
    for (unsigned i = 0; i < guard.client_count; i++)
        client_attach(&clients[i], i);
    if (taken_in_only)
        gw_timers_run(&guard.worker.timers, CLOCK_MS); /* the windows begin */
    unsigned long expected = 0, got = 0;
    for (unsigned round = 0; round < 2 * rounds; round++) {
        guard.counted = round >= rounds;
        if (round == rounds)
            calls = expected = got = 0;
        for (unsigned i = 0; i < guard.client_count && client_leaves(); i++)
            client_leave(&clients[i]);
        if (guard.counted && !client_leaves())
            guard_turn(round * guard.batch);
        else
            turn(round * guard.batch);
        if (taken_in_only)
            got += guard.batch;
        expected +=
            taken_in_only ? guard.batch : (unsigned long)guard.batch * guard.client_count / guard.channel_count;
        for (unsigned i = 0; i < guard.client_count; i++) {
            if (client_leaves())
                client_return(&clients[i]);
            got += client_collect(&clients[i]);
        }
        if (got != expected)
            guard_fail("messages were lost or doubled");
    }
    if (!calls && !taken_in_only)
        guard_fail("nothing was sent by sendmsg() or send(): count what sends now");
    printf("%lu %lu\n", got, calls);
    return 0; /* as it is: taking everything apart is not measured */
}
