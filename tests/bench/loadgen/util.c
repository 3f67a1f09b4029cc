/* util.c: errors, time, sockets and as much of HTTP as the clients need. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "loadgen.h"

void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("loadgen: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * NS + t.tv_nsec;
}

int dial(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket: %s", strerror(errno));
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct linger reset = {1, 0}; /* no TIME_WAIT left behind: the ports are wanted again */
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (connect(fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS)
        die("connect to %d: %s", port, strerror(errno));
    return fd;
}

void say(struct client *client, const void *data, size_t len)
{
    ssize_t sent = send(client->fd, data, len, MSG_NOSIGNAL);
    if (sent != (ssize_t)len)
        die("a client's send of %zu bytes: %s", len, sent < 0 ? strerror(errno) : "not all taken");
}

void say_text(struct client *client, const char *format, ...)
{
    char text[2048];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (len < 0 || (size_t)len >= sizeof text)
        die("a request is too long");
    say(client, text, (size_t)len);
}

size_t http_head(const char *data, size_t len, int status)
{
    const char *end = memmem(data, len, "\r\n\r\n", 4);
    if (!end)
        return 0;
    char wanted[16];
    snprintf(wanted, sizeof wanted, "HTTP/1.1 %d", status);
    if (len < strlen(wanted) || memcmp(data, wanted, strlen(wanted)) != 0)
        die("the server's answer is not %s but: %.*s", wanted, (int)(end - data), data);
    return (size_t)(end - data) + 4;
}

bool http_header(const char *data, size_t head, const char *name, char *out, size_t size)
{
    size_t name_len = strlen(name);
    for (const char *line = data; line && (size_t)(line - data) < head;
         line = memmem(line, head - (size_t)(line - data), "\r\n", 2)) {
        if (*line == '\r')
            line += 2;
        if ((size_t)(line - data) + name_len + 1 < head && strncasecmp(line, name, name_len) == 0 &&
            line[name_len] == ':') {
            line += name_len + 1;
            while (*line == ' ')
                line++;
            size_t len = strcspn(line, "\r\n");
            if (len >= size)
                die("header %s is too long", name);
            memcpy(out, line, len);
            out[len] = '\0';
            return true;
        }
    }
    return false;
}
