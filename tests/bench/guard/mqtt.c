#include "mqtt.h"

#include <stdio.h>
#include <string.h>

/* Masked with zeros. */
static size_t frame(char *out, const char *packet, size_t len)
{
    out[0] = (char)0x82;
    out[1] = (char)(0x80 | len);
    memset(out + 2, 0, 4);
    memcpy(out + 6, packet, len);
    return len + 6;
}

size_t mqtt_connect(char *out, unsigned number, bool clean)
{
    char packet[64] = {0x10, 0, 0, 4, 'M', 'Q', 'T', 'T', 4, clean ? 2 : 0};
    int id = snprintf(packet + 14, sizeof packet - 14, "guard%u", number);
    packet[13] = (char)id;
    packet[1] = (char)(12 + id);
    return frame(out, packet, (size_t)(14 + id));
}

size_t mqtt_subscribe(char *out, const char *channel, unsigned qos)
{
    char packet[100] = {(char)0x82, 0, 0, 1};
    int len = snprintf(packet + 6, sizeof packet - 8, "%s", channel);
    packet[5] = (char)len;
    packet[6 + len] = (char)qos;
    packet[1] = (char)(5 + len);
    return frame(out, packet, (size_t)(7 + len));
}

/* A PUBLISH's identifier is behind its topic. */
static const unsigned char *publish_id(const unsigned char *packet)
{
    if (packet[0] >> 4 != 3 || !(packet[0] & 2))
        return NULL;
    const unsigned char *topic = packet + 1;
    while (*topic++ & 0x80)
        ;
    return topic + 2 + (topic[0] << 8 | topic[1]);
}

size_t mqtt_acknowledge(const char *data, size_t len, char *out)
{
    const unsigned char *at = (const unsigned char *)data, *end = at + len;
    size_t written = 0;
    while (at < end) {
        size_t size = at[1], header = 2;
        if (size == 126) {
            size = (size_t)at[2] << 8 | at[3];
            header = 4;
        }
        const unsigned char *id = publish_id(at + header);
        if (id) {
            const char ack[4] = {0x40, 2, (char)id[0], (char)id[1]};
            written += frame(out + written, ack, sizeof ack);
        }
        at += header + size;
    }
    return written;
}
