/* proto_mqtt.c: MQTT 3.1.1 over WebSocket, as mqtt.js speaks it in a browser. */
#include <stdio.h>
#include <string.h>

#include "loadgen.h"

static void mqtt_open(struct client *client)
{
    ws_upgrade(client, "/mqtt", "mqtt");
}

static void mqtt_connect(struct client *client)
{
    static unsigned serial;
    char packet[64] = {0x10, 0, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0}; /* clean session, no keep-alive */
    int id = snprintf(packet + 14, sizeof packet - 14, "load%u", serial++);
    packet[12] = 0;
    packet[13] = (char)id;
    packet[1] = (char)(12 + id);
    ws_say(client, 2, packet, (size_t)(14 + id));
}

static void mqtt_subscribe(struct client *client)
{
    char packet[256] = {(char)0x82, 0, 0, 1};
    int len = snprintf(packet + 6, sizeof packet - 6, "%s/%u", options.topic, client->channel);
    packet[4] = 0;
    packet[5] = (char)len;
    packet[6 + len] = (char)options.qos;
    packet[1] = (char)(5 + len);
    if (packet[1] < 0)
        die("the topic is too long");
    ws_say(client, 2, packet, (size_t)(7 + len));
}

/* The payload alone is looked at: a packet identifier may be any two bytes. */
static void mqtt_publish(struct client *client, const char *packet, size_t len)
{
    size_t at = 1;
    while (at < len && (unsigned char)packet[at] & 0x80)
        at++;
    at++;
    size_t topic = at + 2 <= len ? (size_t)(unsigned char)packet[at] << 8 | (unsigned char)packet[at + 1] : len;
    at += 2 + topic;
    const char *id = packet + at;
    bool acknowledge = packet[0] & 2; /* QoS 1 */
    at += acknowledge ? 2 : 0;
    if (at > len || !tally_receive(client, packet + at, len - at))
        die("a PUBLISH without a payload of ours");
    if (acknowledge) {
        const char ack[4] = {0x40, 2, id[0], id[1]};
        ws_say(client, 2, ack, sizeof ack);
    }
}

/* One whole packet; mosquitto puts exactly one into a frame. */
static void mqtt_packet(struct client *client, const char *packet, size_t len)
{
    switch (len ? (unsigned char)packet[0] >> 4 : 0) {
    case 2:
        if (len != 4 || packet[3] != 0)
            die("CONNACK refuses");
        mqtt_subscribe(client);
        break;
    case 3:
        mqtt_publish(client, packet, len);
        break;
    case 9:
        if (len < 5 || (unsigned char)packet[4] > 2)
            die("SUBACK refuses");
        client_ready(client);
        break;
    default:
        die("an MQTT packet of type %d", len ? (unsigned char)packet[0] >> 4 : -1);
    }
}

static size_t mqtt_feed(struct client *client, char *data, size_t len)
{
    size_t at = 0, taken;
    if (!client->step) {
        at = ws_accepted(data, len);
        if (!at)
            return 0;
        client->step = 1;
        mqtt_connect(client);
    }
    int opcode;
    char *packet;
    size_t packet_len;
    while ((taken = ws_frame(client, data + at, len - at, &opcode, &packet, &packet_len))) {
        if (opcode == 2)
            mqtt_packet(client, packet, packet_len);
        at += taken;
    }
    return at;
}

const struct protocol protocol_mqtt = {"mqtt", mqtt_open, mqtt_feed};
