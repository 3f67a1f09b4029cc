/* gaps.c: gaps that a client is to be told of. One goes as a user property with the next message of its channel, and
 * is known to have arrived when that is acknowledged: until then it belongs to the session that is kept, and is told
 * again. At QoS 0 a message is told once, and so are its gaps. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/session_log.h"
#include "gateway/shared.h"
#include "gateway/topic.h"
#include "mqttd/client.h"

/* Before the place of a kept session only that is missing which is to be sent again. */
static bool gap_is_news(const struct gw_mqttd_client *client, const struct gw_gap *gap)
{
    const struct gw_hub *hub = client->session.hub;
    uint64_t from, to;
    if (!client->replay || gw_hub_check_cursor(hub, gap->from, strlen(gap->from), &from) != GW_CURSOR_OK ||
        gw_hub_check_cursor(hub, gap->to, strlen(gap->to), &to) != GW_CURSOR_OK || to > client->replay_to)
        return true;
    for (uint32_t i = 0; i < client->replay_count; i++) {
        if (client->replay[i].seq > from && client->replay[i].seq <= to)
            return true;
    }
    return false;
}

static void gap_remove(struct gw_mqttd_client *client, uint32_t at)
{
    struct gw_mqttd_gap *gap = &client->gaps[at];
    client->gaps_waiting -= !gap->id;
    free(gap->gap);
    memmove(gap, gap + 1, sizeof *gap * (--client->gap_count - at));
}

/* Takes the gap. */
static void gap_add(struct gw_mqttd_client *client, struct gw_gap *gap)
{
    if (!client->gaps)
        client->gaps = gw_calloc(GW_MQTTD_GAPS, sizeof *client->gaps);
    if (client->gap_count == GW_MQTTD_GAPS) /* their channels are silent; the log has them */
        gap_remove(client, 0);
    client->gaps[client->gap_count++] = (struct gw_mqttd_gap){.gap = gap};
    client->gaps_waiting++;
}

void gw_mqttd_keep_gap(struct gw_mqttd_client *client, struct gw_item *item)
{
    const struct gw_gap *gap = item->u.gap;
    if (!gap_is_news(client, gap)) {
        gw_item_release(item);
        return;
    }
    GW_SESSION_LOG_ONCE_A_SECOND(&client->session, GW_LOG_INFO, "a gap in '%s' from %s to %s: %s", gap->channel,
                                 gap->from, gap->to, gap->reason);
    if (client->version < 5)
        gw_item_release(item);
    else
        gap_add(client, item->u.gap);
}

/* "REASON FROM TO", and the filter where the gap is one of all its channels. */
static void gap_put(const struct gw_gap *gap, bool filter, struct gw_buf *properties)
{
    struct gw_buf text = {0};
    gw_buf_printf(&text, "%s %s %s", gap->reason, gap->from, gap->to);
    if (filter) {
        gw_buf_addc(&text, ' ');
        gw_buf_adds(&text, gap->channel);
    }
    gw_mqttd_put_user(properties, "gap", text.data, text.len);
    gw_buf_fini(&text);
}

void gw_mqttd_put_gaps(struct gw_mqttd_client *client, const struct gw_message *msg, struct gw_buf *properties)
{
    for (uint32_t i = 0; client->gaps_waiting && i < client->gap_count; i++) {
        struct gw_mqttd_gap *gap = &client->gaps[i];
        const struct gw_slice channel = msg->channel;
        size_t len = strlen(gap->gap->channel);
        bool own = len == channel.len && !memcmp(gap->gap->channel, channel.data, len);
        gap->put = !gap->id && (own || gw_topic_matches(gap->gap->channel, len, channel.data, channel.len));
        if (gap->put)
            gap_put(gap->gap, !own, properties);
    }
}

void gw_mqttd_gaps_told(struct gw_mqttd_client *client, uint16_t id)
{
    for (uint32_t i = client->gap_count; client->gaps_waiting && i--;) {
        if (!client->gaps[i].put || client->gaps[i].id)
            continue;
        client->gaps[i].put = false;
        if (!id) {
            gap_remove(client, i);
            continue;
        }
        client->gaps[i].id = id;
        client->gaps_waiting--;
    }
}

void gw_mqttd_gaps_acknowledged(struct gw_mqttd_client *client, uint16_t id)
{
    for (uint32_t i = client->gap_count; i--;) {
        if (client->gaps[i].id == id)
            gap_remove(client, i);
    }
}

void gw_mqttd_restore_gaps(struct gw_mqttd_client *client, const struct gw_mqttd_kept *kept)
{
    for (uint32_t i = 0; client->version == 5 && i < kept->gap_count; i++) {
        const struct gw_gap *gap = kept->gaps[i].gap;
        gap_add(client, gw_gap_create(gap->channel, strlen(gap->channel), gap->from, gap->to, gap->reason));
    }
}

void gw_mqttd_forget_gaps(struct gw_mqttd_gap *gaps, uint32_t count)
{
    while (count)
        free(gaps[--count].gap);
    free(gaps);
}

/* --- as text, behind that of a session (recall.c) ----------------------------------------------------------------
 */

static const char *const reasons[] = {"history", "epoch", "overflow"};

void gw_mqttd_gaps_write(const struct gw_mqttd_kept *kept, struct gw_buf *out)
{
    for (uint32_t i = 0; i < kept->gap_count; i++) {
        const struct gw_gap *gap = kept->gaps[i].gap;
        gw_buf_printf(out, " %s %s %s ", gap->reason, gap->from, gap->to);
        gw_shared_add_text(out, gap->channel, strlen(gap->channel));
    }
}

void gw_mqttd_gaps_read(const char *at, const char *end, struct gw_mqttd_kept *kept)
{
    char reason[16], from[64], to[64];
    int skip = 0;
    struct gw_slice channel;
    while (kept->gap_count < GW_MQTTD_GAPS && sscanf(at, " %15s %63s %63s %n", reason, from, to, &skip) == 3) {
        at += skip;
        if (!skip || !gw_shared_text(&at, end, &channel))
            return;
        for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
            if (strcmp(reason, reasons[i]) != 0)
                continue;
            if (!kept->gaps)
                kept->gaps = gw_calloc(GW_MQTTD_GAPS, sizeof *kept->gaps);
            kept->gaps[kept->gap_count++].gap = gw_gap_create(channel.data, channel.len, from, to, reasons[i]);
        }
        skip = 0;
    }
}
