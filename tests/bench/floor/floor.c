/* floor: the practical limit. A bare epoll loop on one thread, subscribed at the broker as Sluice is, that send()s
 * one ready-made frame for each client and message. It has no queues, no history, no channels by name, no heartbeats:
 * what a delivery costs here is what the kernel's send() costs.
 *
 *   floor BROKER_PORT TOPIC [joined|qos1]     prints the port it listens on
 *
 * The frame is the same message object that Sluice sends, made once for each message. With `joined` it first takes
 * whatever has come from the broker, and what is there for a channel leaves in one send() for each of its clients.
 * Clients ask for GET …/<channel's number>; topics are TOPIC/<channel's number>.
 *
 * With `qos1` it is joined too, and its clients speak MQTT 3.1.1 over WebSocket and subscribe at QoS 1: each gets the
 * PUBLISH packets with identifiers of its own, and what it acknowledges is read and thrown away. It keeps no window:
 * an identifier counts up. All are in channel 0. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CHANNELS 20000
#define JOIN_MAX (256 * 1024)

struct channel {
    int *clients;
    unsigned count, size;
    char *frames; /* joined: what waits */
    size_t len, room;
    bool listed;
};
static struct channel channels[CHANNELS];
static unsigned dirty[CHANNELS], dirty_count;
static bool joined, qos1;
static int broker, poller;
static uint64_t sequence;

static void die(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void deliver(int fd, const char *data, size_t len)
{
    while (len) {
        ssize_t sent = send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EAGAIN) { /* rare: the generator keeps within a window */
            struct pollfd writable = {fd, POLLOUT, 0};
            poll(&writable, 1, 1000);
        } else if (sent < 0) {
            return; /* it has gone */
        } else {
            data += sent;
            len -= (size_t)sent;
        }
    }
}

static size_t frame_make(char *out, const char *topic, size_t topic_len, const char *payload, size_t len)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    char text[2048];
    int size = snprintf(
        text, sizeof text,
        "{\"type\":\"message\",\"channel\":\"%.*s\",\"data\":\"%.*s\",\"cursor\":\"AAAAAAAAAAA.%llu\",\"ts\":%lld}",
        (int)topic_len, topic, (int)len, payload, (unsigned long long)++sequence,
        (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000);
    if (size < 0 || (size_t)size >= sizeof text)
        die("a payload is too long");
    size_t head = size < 126 ? 2 : 4;
    out[0] = (char)0x81;
    out[1] = (char)(size < 126 ? size : 126);
    if (head == 4) {
        out[2] = (char)(size >> 8);
        out[3] = (char)size;
    }
    memcpy(out + head, text, (size_t)size);
    return head + (size_t)size;
}

/* --- QoS 1 ------------------------------------------------------------------------------------------------------ */

#define CLIENTS     20000
#define PACKETS_MAX 4096

static struct {
    uint16_t last_id;
    unsigned char said; /* requests so far: the upgrade, CONNECT, SUBSCRIBE */
} state[CLIENTS];
static size_t id_at[PACKETS_MAX]; /* in the frames of channel 0 */
static unsigned packet_count;

static size_t packet_make(char *out, const char *topic, size_t topic_len, const char *payload, size_t len)
{
    size_t remaining = 2 + topic_len + 2 + len, size = remaining + (remaining < 128 ? 2 : 3), head = 2;
    out[0] = (char)0x82;
    out[1] = (char)(size < 126 ? size : 126);
    if (size >= 126) {
        out[2] = (char)(size >> 8);
        out[3] = (char)size;
        head = 4;
    }
    char *at = out + head;
    *at++ = 0x32;
    if (remaining >= 128)
        *at++ = (char)(0x80 | remaining % 128);
    *at++ = (char)(remaining < 128 ? remaining : remaining / 128);
    *at++ = (char)(topic_len >> 8);
    *at++ = (char)topic_len;
    at = mempcpy(at, topic, topic_len);
    if (packet_count == PACKETS_MAX)
        die("more packets in one read than expected");
    id_at[packet_count++] = channels[0].len + (size_t)(at - out);
    memcpy(at + 2, payload, len);
    return head + size;
}

/* Each client's copy: the same bytes, with identifiers of its own. */
static void channel_send_qos1(struct channel *channel)
{
    for (unsigned i = 0; i < channel->count; i++) {
        int fd = channel->clients[i];
        for (unsigned k = 0; k < packet_count; k++) {
            uint16_t id = ++state[fd].last_id ? state[fd].last_id : ++state[fd].last_id;
            channel->frames[id_at[k]] = (char)(id >> 8);
            channel->frames[id_at[k] + 1] = (char)id;
        }
        deliver(fd, channel->frames, channel->len);
    }
    packet_count = 0;
}

/* CONNECT and SUBSCRIBE come whole in one read each here; the rest are acknowledgements. */
static void client_says(int fd)
{
    static const char accepted[] = {(char)0x82, 4, 0x20, 2, 0, 0},
                      subscribed[] = {(char)0x82, 5, (char)0x90, 3, 0, 1, 1};
    if (state[fd].said == 1)
        deliver(fd, accepted, sizeof accepted);
    else if (state[fd].said == 2)
        deliver(fd, subscribed, sizeof subscribed);
    state[fd].said += state[fd].said < 3;
}

static void channel_send(struct channel *channel, const char *data, size_t len)
{
    for (unsigned i = 0; i < channel->count; i++)
        deliver(channel->clients[i], data, len);
}

static void on_publish(const char *topic, size_t topic_len, const char *payload, size_t len)
{
    char frame[2100];
    if (len + topic_len > 2000)
        die("a payload is too long");
    size_t size =
        qos1 ? packet_make(frame, topic, topic_len, payload, len) : frame_make(frame, topic, topic_len, payload, len);
    size_t at = topic_len;
    unsigned number = 0, unit = 1;
    while (at && topic[at - 1] >= '0' && topic[at - 1] <= '9') {
        number += unit * (unsigned)(topic[--at] - '0');
        unit *= 10;
    }
    number = qos1 ? 0 : number;
    struct channel *channel = &channels[number % CHANNELS];
    if (!joined) {
        channel_send(channel, frame, size);
        return;
    }
    if (channel->len + size > channel->room) {
        channel->room = channel->room ? channel->room * 2 : 4096;
        channel->frames = realloc(channel->frames, channel->room);
    }
    memcpy(channel->frames + channel->len, frame, size);
    channel->len += size;
    if (!channel->listed) {
        channel->listed = true;
        dirty[dirty_count++] = number % CHANNELS;
    }
}

static void flush(void)
{
    for (unsigned i = 0; i < dirty_count; i++) {
        struct channel *channel = &channels[dirty[i]];
        if (qos1)
            channel_send_qos1(channel);
        else
            channel_send(channel, channel->frames, channel->len);
        channel->len = 0;
        channel->listed = false;
    }
    dirty_count = 0;
}

/* Reads once and handles all whole packets. */
static void broker_readable(void)
{
    static unsigned char data[JOIN_MAX];
    static size_t len;
    ssize_t got = recv(broker, data + len, sizeof data - len, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0)
        die("the broker's connection");
    len += (size_t)got;
    size_t at = 0;
    for (;;) {
        size_t size = 0, head = 1;
        unsigned shift = 0;
        while (at + head < len && data[at + head] & 0x80) {
            size |= (size_t)(data[at + head++] & 0x7f) << shift;
            shift += 7;
        }
        if (at + head >= len)
            break;
        size |= (size_t)data[at + head++] << shift;
        if (at + head + size > len)
            break;
        if (data[at] >> 4 == 3) {
            const unsigned char *body = data + at + head;
            size_t topic_len = (size_t)body[0] << 8 | body[1], skip = 2 + topic_len;
            if (data[at] & 6) {
                const char ack[4] = {0x40, 2, (char)body[skip], (char)body[skip + 1]};
                if (send(broker, ack, 4, MSG_NOSIGNAL) != 4)
                    die("PUBACK");
                skip += 2;
            }
            on_publish((const char *)body + 2, topic_len, (const char *)body + skip, size - skip);
        }
        at += head + size;
    }
    memmove(data, data + at, len - at);
    len -= at;
    flush();
}

static void broker_open(int port, const char *topic)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    broker = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(broker, (struct sockaddr *)&to, sizeof to))
        die("broker");
    static const char hello[] = {0x10, 17, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0, 5, 'f', 'l', 'o', 'o', 'r'};
    char subscribe[256] = {(char)0x82, 0, 0, 1, 0, 0};
    int len = snprintf(subscribe + 6, 100, "%s/#", topic);
    subscribe[1] = (char)(5 + len);
    subscribe[5] = (char)len;
    subscribe[6 + len] = 1;
    char answer[9];
    if (send(broker, hello, sizeof hello, 0) != sizeof hello ||
        send(broker, subscribe, (size_t)len + 7, 0) != len + 7 ||
        recv(broker, answer, sizeof answer, MSG_WAITALL) != sizeof answer)
        die("subscribing");
    struct epoll_event event = {.events = EPOLLIN, .data.fd = broker};
    epoll_ctl(poller, EPOLL_CTL_ADD, broker, &event);
}

/* A request comes whole in one read here, and its key is the one whose answer is known. */
static void client_readable(int fd)
{
    static char request[16 * 1024];
    ssize_t got = recv(fd, request, sizeof request - 1, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        close(fd);
        return;
    }
    request[got] = '\0';
    if (memcmp(request, "GET ", 4) != 0) {
        if (qos1)
            client_says(fd);
        return; /* a pong */
    }
    char *end = strchr(request + 4, ' '), *at = end;
    while (at && at[-1] >= '0' && at[-1] <= '9')
        at--;
    struct channel *channel = &channels[at ? strtoul(at, NULL, 10) % CHANNELS : 0];
    if (channel->count == channel->size) {
        channel->size = channel->size ? channel->size * 2 : 1;
        channel->clients = realloc(channel->clients, channel->size * sizeof *channel->clients);
    }
    channel->clients[channel->count++] = fd;
    static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                 "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    deliver(fd, answer, sizeof answer - 1);
    if (qos1 && fd >= CLIENTS)
        die("too many clients");
    if (qos1)
        state[fd].said = 1;
}

static void clients_accept(int listener)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
    }
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    qos1 = argc > 3 && strcmp(argv[3], "qos1") == 0;
    joined = qos1 || (argc > 3 && strcmp(argv[3], "joined") == 0);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    poller = epoll_create1(EPOLL_CLOEXEC);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096) ||
        getsockname(listener, (struct sockaddr *)&address, &len))
        die("listening");
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    broker_open(atoi(argv[1]), argv[2]);
    printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        struct epoll_event events[128];
        int count = epoll_wait(poller, events, 128, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == broker) {
                broker_readable();
            } else if (events[i].data.fd == listener) {
                clients_accept(listener);
            } else {
                client_readable(events[i].data.fd);
            }
        }
    }
}
