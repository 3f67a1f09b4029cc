/* window.c: what is on its way to the client at QoS 1: its identifiers, and how it is acknowledged
 * (sections 4.4, 4.9).
 *
 * They are kept in a ring, oldest first. Clients acknowledge in that order (section 4.6), so each acknowledgement is
 * for the first one; any other moves those before it up by one. */
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "mqttd/client.h"

#define WINDOW_START 16

void gw_mqttd_window_grow(struct gw_mqttd_client *client)
{
    uint32_t size = client->inflight ? 4 * (client->inflight_mask + 1) : WINDOW_START;
    struct gw_mqttd_inflight *inflight = gw_malloc(size * sizeof *inflight);
    if (client->inflight) { /* it is full */
        uint32_t first = client->inflight_first, behind = client->inflight_count - first;
        memcpy(inflight, client->inflight + first, behind * sizeof *inflight);
        memcpy(inflight + behind, client->inflight, first * sizeof *inflight);
    }
    free(client->inflight);
    client->inflight = inflight;
    client->inflight_first = 0;
    client->inflight_mask = size - 1;
}

static void window_pop(struct gw_mqttd_client *client)
{
    client->inflight_first = (client->inflight_first + 1) & client->inflight_mask;
    client->inflight_count--;
}

/* How many identifiers after `last` come before `id`. */
static uint16_t id_distance(uint16_t last, uint16_t id)
{
    return (uint16_t)(id - last - 1);
}

/* The window is smaller than there are identifiers. All that are in use are looked at only when the identifiers that
 * were free have been used up. */
void gw_mqttd_find_ids(struct gw_mqttd_client *client)
{
    while (!client->free_ids) {
        uint16_t last = client->last_id, room = id_distance(last, 0);
        for (uint32_t i = 0; i < client->inflight_count; i++) {
            uint16_t distance = id_distance(last, gw_mqttd_window_at(client, i)->id);
            room = distance < room ? distance : room;
        }
        for (uint32_t i = 0; client->replay && i < client->replay_count; i++) {
            uint16_t distance = id_distance(last, client->replay[i].id);
            room = distance < room ? distance : room;
        }
        client->free_ids = room;
        if (!room)
            client->last_id++; /* 0, or in use */
    }
}

uint16_t gw_mqttd_replayed(struct gw_mqttd_client *client, const struct gw_message *msg, bool *skip)
{
    *skip = false;
    if (!client->replay)
        return 0;
    if (msg->seq > client->replay_to) { /* what is left has been replaced by newer values */
        free(client->replay);
        client->replay = NULL;
        return 0;
    }
    for (uint32_t i = 0; i < client->replay_count; i++) {
        if (client->replay[i].seq != msg->seq)
            continue;
        uint16_t id = client->replay[i].id;
        client->replay[i] = client->replay[--client->replay_count];
        return id;
    }
    *skip = true;
    return 0;
}

/* Not the oldest. An identifier that is not in use is ignored. */
static void window_remove(struct gw_mqttd_client *client, uint16_t id)
{
    uint32_t at = 1;
    while (at < client->inflight_count && gw_mqttd_window_at(client, at)->id != id)
        at++;
    if (at >= client->inflight_count)
        return;
    for (; at; at--)
        *gw_mqttd_window_at(client, at) = *gw_mqttd_window_at(client, at - 1);
    window_pop(client);
}

static void window_acknowledge(struct gw_mqttd_client *client, uint16_t id)
{
    if (client->gap_count)
        gw_mqttd_gaps_acknowledged(client, id);
    if (client->inflight_count && gw_mqttd_window_at(client, 0)->id == id)
        window_pop(client);
    else
        window_remove(client, id);
    for (uint32_t i = 0; client->replay && i < client->replay_count; i++) {
        if (client->replay[i].id == id) /* it had it, and says so now */
            client->replay[i] = client->replay[--client->replay_count];
    }
}

/* A client acknowledges many at a time: what they make room for leaves together. One that has half of its window
 * still to acknowledge can wait for it. */
static void window_go_on(struct gw_mqttd_client *client)
{
    bool waiting = gw_session_waiting(&client->session);
    gw_conn_heard(client->conn, waiting && client->inflight_count <= client->window / 2);
    if (waiting && !client->session.dirty)
        gw_session_wake(&client->session);
}

void gw_mqttd_on_puback(struct gw_mqttd_client *client, uint16_t id)
{
    window_acknowledge(client, id);
    window_go_on(client);
}

/* How long it is; 0: it is something else, or not whole, or has something to say. */
static inline size_t puback_len(const struct gw_mqttd_client *client, const uint8_t *packet, size_t len)
{
    if (len < 4 || packet[0] != GW_MQTTD_PUBACK << 4 || !(packet[2] | packet[3]))
        return 0;
    if (packet[1] == 2)
        return 4;
    size_t size = 2 + (size_t)packet[1];
    bool plain =
        client->version == 5 && size > 4 && size <= 6 && len >= size && !packet[4] && (size == 5 || !packet[5]);
    return plain ? size : 0;
}

size_t gw_mqttd_take_pubacks(struct gw_mqttd_client *client, const char *data, size_t len)
{
    size_t at = 0, size;
    if (!client->connected)
        return 0;
    bool brief = !client->gap_count && !client->replay; /* nothing but the window knows of identifiers */
    while ((size = puback_len(client, (const uint8_t *)data + at, len - at))) {
        uint16_t id = (uint16_t)((uint8_t)data[at + 2] << 8 | (uint8_t)data[at + 3]);
        if (brief && client->inflight_count && gw_mqttd_window_at(client, 0)->id == id)
            window_pop(client);
        else
            window_acknowledge(client, id);
        at += size;
    }
    if (at)
        window_go_on(client);
    return at;
}

void gw_mqttd_on_pubrec(struct gw_mqttd_client *client, uint16_t id)
{
    struct gw_buf packet = {0};
    gw_mqttd_write_ack(&packet, GW_MQTTD_PUBREL, client->version, id, GW_MQTTD_ID_NOT_FOUND, NULL);
    gw_mqttd_send(client, &packet);
}

void gw_mqttd_forget_window(struct gw_mqttd_client *client)
{
    free(client->inflight);
    client->inflight = NULL;
    client->inflight_count = client->inflight_first = 0;
    free(client->replay);
    client->replay = NULL;
}
