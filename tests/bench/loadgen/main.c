/* loadgen: opens clients, publishes, checks what they get, and prints one JSON object of what it measured.
 *
 *   loadgen key=value...      see options.c
 *
 * Phases: connect; idle for `idle` seconds; publish for `warm` seconds and wait until all of it has come; the same
 * for `seconds`, measured. With `messages` each ends early, after about so many. Publishing is either `pingpong` (the
 * next message when every subscriber has the last) or `burst` messages every `interval_us`, never more than `window`
 * messages ahead of the average client; a burst leaves whole or not yet.
 *
 * With `saturate=1` nothing is published while this process has been behind with reading for 20 ms. Clients are other
 * machines, which keep up; and send() to a socket that its reader has not emptied costs a fraction of one that wakes
 * the reader, so a generator that lags makes every server look several times faster than it is. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loadgen.h"

#define READ_SIZE      (256 * 1024)
#define LAG_MAX        (20 * NS / 1000)
#define ROOM_INTERVAL  (NS / 20)
#define TURN_EVENTS    64
#define CONNECTING_MAX 128
#define PATIENCE       (10 * NS) /* without any delivery, what is missing is lost */

static struct client *clients;
static int poller;
static unsigned connecting;
static bool publishing;
static int64_t drained_at; /* when there was last nothing left to read */
static unsigned next_channel;
static double room_max; /* deliveries that may be outstanding */
static int64_t next_due;

static void pump(int64_t now);

static void client_connect(struct client *client)
{
    client->fd = dial(options.port);
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = client};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, client->fd, &event))
        die("epoll_ctl: %s", strerror(errno));
    connecting++;
}

static void client_connected(struct client *client)
{
    int error = 0;
    socklen_t len = sizeof error;
    getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error)
        die("connect: %s", strerror(error));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    epoll_ctl(poller, EPOLL_CTL_MOD, client->fd, &event);
    options.protocol->open(client);
}

static void client_read(struct client *client)
{
    static char buffer[2 * READ_SIZE + 1];
    size_t len = client->rest_len;
    if (len)
        memcpy(buffer, client->rest, len);
    ssize_t got = recv(client->fd, buffer + len, READ_SIZE, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0)
        die("the server closed a connection: %s", got ? strerror(errno) : "end");
    tally_read_at = now_ns();
    tally.reads++;
    len += (size_t)got;
    size_t at = 0, taken;
    bool was_ready = client->ready;
    while (at < len && (taken = options.protocol->feed(client, buffer + at, len - at)))
        at += taken;
    if (!was_ready && client->ready)
        connecting--;
    if (len - at > READ_SIZE)
        die("a frame is too long");
    if (len - at != client->rest_len)
        client->rest = realloc(client->rest, len - at ? len - at : 1);
    client->rest_len = len - at;
    if (client->rest_len)
        memcpy(client->rest, buffer + at, client->rest_len);
}

/* One turn of the loop; waits at most until `until`. */
static void turn(int64_t until)
{
    static struct epoll_event events[TURN_EVENTS];
    int64_t now = now_ns(), wait = until > now ? until - now : 0;
    struct timespec timeout = {wait / NS, wait % NS};
    int count = epoll_pwait2(poller, events, TURN_EVENTS, &timeout, NULL);
    if (count < 0 && errno != EINTR)
        die("epoll_wait: %s", strerror(errno));
    if (count < TURN_EVENTS && count <= (int)options.clients / 4)
        drained_at = now_ns();
    for (int i = 0; i < count; i++) {
        struct client *client = events[i].data.ptr;
        if (client == &publisher)
            publish_readable();
        else if (events[i].events & EPOLLOUT)
            client_connected(client);
        else
            client_read(client);
        if (publishing)
            pump(now_ns());
    }
}

/* In units of deliveries: `window` messages to the average channel. A server that is slow gets no more ahead of it
 * than it does in half a second, or waiting for the rest would take longer than the measurement. */
static void room_update(int64_t now)
{
    static int64_t at;
    static uint64_t delivered;
    double message = (double)options.clients / options.channels, most = options.window * message;
    if (!options.saturate) {
        room_max = most;
        return;
    }
    if (at && now - at < ROOM_INTERVAL)
        return;
    double least = (options.burst > 4 ? options.burst : 4) * message;
    double half_second = at ? (double)(tally.delivered - delivered) / (double)(now - at) * (double)(NS / 2) : 0;
    room_max = (room_max + half_second) / 2;
    room_max = room_max < least ? least : room_max > most ? most : room_max;
    at = now;
    delivered = tally.delivered;
}

/* Publishes what is due and allowed. */
static void pump(int64_t now)
{
    if (!publish_flush() || (options.saturate && now - drained_at > LAG_MAX))
        return;
    uint64_t ahead = tally.expected - tally.delivered;
    if (options.pingpong) {
        if (!ahead)
            publish(next_channel);
    } else {
        room_update(now);
        double room = room_max - (double)ahead;
        double needs = (double)options.burst * options.clients / options.channels;
        if (now < next_due || room < needs)
            return;
        for (unsigned i = 0; i < options.burst; i++) {
            publish(next_channel);
            next_channel = (next_channel + 1) % options.channels;
        }
        int64_t interval = (int64_t)(options.interval_us * 1e3);
        next_due =
            (next_due + interval > now ? next_due : now) + interval; /* a late one moves the rest: no catching up */
    }
    publish_flush();
}

/* Publishes for so long, then waits for the rest. Ends early when nothing comes any more. */
static void phase(double seconds)
{
    int64_t begin = now_ns(), end = begin + (int64_t)(seconds * 1e9), progress = begin;
    uint64_t seen = tally.delivered, published = tally.published;
    publishing = true;
    next_due = begin;
    for (;;) {
        int64_t now = now_ns();
        if (now >= end || (options.messages && tally.published - published >= options.messages))
            publishing = false;
        else
            pump(now);
        if (tally.delivered != seen || tally.expected == tally.delivered) {
            seen = tally.delivered;
            progress = now;
        }
        if ((!publishing && tally.delivered >= tally.expected) || now - progress > PATIENCE)
            break;
        int64_t until = now + NS / 5;
        if (publishing && next_due > now && next_due < until)
            until = next_due;
        turn(publishing && end < until ? end : until);
        publish_flush();
    }
    publishing = false;
}

static double connect_all(void)
{
    int64_t begin = now_ns(), progress = begin;
    unsigned opened = 0, seen = 0;
    while (tally.ready < options.clients) {
        while (opened < options.clients && connecting < CONNECTING_MAX) {
            clients[opened].channel = opened % options.channels;
            client_connect(&clients[opened++]);
        }
        turn(now_ns() + NS / 5);
        if (tally.ready != seen) {
            seen = tally.ready;
            progress = now_ns();
        }
        if (now_ns() - progress > PATIENCE)
            die("only %u of %u clients are connected", tally.ready, options.clients);
    }
    return (double)(now_ns() - begin) / 1e9;
}

static void rest(double seconds)
{
    int64_t end = now_ns() + (int64_t)(seconds * 1e9);
    while (now_ns() < end)
        turn(end);
}

int main(int argc, char **argv)
{
    options_read(argc, argv);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    prctl(PR_SET_TIMERSLACK, 1UL);
    poller = epoll_create1(EPOLL_CLOEXEC);
    clients = calloc(options.clients, sizeof *clients);
    tally_init();

    double memory = meter_memory();
    struct cost before = meter_cost();
    double connected = connect_all();
    struct cost after = meter_cost();
    rest(0.3); /* what a server does after the last handshake */
    memory = meter_memory() - memory;
    printf("{\"connect_s\":%.4f,\"connect_cpu_us\":%.2f,\"memory\":%.0f", connected,
           (after.server_us - before.server_us) / options.clients, memory / options.clients);
    if (options.idle > 0) {
        before = meter_cost();
        rest(options.idle);
        after = meter_cost();
        printf(",\"idle_us_per_s\":%.1f", (after.server_us - before.server_us) / options.idle);
    }

    publish_open(poller);
    if (options.warm > 0)
        phase(options.warm);
    tally_forget_latency();
    uint64_t delivered = tally.delivered, published = tally.published, reads = tally.reads;
    before = meter_cost();
    int64_t begin = now_ns();
    phase(options.seconds);
    double seconds = (double)(now_ns() - begin) / 1e9;
    after = meter_cost();
    delivered = tally.delivered - delivered;
    published = tally.published - published;
    reads = tally.reads - reads;
    tally_close(clients);
    double each = delivered ? (double)delivered : 1;
    printf(",\"published\":%llu,\"deliveries\":%llu,\"seconds\":%.4f,\"rate\":%.0f,\"cpu_us\":%.4f,\"broker_us\":%."
           "4f,\"frames_per_read\":%.3f,\"p50_us\":%.1f,"
           "\"p99_us\":%.1f,\"max_us\":%.1f,\"lost\":%llu,\"doubled\":%llu,\"disordered\":%llu}\n",
           (unsigned long long)published, (unsigned long long)delivered, seconds, (double)delivered / seconds,
           (after.server_us - before.server_us) / each, (after.broker_us - before.broker_us) / each,
           (double)delivered / (double)(reads ? reads : 1), tally_latency(0.5) / 1e3, tally_latency(0.99) / 1e3,
           tally_latency(1) / 1e3, (unsigned long long)tally.lost, (unsigned long long)tally.doubled,
           (unsigned long long)tally.disordered);
    return 0;
}
