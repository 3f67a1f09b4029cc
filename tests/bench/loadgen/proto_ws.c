/* proto_ws.c: clients whose frames are texts: Sluice's /ws, anything that needs no word after the handshake (raw
 * sockets, nchan, the bridge, the floor), and Socket.IO over its WebSocket. */
#include <stdio.h>
#include <string.h>

#include "loadgen.h"

static bool begins(const char *text, size_t len, const char *with)
{
    return len >= strlen(with) && memcmp(text, with, strlen(with)) == 0;
}

/* Takes the 101, then every frame; `frame` gets those with text. */
static size_t texts_feed(struct client *client, char *data, size_t len, void (*accepted)(struct client *client),
                         void (*frame)(struct client *client, const char *text, size_t len))
{
    size_t at = 0, taken;
    if (!client->step) {
        at = ws_accepted(data, len);
        if (!at)
            return 0;
        client->step = 1;
        accepted(client);
    }
    int opcode;
    char *text;
    size_t text_len;
    while ((taken = ws_frame(client, data + at, len - at, &opcode, &text, &text_len))) {
        if (opcode == 1 || opcode == 2)
            frame(client, text, text_len);
        at += taken;
    }
    return at;
}

static void sluice_open(struct client *client)
{
    ws_upgrade(client, options.path, NULL);
}

static void sluice_accepted(struct client *client)
{
    char text[256];
    int len = snprintf(text, sizeof text, "{\"type\":\"subscribe\",\"id\":1,\"channel\":\"%s/%u\"}", options.topic,
                       client->channel);
    ws_say(client, 1, text, (size_t)len);
}

static void sluice_frame(struct client *client, const char *text, size_t len)
{
    if (tally_receive(client, text, len))
        return;
    if (begins(text, len, "{\"type\":\"subscribed\""))
        client_ready(client);
    else if (!begins(text, len, "{\"type\":\"welcome\""))
        die("a frame of /ws: %.*s", (int)len, text);
}

static size_t sluice_feed(struct client *client, char *data, size_t len)
{
    return texts_feed(client, data, len, sluice_accepted, sluice_frame);
}

const struct protocol protocol_sluice_ws = {"sluice-ws", sluice_open, sluice_feed};

static void raw_open(struct client *client)
{
    char path[256];
    snprintf(path, sizeof path, "%s%s/%u", options.path, options.topic, client->channel);
    ws_upgrade(client, path, NULL);
}

static void raw_frame(struct client *client, const char *text, size_t len)
{
    if (!tally_receive(client, text, len))
        die("a frame without a payload of ours: %.*s", (int)len, text);
}

static size_t raw_feed(struct client *client, char *data, size_t len)
{
    return texts_feed(client, data, len, client_ready, raw_frame);
}

const struct protocol protocol_raw = {"raw", raw_open, raw_feed};

/* Engine.IO 4: '0' open, '2' ping, '3' pong, '4' a packet of Socket.IO: "40" connect, "42" event, "43"
 * acknowledgement. */
static void socketio_open(struct client *client)
{
    ws_upgrade(client, "/socket.io/?EIO=4&transport=websocket", NULL);
}

static void socketio_accepted(struct client *client)
{
    (void)client;
}

static void socketio_frame(struct client *client, const char *text, size_t len)
{
    char join[256];
    if (begins(text, len, "0{")) {
        ws_say(client, 1, "40", 2);
    } else if (begins(text, len, "40")) {
        int join_len = snprintf(join, sizeof join, "420[\"join\",\"%s/%u\"]", options.topic, client->channel);
        ws_say(client, 1, join, (size_t)join_len);
    } else if (begins(text, len, "43")) {
        client_ready(client);
    } else if (begins(text, len, "2")) {
        ws_say(client, 1, "3", 1);
    } else if (!tally_receive(client, text, len) && !begins(text, len, "42[\"welcome\"") &&
               !begins(text, len, "42[\"synced\"")) {
        die("a packet of Socket.IO: %.*s", (int)len, text);
    }
}

static size_t socketio_feed(struct client *client, char *data, size_t len)
{
    return texts_feed(client, data, len, socketio_accepted, socketio_frame);
}

const struct protocol protocol_socketio = {"socketio", socketio_open, socketio_feed};
