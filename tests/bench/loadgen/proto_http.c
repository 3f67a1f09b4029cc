/* proto_http.c: clients of Server-Sent Events, and long-polls of Sluice, of nchan and of Socket.IO. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loadgen.h"

static void sse_open(struct client *client)
{
    say_text(client, "GET %s%s/%u HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: text/event-stream\r\n\r\n", options.path,
             options.topic, client->channel, options.port);
}

/* Line by line: only `data:` lines hold payloads, and lengths of chunks are lines of their own. */
static size_t sse_feed(struct client *client, char *data, size_t len)
{
    size_t at = 0;
    if (!client->step) {
        at = http_head(data, len, 200);
        if (!at)
            return 0;
        client->step = 1;
        client_ready(client);
    }
    char *end;
    while (at < len && (end = memchr(data + at, '\n', len - at))) {
        size_t line = (size_t)(end - (data + at));
        if (line > 5 && memcmp(data + at, "data:", 5) == 0)
            tally_receive(client, data + at, line);
        else if (line > 6 && memcmp(data + at, "event: gap", line < 10 ? line : 10) == 0)
            die("a gap");
        at += line + 1;
    }
    return at;
}

const struct protocol protocol_sse = {"sse", sse_open, sse_feed};

static void keep(struct client *client, const char *text)
{
    if (client->position && strlen(client->position) == strlen(text)) {
        memcpy(client->position, text, strlen(text));
        return;
    }
    free(client->position);
    client->position = strdup(text);
}

/* The answer at the front of data: its length or 0; *status, *head. */
static size_t answer_len(const char *data, size_t len, int *status, size_t *head)
{
    const char *end = memmem(data, len, "\r\n\r\n", 4);
    if (!end)
        return 0;
    *head = (size_t)(end - data) + 4;
    *status = atoi(data + 9);
    char value[32];
    size_t body = 0;
    if (http_header(data, *head, "Content-Length", value, sizeof value))
        body = strtoul(value, NULL, 10);
    else if (*status != 204 && *status != 304)
        die("an answer without Content-Length: %.*s", (int)*head, data);
    return *head + body <= len ? *head + body : 0;
}

/* First any request that is answered at once, so that the connection is known to be open and the position is known;
 * then polls. */
static void sluice_poll_open(struct client *client)
{
    say_text(client, "GET /channels?filter=none HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n", options.port);
}

static void sluice_poll_next(struct client *client)
{
    say_text(client, "GET /poll?channel=%s/%u&cursor=%s&wait=60 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n",
             options.topic, client->channel, client->position, options.port);
}

static size_t sluice_poll_feed(struct client *client, char *data, size_t len)
{
    int status;
    size_t head, total = answer_len(data, len, &status, &head);
    if (!total)
        return 0;
    if (status != 200 && status != 204)
        die("a poll's answer: %.*s", (int)total, data);
    char cursor[64];
    if (!http_header(data, head, "Sluice-Cursor", cursor, sizeof cursor))
        die("an answer without Sluice-Cursor");
    keep(client, cursor);
    if (client->step) {
        const char *at = data + head, *end = data + total, *gaps = "\"gaps\":[]}";
        if (total - head > strlen(gaps) && memcmp(end - strlen(gaps), gaps, strlen(gaps)) != 0)
            die("a poll's answer has gaps");
        while ((at = memchr(at, '#', (size_t)(end - at)))) {
            tally_receive(client, at, (size_t)(end - at));
            at++;
        }
    }
    client->step = 1;
    sluice_poll_next(client);
    client_ready(client);
    return total;
}

const struct protocol protocol_sluice_poll = {"sluice-poll", sluice_poll_open, sluice_poll_feed};

/* nchan: a message an answer; Last-Modified and Etag are the position. The first poll begins at the channel's oldest
 * message. */
static void nchan_poll_open(struct client *client)
{
    say_text(client, "GET /ready HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n", options.port);
}

static size_t nchan_poll_feed(struct client *client, char *data, size_t len)
{
    int status;
    size_t head, total = answer_len(data, len, &status, &head);
    if (!total)
        return 0;
    if (status != 200 && status != 204)
        die("a poll's answer: %.*s", (int)total, data);
    if (client->step) {
        char modified[64], etag[64], position[256];
        if (!http_header(data, head, "Last-Modified", modified, sizeof modified) ||
            !http_header(data, head, "Etag", etag, sizeof etag))
            die("an answer without a position");
        snprintf(position, sizeof position, "If-Modified-Since: %s\r\nIf-None-Match: %s\r\n", modified, etag);
        keep(client, position);
        tally_receive(client, data + head, total - head);
    }
    client->step = 1;
    say_text(client, "GET %s%s/%u HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%s\r\n", options.path, options.topic,
             client->channel, options.port, client->position ? client->position : "");
    client_ready(client);
    return total;
}

const struct protocol protocol_nchan_poll = {"nchan-poll", nchan_poll_open, nchan_poll_feed};

/* Socket.IO by polling; `position` is the session. Packets of a payload are joined by 0x1e. A stock client has a
 * second connection for what it sends; here that comes before the first poll, and pongs between two. */
enum eio_step { EIO_OPEN, EIO_JOIN, EIO_SUBSCRIBE, EIO_POLL, EIO_PONG };

static const char eio_target[] = "/socket.io/?EIO=4&transport=polling";

static void eio_open(struct client *client)
{
    say_text(client, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n", eio_target, options.port);
}

static void eio_post(struct client *client, const char *body, int step)
{
    client->step = step;
    say_text(client,
             "POST %s&sid=%s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: text/plain;charset=UTF-8\r\n"
             "Content-Length: %zu\r\n\r\n%s",
             eio_target, client->position, options.port, strlen(body), body);
}

static void eio_poll(struct client *client)
{
    client->step = EIO_POLL;
    say_text(client, "GET %s&sid=%s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n", eio_target, client->position,
             options.port);
}

static void eio_packets(struct client *client, const char *at, const char *end)
{
    bool ping = false;
    while (at < end) {
        const char *next = memchr(at, 0x1e, (size_t)(end - at)), *stop = next ? next : end;
        size_t len = (size_t)(stop - at);
        if (len > 3 && memcmp(at, "430", 3) == 0)
            client_ready(client);
        else if (len == 1 && *at == '2')
            ping = true;
        else if (len > 6 && memcmp(at, "42[\"gap", 7) == 0)
            die("a gap");
        else
            tally_receive(client, at, len);
        at = stop + 1;
    }
    if (ping)
        eio_post(client, "3", EIO_PONG);
    else
        eio_poll(client);
}

static size_t eio_feed(struct client *client, char *data, size_t len)
{
    int status;
    size_t head, total = answer_len(data, len, &status, &head);
    char text[256], sid[64];
    if (!total)
        return 0;
    if (status != 200)
        die("a poll's answer: %.*s", (int)total, data);
    switch ((enum eio_step)client->step) {
    case EIO_OPEN:
        if (total - head < sizeof text) {
            memcpy(text, data + head, total - head);
            text[total - head] = '\0';
        }
        if (total - head >= sizeof text || sscanf(text, "0{\"sid\":\"%63[^\"]", sid) != 1)
            die("no handshake: %.*s", (int)total, data);
        keep(client, sid);
        eio_post(client, "40", EIO_JOIN);
        break;
    case EIO_JOIN:
        snprintf(text, sizeof text, "420[\"subscribe\",\"%s/%u\"]", options.topic, client->channel);
        eio_post(client, text, EIO_SUBSCRIBE);
        break;
    case EIO_SUBSCRIBE:
    case EIO_PONG:
        eio_poll(client);
        break;
    case EIO_POLL:
        eio_packets(client, data + head, data + total);
        break;
    }
    return total;
}

const struct protocol protocol_socketio_poll = {"socketio-poll", eio_open, eio_feed};
