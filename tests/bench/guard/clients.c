/* clients.c: the far ends of the guard's connections. What the gateway does about what they say is counted in
 * guard_request(). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "driver.h"
#include "http/conn.h"
#include "mqtt.h"

static char received[1 << 20];
static size_t received_len;

static void input(struct client *client, const char *data, size_t len)
{
    if (len && !client->sock->ops->input(client->sock, data, len))
        guard_fail("the gateway closed a connection");
    gw_hub_flush(guard.worker.hub);
}

void guard_request(struct client *client, const char *data, size_t len);
__attribute__((noinline)) void guard_request(struct client *client, const char *data, size_t len)
{
    input(client, data, len);
    __asm__ volatile(""); /* no jump to input(), which callgrind would not take for a call */
}

static void ask(struct client *client, const char *data, size_t len)
{
    if (guard.counted)
        guard_request(client, data, len);
    else
        input(client, data, len);
}

static void poll_again(struct client *client)
{
    char request[256];
    int len =
        guard_is("socketio-poll")
            ? snprintf(request, sizeof request,
                       "GET /socket.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: x\r\n\r\n", client->cursor)
            : snprintf(request, sizeof request, "GET /poll?channel=guard/%u&cursor=%s HTTP/1.1\r\nHost: x\r\n\r\n",
                       client->channel, client->cursor);
    ask(client, request, (size_t)len);
}

/* Everything that its socket holds; how many messages of ours. A poll's answer moves its cursor. */
static unsigned receive(struct client *client, const char *must_hold)
{
    ssize_t len = recv(client->fd, received, sizeof received - 1, MSG_DONTWAIT);
    unsigned count = 0;
    received_len = len > 0 ? (size_t)len : 0;
    received[received_len] = '\0';
    if (must_hold && !memmem(received, received_len, must_hold, strlen(must_hold)))
        guard_fail("an answer is missing");
    const char *end = received + received_len;
    for (const char *at = received; (at = memmem(at, (size_t)(end - at), MARK, strlen(MARK))); at++)
        count++;
    const char *cursor = strstr(received, "Sluice-Cursor: ");
    if (cursor && sscanf(cursor + 15, "%63[^\r]", client->cursor) != 1)
        guard_fail("no cursor");
    const char *sid = strstr(received, "\r\n0{\"sid\":\"");
    if (sid && sscanf(sid + 11, "%63[^\"]", client->cursor) != 1)
        guard_fail("no session");
    return count;
}

static size_t text_frame(char *out, const char *text)
{
    size_t len = strlen(text);
    memcpy(out, "\x81\0\0\0\0\0", 6); /* masked with zeros */
    out[1] = (char)(0x80 | len);
    memcpy(out + 6, text, len);
    return len + 6;
}

static void say(struct client *client, const char *text, const char *answer)
{
    char frame[6 + 125];
    input(client, frame, text_frame(frame, text));
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
    poll_again(client);
    receive(client, "synced");
    poll_again(client);
}

static void client_connect(struct client *client)
{
    int pair[2], size = 1 << 20;
    const struct in6_addr address = IN6ADDR_LOOPBACK_INIT;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair))
        guard_fail("socketpair: too few descriptors?");
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    client->fd = pair[1];
    const struct gw_arrival arrival = {&guard.listener, pair[0], address, in6addr_any, false};
    client->sock = gw_conn_accept(&arrival);
}

static void client_upgrade(struct client *client, const char *path)
{
    char request[512];
    int len = snprintf(request, sizeof request,
                       "GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n",
                       path, path[1] == 'm' ? "Sec-WebSocket-Protocol: mqtt\r\n" : "");
    ask(client, request, (size_t)len);
    receive(client, "101 ");
}

static void ws_attach(struct client *client)
{
    char filter[64];
    client_upgrade(client, "/ws");
    snprintf(filter, sizeof filter, "guard/%u", client->channel);
    subscribe(client, filter);
    for (unsigned i = client->number; i < guard.others; i += guard.client_count) {
        snprintf(filter, sizeof filter, "guard/%u/+/x", i);
        subscribe(client, filter);
    }
}

static void mqtt_attach(struct client *client)
{
    char frame[200], filter[64];
    client_upgrade(client, "/mqtt");
    input(client, frame, mqtt_connect(frame, client->number, !client_leaves()));
    receive(client, " \x02");
    snprintf(filter, sizeof filter, "guard/%u", client->channel);
    input(client, frame, mqtt_subscribe(frame, filter, guard_at_qos1()));
    receive(client, "\x90\x03");
}

static void socketio_attach(struct client *client)
{
    char join[64];
    snprintf(join, sizeof join, "420[\"subscribe\",\"guard/%u\"]", client->channel);
    if (guard_is("socketio-poll")) {
        socketio_poll_open(client, join);
        return;
    }
    client_upgrade(client, "/socket.io/?EIO=4&transport=websocket");
    say(client, "40", "40{");
    say(client, join, "synced");
}

void client_attach(struct client *client, unsigned number)
{
    char path[64];
    client->number = number;
    client->channel = number % guard.channel_count;
    snprintf(client->cursor, sizeof client->cursor, "%s.0", guard.epoch);
    client_connect(client);
    if (guard_is("ws") || guard_is("ws-resume")) {
        ws_attach(client);
    } else if (guard_is("windows")) {
        client_upgrade(client, "/ws");
        snprintf(path, sizeof path, "guard/%u\",\"aggregate\":\"/power:1d", client->channel);
        subscribe(client, path);
    } else if (!strncmp(guard.transport, "mqtt", 4)) {
        mqtt_attach(client);
    } else if (!strncmp(guard.transport, "socketio", 8)) {
        socketio_attach(client);
    } else if (guard_is("raw")) {
        snprintf(path, sizeof path, "/channels/guard/%u", client->channel);
        client_upgrade(client, path);
    } else if (guard_is("sse")) {
        char request[128];
        int len = snprintf(request, sizeof request, "GET /sse?channel=guard/%u HTTP/1.1\r\nHost: x\r\n\r\n",
                           client->channel);
        input(client, request, (size_t)len);
        receive(client, "200 OK");
    } else {
        poll_again(client);
    }
}

/* --- away and back --------------------------------------------------------------------------------------------- */

bool guard_at_qos1(void)
{
    return guard_is("mqtt-qos1") || guard_is("mqtt-resume-qos1");
}

bool client_leaves(void)
{
    return guard_is("ws-resume") || guard_is("mqtt-resume") || guard_is("mqtt-resume-qos1");
}

void client_leave(struct client *client)
{
    snprintf(client->cursor, sizeof client->cursor, "%s.%lu", guard.epoch, guard.published);
    gw_sock_kill(client->sock);
    gw_sock_reap(&guard.worker);
    close(client->fd);
    client->sock = NULL;
}

void client_return(struct client *client)
{
    char frame[6 + 125], text[120];
    client_connect(client);
    client_upgrade(client, guard_is("ws-resume") ? "/ws" : "/mqtt");
    if (!guard_is("ws-resume")) {
        ask(client, frame, mqtt_connect(frame, client->number, false));
        return;
    }
    snprintf(text, sizeof text, "{\"type\":\"subscribe\",\"channel\":\"guard/%u\",\"cursor\":\"%s\"}",
             client->channel, client->cursor);
    ask(client, frame, text_frame(frame, text));
}

unsigned client_collect(struct client *client)
{
    static char acks[sizeof received];
    unsigned all = 0, came;
    bool more = guard_at_qos1() || client_leaves();
    do {
        came = receive(client, NULL);
        all += came;
        if (came && (guard_is("poll") || guard_is("socketio-poll")))
            poll_again(client);
        if (came && more)
            ask(client, acks, guard_is("ws-resume") ? 0 : mqtt_acknowledge(received, received_len, acks));
    } while (came && more);
    return all;
}
