/* driver.c: the way of a message through the gateway on one thread, without broker, clock or libwebsockets, so that
 * the number of instructions is the same each time: route table, codec, message, inbox, hub, sessions, transport,
 * wire, down to sendmsg(2) on socket pairs. Without the ring of io_uring, which not every kernel allows: each
 * connection sends for itself.
 *
 *   driver TRANSPORT CLIENTS CHANNELS BATCH OTHERS ROUNDS      TRANSPORT: ws raw sse poll
 *                                                              socketio socketio-poll
 *
 * OTHERS is a number of routes and, with ws, of filters subscribed to that none of the messages matches: they should
 * cost nothing.
 *
 * Each round, BATCH messages come in at once, going round the channels; then every client's end is read and counted.
 * After ROUNDS of them, in which buffers grow to their sizes, as many again are counted: callgrind counts
 * (--toggle-collect) what guard_turn() and, for polls, guard_request() do; reading and checking are outside. Prints
 * how many messages the clients got in the counted rounds, and how many system calls sent them (callgrind does not
 * see what those cost; the linker leads the gateway's calls through the
 * __wrap_ functions below). */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/builtins.h"
#include "config/protocols.h"
#include "http/conn.h"
#include "hub/inbox.h"
#include "mqtt/ingest.h"
#include "net/listener.h"
#include "net/server.h"

#define CLOCK_MS 1000
#define MARK     "#mark#" /* in every payload */

struct client {
    struct gw_sock *sock;
    int fd; /* the far end */
    unsigned channel;
    char cursor[64]; /* of polls; of Socket.IO by polling the session */
};

static struct gw_server server;
static struct gw_worker worker;
static struct gw_listener listener;
static struct gw_ingest ingest;
static struct gw_engine_found found;
static struct gw_routes *routes;
static struct client *clients;
static unsigned client_count, channel_count, batch, others;
static const char *transport;

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

static bool is(const char *name)
{
    return strcmp(transport, name) == 0;
}

static void fail(const char *what)
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
        fail("no temporary file");
    fprintf(file, "broker: { url: mqtt://127.0.0.1 }\nlimits: { subscriptions: 10000 }\nsocketio: true\nroutes:\n");
    for (unsigned i = 0; i < others; i++)
        fprintf(file, "  - topic: others/%u/{name}/state\n", i);
    fprintf(file, "  - { topic: 'guard/{name...}', history: { count: 100 } }\n");
    fclose(file);
    struct gw_config *config;
    struct gw_buf problems;
    gw_buf_init(&problems);
    enum gw_err err = gw_config_load(path, &config, &problems);
    unlink(path);
    if (err != GW_OK)
        fail(problems.data);
    return config;
}

static void prepare(void)
{
    static struct gw_inbox *inboxes[1];
    struct gw_config *config = load();
    routes = gw_routes_build(config);
    server = (struct gw_server){.workers = &worker, .worker_count = 1};
    worker = (struct gw_worker){.server = &server, .thread = pthread_self(), .started = true, .spare_fd = -1};
    listener = (struct gw_listener){.watch = {.worker = &worker, .fd = -1}, .protocol = GW_PROTOCOL_HTTP};
    gw_timers_init(&worker.timers);
    worker.batches = gw_batches_create();
    worker.inbox = inboxes[0] = gw_inbox_create(config->limits.inbox, no_wake, NULL);
    const struct gw_engine *engine = gw_engine_find("memory");
    struct gw_engine_store *store;
    struct gw_buf error;
    gw_buf_init(&error);
    if (engine->open(NULL, &found, &store, &error) != GW_OK)
        fail(error.data);
    struct gw_hub_setup setup = {.epoch = found.epoch,
                                 .config = config,
                                 .routes = routes,
                                 .upstream = {NULL, no_publish},
                                 .timers = &worker.timers};
    worker.hub = gw_hub_create(&setup);
    gw_hub_tick(worker.hub, CLOCK_MS, CLOCK_MS);
    struct gw_event up = {.type = GW_EVENT_UPSTREAM, .u.upstream = {true, CLOCK_MS}};
    gw_hub_handle(worker.hub, &up);
    static struct gw_stored stored; /* of no connection */
    gw_ingest_init(&ingest, engine, store, inboxes, 1, &stored);
    const struct gw_engine_sink sink = gw_ingest_sink(&ingest);
    if (engine->start(store, &sink, &error) != GW_OK)
        fail(error.data);
    gw_route_stats_configure(&ingest.routes, config);
}

static void input(struct client *client, const char *data, size_t len)
{
    if (!client->sock->ops->input(client->sock, data, len))
        fail("the gateway closed a connection");
}

void guard_request(struct client *client, const char *data, size_t len);
__attribute__((noinline)) void guard_request(struct client *client, const char *data, size_t len)
{
    input(client, data, len);
    __asm__ volatile(""); /* no jump to input(), which callgrind would not take for a call */
}

static void poll_again(struct client *client, bool counted)
{
    char request[256];
    int len =
        is("socketio-poll")
            ? snprintf(request, sizeof request,
                       "GET /socket.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: x\r\n\r\n", client->cursor)
            : snprintf(request, sizeof request, "GET /poll?channel=guard/%u&cursor=%s HTTP/1.1\r\nHost: x\r\n\r\n",
                       client->channel, client->cursor);
    if (counted)
        guard_request(client, request, (size_t)len);
    else
        input(client, request, (size_t)len);
}

/* Everything that its socket holds; how many messages of ours. A poll's answer moves its cursor. */
static unsigned receive(struct client *client, const char *must_hold)
{
    static char data[1 << 20];
    ssize_t len = recv(client->fd, data, sizeof data - 1, MSG_DONTWAIT);
    unsigned count = 0;
    data[len > 0 ? len : 0] = '\0';
    if (must_hold && !memmem(data, len > 0 ? (size_t)len : 0, must_hold, strlen(must_hold)))
        fail("an answer is missing");
    const char *end = data + (len > 0 ? len : 0);
    for (const char *at = data; (at = memmem(at, (size_t)(end - at), MARK, strlen(MARK))); at++)
        count++;
    const char *cursor = strstr(data, "Sluice-Cursor: ");
    if (cursor && sscanf(cursor + 15, "%63[^\r]", client->cursor) != 1)
        fail("no cursor");
    const char *sid = strstr(data, "\r\n0{\"sid\":\"");
    if (sid && sscanf(sid + 11, "%63[^\"]", client->cursor) != 1)
        fail("no session");
    return count;
}

static void say(struct client *client, const char *text, const char *answer)
{
    char frame[6 + 100] = {(char)0x81};
    int len = snprintf(frame + 6, sizeof frame - 6, "%s", text);
    frame[1] = (char)(0x80 | len); /* masked with zeros */
    input(client, frame, (size_t)len + 6);
    gw_hub_flush(worker.hub);
    receive(client, answer);
}

static void subscribe(struct client *client, const char *filter)
{
    char text[100];
    snprintf(text, sizeof text, "{\"type\":\"subscribe\",\"channel\":\"%s\"}", filter);
    say(client, text, "subscribed");
}

static void socketio_post(struct client *client, const char *body)
{
    char request[400];
    int len = snprintf(
        request, sizeof request,
        "POST /socket.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s",
        client->cursor, strlen(body), body);
    input(client, request, (size_t)len);
    receive(client, "ok");
}

static void socketio_poll_open(struct client *client, const char *join)
{
    static const char open[] = "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n";
    input(client, open, sizeof open - 1);
    receive(client, "0{\"sid\":\"");
    socketio_post(client, "40");
    socketio_post(client, join);
    poll_again(client, false);
    gw_hub_flush(worker.hub);
    receive(client, "synced");
    poll_again(client, false);
}

static void attach(struct client *client, unsigned number)
{
    int pair[2], size = 1 << 20;
    const struct in6_addr address = IN6ADDR_LOOPBACK_INIT;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair))
        fail("socketpair: too few descriptors?");
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    client->fd = pair[1];
    client->channel = number % channel_count;
    const struct gw_arrival arrival = {&listener, pair[0], address, address, false};
    client->sock = gw_conn_accept(&arrival);
    snprintf(client->cursor, sizeof client->cursor, "%s.0", found.epoch);

    static const char upgrade[] = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    char request[512], path[64];
    bool ws = is("ws"), raw = is("raw"), sse = is("sse"), socketio = is("socketio");
    snprintf(path, sizeof path, "420[\"subscribe\",\"guard/%u\"]", client->channel);
    if (is("socketio-poll"))
        socketio_poll_open(client, path);
    else if (!ws && !raw && !sse && !socketio)
        poll_again(client, false);
    if (!ws && !raw && !sse && !socketio)
        return;
    snprintf(path, sizeof path,
             ws         ? "/ws"
             : socketio ? "/socket.io/?EIO=4&transport=websocket"
             : raw      ? "/channels/guard/%u"
                        : "/sse?channel=guard/%u",
             client->channel);
    int len = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n", path, sse ? "" : upgrade);
    input(client, request, (size_t)len);
    receive(client, sse ? "200 OK" : "101 ");
    if (socketio) {
        say(client, "40", "40{");
        snprintf(path, sizeof path, "420[\"subscribe\",\"guard/%u\"]", client->channel);
        say(client, path, "synced");
    }
    if (!ws)
        return;
    snprintf(path, sizeof path, "guard/%u", client->channel);
    subscribe(client, path);
    for (unsigned i = number; i < others; i += client_count) {
        snprintf(path, sizeof path, "guard/%u/+/x", i);
        subscribe(client, path);
    }
}

/* BATCH messages in, and whatever leaves because of them. */
static __attribute__((noinline)) void turn(unsigned first)
{
    static const char payload[] = "{\"state\":\"ON\",\"mark\":\"" MARK
                                  "\",\"power\":21.5,\"energy\":1234.25,\"voltage\":230,\"linkquality\":120,"
                                  "\"update\":{\"state\":\"idle\"}}";
    char topic[32];
    for (unsigned i = 0; i < batch; i++) {
        int len = snprintf(topic, sizeof topic, "guard/%u", (first + i) % channel_count);
        struct gw_packet packet = {
            .topic = topic, .topic_len = (size_t)len, .payload = payload, .payload_len = sizeof payload - 1};
        gw_ingest_message(&ingest, routes, &packet);
    }
    struct gw_event *events;
    size_t count;
    gw_inbox_take(worker.inbox, &events, &count);
    for (size_t i = 0; i < count; i++)
        gw_hub_handle(worker.hub, &events[i]);
    gw_hub_flush(worker.hub);
    gw_batches_forget(worker.batches);
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
        fail("TRANSPORT CLIENTS CHANNELS BATCH OTHERS ROUNDS");
    gw_builtins_use();
    transport = argv[1];
    client_count = (unsigned)atoi(argv[2]);
    channel_count = (unsigned)atoi(argv[3]);
    batch = (unsigned)atoi(argv[4]);
    others = (unsigned)atoi(argv[5]);
    unsigned rounds = (unsigned)atoi(argv[6]);
    struct rlimit files = {20000, 20000};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);

    prepare();
    clients = calloc(client_count, sizeof *clients);
    for (unsigned i = 0; i < client_count; i++)
        attach(&clients[i], i);
    unsigned long expected = 0, got = 0;
    for (unsigned round = 0; round < 2 * rounds; round++) {
        bool counted = round >= rounds;
        if (round == rounds)
            calls = expected = got = 0;
        if (counted)
            guard_turn(round * batch);
        else
            turn(round * batch);
        expected += (unsigned long)batch * client_count / channel_count;
        for (unsigned i = 0; i < client_count; i++) {
            unsigned came = receive(&clients[i], NULL);
            got += came;
            if (came && (is("poll") || is("socketio-poll")))
                poll_again(&clients[i], counted);
        }
        if (got != expected)
            fail("messages were lost or doubled");
    }
    if (!calls)
        fail("nothing was sent by sendmsg() or send(): count what sends now");
    printf("%lu %lu\n", got, calls);
    return 0; /* as it is: taking everything apart is not measured */
}
