/* fanout: what a delivery costs. Opens CLIENTS WebSockets to a running gateway, publishes MESSAGES of SIZE octets to one topic at
 * the broker, and waits until every client has every one. Prints deliveries a second and the gateway's CPU for each
 * (user and system of all its threads, from /proc). Loss, doubles and disorder are errors: the payload counts up.
 *
 *   fanout PID HTTP_PORT MQTT_PORT CLIENTS MESSAGES SIZE [BURST]
 *
 * BURST messages leave at once, then a pause of 1 ms; 0: as fast as the broker takes them. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <mosquitto.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct client {
    int fd;
    unsigned char head[10];
    unsigned head_len;
    size_t left;      /* of the frame's payload */
    char text[256];   /* beginning of the payload */
    unsigned text_len;
    long frames, next;
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* User and system time of the process, in seconds. */
static double cpu_of(const char *pid)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%s/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file)
        die(path);
    size_t len = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[len] = '\0';
    unsigned long user, kernel;
    if (sscanf(strrchr(text, ')') + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel) != 2)
        die("stat");
    return (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK);
}

static char topic[32]; /* of this run alone, so that there is no last value */

static void client_open(struct client *client, int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    client->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (client->fd < 0 || connect(client->fd, (struct sockaddr *)&to, sizeof to))
        die("connect");
    static const char hello[] = "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    char frame[6 + 100] = {(char)0x81};
    int text_len = snprintf(frame + 6, 100, "{\"type\":\"subscribe\",\"channel\":\"%s\"}", topic);
    frame[1] = (char)(0x80 | text_len); /* masked with zeros */
    if (write(client->fd, hello, sizeof hello - 1) < 0)
        die("write");
    char answer[2048];
    size_t len = 0;
    while (len < 4 || !memmem(answer, len, "\r\n\r\n", 4)) {
        ssize_t got = read(client->fd, answer + len, 1); /* not one octet of what follows */
        if (got <= 0)
            die("handshake");
        len += (size_t)got;
    }
    if (write(client->fd, frame, 6 + (size_t)text_len) < 0)
        die("write");
    fcntl(client->fd, F_SETFL, O_NONBLOCK);
}

static void client_frame(struct client *client)
{
    if (client->head[0] != 0x81)
        return; /* a heartbeat */
    client->frames++;
    client->text[client->text_len] = '\0';
    const char *data = strstr(client->text, "\"data\":\"");
    if (!data)
        return; /* welcome, subscribed */
    long number = strtol(data + 8, NULL, 10);
    if (number != client->next) {
        fprintf(stderr, "got %ld instead of %ld\n", number, client->next);
        exit(1);
    }
    client->next++;
}

static void client_feed(struct client *client, const unsigned char *data, size_t len)
{
    while (len) {
        if (!client->left) {
            client->head[client->head_len++] = *data++;
            len--;
            unsigned size = client->head[1] & 0x7f, need = 2 + (size == 126 ? 2 : size == 127 ? 8 : 0);
            if (client->head_len < 2 || client->head_len < need)
                continue;
            uint64_t payload = size;
            if (need > 2) {
                payload = 0;
                for (unsigned i = 2; i < need; i++)
                    payload = payload << 8 | client->head[i];
            }
            client->left = payload;
            client->head_len = 0;
            client->text_len = 0;
            if (!payload)
                client_frame(client);
            continue;
        }
        size_t part = len < client->left ? len : client->left;
        size_t keep = sizeof client->text - 1 - client->text_len;
        keep = part < keep ? part : keep;
        memcpy(client->text + client->text_len, data, keep);
        client->text_len += (unsigned)keep;
        data += part;
        len -= part;
        client->left -= part;
        if (!client->left)
            client_frame(client);
    }
}

int main(int argc, char **argv)
{
    if (argc < 7) {
        fprintf(stderr, "fanout PID HTTP_PORT MQTT_PORT CLIENTS MESSAGES SIZE [BURST]\n");
        return 2;
    }
    int http = atoi(argv[2]), mqtt = atoi(argv[3]), count = atoi(argv[4]), messages = atoi(argv[5]), size = atoi(argv[6]);
    int burst = argc > 7 ? atoi(argv[7]) : 0;
    snprintf(topic, sizeof topic, "bench/%d", (int)getpid());
    /* First, because its select(2) takes no descriptor above 1023. */
    mosquitto_lib_init();
    struct mosquitto *mosq = mosquitto_new(NULL, true, NULL);
    if (mosquitto_connect(mosq, "127.0.0.1", mqtt, 60) || mosquitto_loop_start(mosq))
        die("mqtt");
    struct client *clients = calloc((size_t)count, sizeof *clients);
    int poller = epoll_create1(0);
    for (int i = 0; i < count; i++) {
        client_open(&clients[i], http);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &clients[i]};
        epoll_ctl(poller, EPOLL_CTL_ADD, clients[i].fd, &event);
    }
    char *payload = malloc((size_t)size + 32);
    double begin = 0, cpu = 0;
    long sent = -1, ready = 0, done = 0;
    static unsigned char buffer[1 << 18];
    while (done < (long)count * messages) {
        if (sent < 0 && ready == 2L * count) {
            sent = 0;
            begin = now();
            cpu = cpu_of(argv[1]);
        }
        /* At most so far ahead of the slowest that nothing need be dropped anywhere. */
        for (int n = burst ? burst : 64; sent >= 0 && n && sent < messages && done >= (sent - 2000) * (long)count; n--) {
            int len = snprintf(payload, 16, "\"%ld ", sent);
            memset(payload + len, 'x', (size_t)(size > len + 1 ? size - len - 1 : 0));
            int total = size > len + 1 ? size : len + 1;
            payload[total - 1] = '"';
            if (mosquitto_publish(mosq, NULL, topic, total, payload, 1, false))
                die("publish");
            sent++;
        }
        struct epoll_event events[256];
        int n = epoll_wait(poller, events, 256, sent >= 0 && sent < messages ? 1 : 5000);
        if (!n && sent == messages) {
            fprintf(stderr, "lost: %ld of %ld came\n", done, (long)count * messages);
            return 1;
        }
        for (int i = 0; i < n; i++) {
            struct client *client = events[i].data.ptr;
            ssize_t got = read(client->fd, buffer, sizeof buffer);
            if (got <= 0)
                die("read");
            long frames = client->frames, next = client->next;
            client_feed(client, buffer, (size_t)got);
            done += client->next - next;
            ready += client->next ? 0 : client->frames - frames;
        }
    }
    double seconds = now() - begin, spent = cpu_of(argv[1]) - cpu;
    printf("%d clients, %d messages of %d octets: %.0f deliveries/s, %.3f us of the gateway's CPU each\n", count, messages,
           size, (double)done / seconds, spent * 1e6 / (double)done);
    mosquitto_disconnect(mosq);
    mosquitto_loop_stop(mosq, false);
    mosquitto_destroy(mosq);
    mosquitto_lib_cleanup();
    return 0;
}
