/* publish.c: one connection that publishes: MQTT 3.1.1 to the broker, or POSTs to nchan, pipelined so that their
 * order is kept. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loadgen.h"

struct client publisher = {.fd = -1};
static bool over_http;
static char waiting[1 << 20];
static size_t waiting_at, waiting_len;
static uint16_t packet_id;

static void wait_for(short what)
{
    struct pollfd ready = {publisher.fd, what, 0};
    if (poll(&ready, 1, 5000) != 1)
        die("the publisher's connection: no answer in 5 s");
}

void publish_open(int poller)
{
    over_http = strcmp(options.publish, "nchan") == 0;
    publisher.fd = dial(options.publish_port);
    wait_for(POLLOUT);
    if (!over_http) {
        static const char connect[] = {0x10, 16, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0, 4, 'l', 'o', 'a', 'd'};
        char answer[4];
        say(&publisher, connect, sizeof connect);
        wait_for(POLLIN);
        if (recv(publisher.fd, answer, 4, 0) != 4 || answer[0] != 0x20 || answer[3] != 0)
            die("the broker refuses the publisher");
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = &publisher};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, publisher.fd, &event))
        die("epoll_ctl: %s", strerror(errno));
}

static char *put_size(char *at, size_t size)
{
    do {
        *at++ = (char)((size & 0x7f) | (size > 0x7f ? 0x80 : 0));
        size >>= 7;
    } while (size);
    return at;
}

void publish(unsigned channel)
{
    char topic[128], *at = waiting + waiting_len;
    if (waiting_len + options.payload + 512 > sizeof waiting)
        die("the publisher does not keep up");
    size_t topic_len = (size_t)snprintf(topic, sizeof topic, "%s/%u", options.topic, channel);
    if (over_http) {
        at += sprintf(at, "POST /pub/%s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", topic, options.payload);
    } else {
        *at++ = (char)(0x30 | options.qos << 1);
        at = put_size(at, 2 + topic_len + (options.qos ? 2 : 0) + options.payload);
        *at++ = (char)(topic_len >> 8);
        *at++ = (char)topic_len;
        memcpy(at, topic, topic_len);
        at += topic_len;
        if (options.qos) {
            packet_id = packet_id == UINT16_MAX ? 1 : (uint16_t)(packet_id + 1);
            *at++ = (char)(packet_id >> 8);
            *at++ = (char)packet_id;
        }
    }
    tally_payload(channel, at);
    waiting_len = (size_t)(at - waiting) + options.payload;
}

bool publish_flush(void)
{
    while (waiting_at < waiting_len) {
        ssize_t sent = send(publisher.fd, waiting + waiting_at, waiting_len - waiting_at, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR))
            return false;
        if (sent < 0)
            die("the publisher's connection: %s", strerror(errno));
        waiting_at += (size_t)sent;
    }
    waiting_at = waiting_len = 0;
    return true;
}

/* Acknowledgements and answers are read and, but for a status that is no success, not looked at. */
void publish_readable(void)
{
    static char answer[1 << 16];
    for (;;) {
        ssize_t got = recv(publisher.fd, answer, sizeof answer - 1, 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (got <= 0)
            die("the publisher's connection was closed");
        if (over_http) {
            answer[got] = '\0';
            if (strstr(answer, "HTTP/1.1 4") || strstr(answer, "HTTP/1.1 5"))
                die("nchan refuses a message: %s", answer);
        }
    }
}
