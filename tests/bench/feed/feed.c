/* feed: publishes to a broker, as fast as it takes the messages or at a pace.
 *
 *   feed key=value...      port, topic (%k and %i in it: the topic's number / `per`, and its number), per (1000),
 *                          topics, messages
 *                          payload (a text; the default is one of 31 bytes) or bytes (a text of so many), qos (0, 1)
 *                          retain (0), burst (1) and interval_us (0): so many messages each interval
 *                          first (number of the first topic, 0)
 *
 * Ends when the broker has everything: with QoS 1 when all are acknowledged, with QoS 0 when it has answered a ping
 * that was sent last. Prints the seconds. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BUFFER   (1 << 16)
#define PATIENCE 60000 /* ms without anything that moves */

static int port, qos, retain, topics = 1, messages = 1, first, per = 1000, bytes, burst = 1, interval_us, broker;
static char *topic = "bench/0", *payload = "{\"temperature\":21.5,\"hum\":40.0}";
static char *waiting;
static size_t waiting_len, waiting_at, waiting_size;
static long acknowledged;
static bool pong;

_Noreturn static void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "feed: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    exit(1);
}

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static void options_read(int argc, char **argv)
{
    const struct {
        const char *key;
        int *number;
        char **text;
    } keys[] = {{"port", &port, NULL},
                {"qos", &qos, NULL},
                {"retain", &retain, NULL},
                {"topics", &topics, NULL},
                {"first", &first, NULL},
                {"per", &per, NULL},
                {"messages", &messages, NULL},
                {"bytes", &bytes, NULL},
                {"burst", &burst, NULL},
                {"topic", NULL, &topic},
                {"interval_us", &interval_us, NULL},
                {"payload", NULL, &payload}};
    for (int i = 1; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        size_t k = 0, count = sizeof keys / sizeof keys[0];
        if (value)
            *value++ = '\0';
        while (value && k < count && strcmp(keys[k].key, argv[i]) != 0)
            k++;
        if (!value || k == count)
            die("not understood: %s", argv[i]);
        if (keys[k].number)
            *keys[k].number = atoi(value);
        else
            *keys[k].text = value;
    }
    if (!port || topics < 1 || burst < 1 || per < 1)
        die("port is needed, topics, burst and per are at least 1");
    if (bytes) {
        payload = malloc((size_t)bytes + 1);
        memset(payload, 'x', (size_t)bytes);
        payload[bytes] = '\0';
    }
}

static size_t topic_write(char *out, size_t size, int number)
{
    size_t len = 0;
    for (const char *at = topic; *at && len + 16 < size; at++) {
        if (*at == '%' && (at[1] == 'k' || at[1] == 'i'))
            len += (size_t)snprintf(out + len, size - len, "%d", *++at == 'k' ? number / per : number);
        else
            out[len++] = *at;
    }
    return len;
}

static void add(const void *data, size_t len)
{
    if (waiting_len + len > waiting_size) {
        waiting_size = 2 * (waiting_len + len);
        waiting = realloc(waiting, waiting_size);
    }
    memcpy(waiting + waiting_len, data, len);
    waiting_len += len;
}

static void add_message(int number)
{
    char name[512], head[8];
    static uint16_t id;
    size_t name_len = topic_write(name, sizeof name, first + number % topics), len = strlen(payload);
    size_t rest = 2 + name_len + (qos ? 2 : 0) + len, at = 0;
    head[at++] = (char)(0x30 | qos << 1 | retain);
    do {
        head[at++] = (char)((rest & 127) | (rest > 127 ? 128 : 0));
        rest >>= 7;
    } while (rest);
    head[at++] = (char)(name_len >> 8);
    head[at++] = (char)name_len;
    add(head, at);
    add(name, name_len);
    if (qos) {
        id = id == UINT16_MAX ? 1 : (uint16_t)(id + 1);
        add((const char[]){(char)(id >> 8), (char)id}, 2);
    }
    add(payload, len);
}

/* PUBACKs and the PINGRESP; nothing else comes to a client that subscribes to nothing. */
static void take(void)
{
    static unsigned char data[BUFFER];
    static size_t len;
    ssize_t got = recv(broker, data + len, sizeof data - len, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0)
        die("the broker closed the connection");
    len += (size_t)got;
    size_t at = 0;
    while (at + 2 <= len && at + 2 + data[at + 1] <= len) {
        acknowledged += data[at] == 0x40;
        pong = pong || data[at] == 0xd0;
        at += 2 + (size_t)data[at + 1];
    }
    memmove(data, data + at, len - at);
    len -= at;
}

/* Sends what waits and takes what comes; waits at most so long for either. */
static void move(int ms)
{
    struct pollfd on = {broker, (short)(POLLIN | (waiting_at < waiting_len ? POLLOUT : 0)), 0};
    int ready = poll(&on, 1, ms);
    if (ready < 0 && errno != EINTR)
        die("poll: %s", strerror(errno));
    if (!ready && ms == PATIENCE)
        die("the broker takes nothing: %ld acknowledged", acknowledged);
    if (on.revents & POLLIN)
        take();
    if (!(on.revents & POLLOUT))
        return;
    ssize_t sent = send(broker, waiting + waiting_at, waiting_len - waiting_at, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        die("send: %s", strerror(errno));
    waiting_at += sent > 0 ? (size_t)sent : 0;
    if (waiting_at == waiting_len)
        waiting_at = waiting_len = 0;
}

static void broker_open(void)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    char answer[4];
    broker = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(broker, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    static const char hello[] = {0x10, 12, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0, 0};
    if (connect(broker, (struct sockaddr *)&to, sizeof to) || send(broker, hello, sizeof hello, 0) != sizeof hello ||
        recv(broker, answer, sizeof answer, MSG_WAITALL) != sizeof answer || answer[3])
        die("no connection to the broker");
    fcntl(broker, F_SETFL, O_NONBLOCK);
}

int main(int argc, char **argv)
{
    options_read(argc, argv);
    broker_open();
    double begin = now(), due = begin;
    for (int number = 0; number < messages;) {
        for (int i = 0; i < burst && number < messages; i++)
            add_message(number++);
        while (waiting_len - waiting_at > (interval_us ? 0 : BUFFER))
            move(PATIENCE);
        due += interval_us / 1e6;
        for (double at; interval_us && (at = now()) < due;)
            move((int)((due - at) * 1e3) ? (int)((due - at) * 1e3) : 1);
    }
    add((const char[]){(char)0xc0, 0}, 2);
    while (waiting_at < waiting_len || !pong || (qos && acknowledged < messages))
        move(PATIENCE);
    printf("%.6f\n", now() - begin);
    return 0;
}
