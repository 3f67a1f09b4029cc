/* outlet.c: what goes down to a client: packets of its own, and messages with or without an offset. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/protocol.h"
#include "message/cursor.h"
#include "socketio/arguments.h"
#include "socketio/engine.h"

/* Bytes that are sent at once where packets are made for one session alone. */
#define COLLECT_BYTES (64 * 1024)

/* An answer for a session that another worker has. */
struct answer {
    struct gw_letter letter; /* first member */
    struct gw_buf packet;
    char *space;
    char sid[SIO_ID_SIZE];
};

static void answer_drop(struct gw_letter *letter)
{
    struct answer *answer = (struct answer *)letter;
    gw_buf_fini(&answer->packet);
    free(answer->space);
    free(answer);
}

static void answer_deliver(struct gw_letter *letter, struct gw_hub *hub)
{
    const struct answer *answer = (const struct answer *)letter;
    const struct eio *eio = gw_eio_directory_own(answer->sid, gw_hub_worker(hub));
    struct sio *sio =
        eio && !eio->over ? gw_sio_find(eio, (struct gw_slice){answer->space, strlen(answer->space)}) : NULL;
    if (sio)
        gw_sio_push(sio, &answer->packet);
    answer_drop(letter);
}

static void answer_send(const struct sio *sio, const struct gw_buf *packet)
{
    struct answer *answer = gw_calloc(1, sizeof *answer);
    answer->letter = (struct gw_letter){.deliver = answer_deliver, .drop = answer_drop};
    gw_buf_add(&answer->packet, packet->data, packet->len);
    answer->space = gw_strdup(gw_sio_shape_space(sio->shape));
    memcpy(answer->sid, sio->errand->sid, SIO_ID_SIZE);
    gw_hub_send(sio->session.hub, sio->errand->worker, &answer->letter);
}

void gw_sio_push(struct sio *sio, const struct gw_buf *packet)
{
    struct gw_buf text = {0};
    if (sio->errand) {
        answer_send(sio, packet);
        return;
    }
    gw_sio_add_packet(&text, gw_eio_carrier(sio->eio), packet->data, packet->len);
    gw_session_push(&sio->session, &text);
}

static void sio_write_event(const struct sio *sio, const char *event, const char *json, const char *offset,
                            struct gw_buf *out)
{
    gw_sio_add_head(out, GW_SIO_EVENT, gw_sio_shape_space(sio->shape));
    gw_buf_printf(out, "[\"%s\",", event);
    gw_buf_adds(out, json);
    if (offset)
        gw_buf_printf(out, ",\"%s\"", offset);
    gw_buf_addc(out, ']');
}

void gw_sio_emit(struct sio *sio, const char *event, const char *json, const char *offset)
{
    struct gw_buf packet = {0};
    sio_write_event(sio, event, json, offset, &packet);
    gw_sio_push(sio, &packet);
    gw_buf_fini(&packet);
}

void gw_sio_acknowledge(struct sio *sio, const char *id, const char *json)
{
    if (!id)
        return;
    struct gw_buf packet = {0};
    gw_sio_add_head(&packet, GW_SIO_ACK, gw_sio_shape_space(sio->shape));
    gw_buf_printf(&packet, "%s[", id);
    gw_buf_adds(&packet, json);
    gw_buf_addc(&packet, ']');
    gw_sio_push(sio, &packet);
    gw_buf_fini(&packet);
}

void gw_sio_acknowledge_typed(struct sio *sio, const char *id, const struct gw_buf *json)
{
    struct gw_buf object = {0};
    gw_json_add_status(&object, json);
    gw_sio_acknowledge(sio, id, object.data);
    gw_buf_fini(&object);
}

void gw_sio_refuse(struct sio *sio, const char *id, enum gw_err err, const char *message, int reason)
{
    struct gw_buf json = {0};
    gw_json_error(&json, NULL, err, message, reason);
    if (id) {
        gw_sio_acknowledge_typed(sio, id, &json);
    } else {
        struct gw_buf object = {0};
        gw_sio_add_untyped(&object, &json);
        gw_sio_emit(sio, "error", object.data, NULL);
        gw_buf_fini(&object);
    }
    gw_buf_fini(&json);
}

/* How what waits leaves. What is pushed meanwhile is a packet without a frame. */
static enum sio_carrier sio_carrier(const struct sio *sio)
{
    return sio->eio->polling && sio->eio->polling->leaving ? SIO_FRAMES : gw_eio_carrier(sio->eio);
}

/* All that was wanted of the past has been sent, also in windows. */
static void sio_windows_through(struct sio *sio, uint64_t seq)
{
    for (struct sio_filter *filter = sio->filters; filter; filter = filter->next) {
        if (filter->fresh_to == UINT64_MAX)
            filter->fresh_to = seq;
    }
    gw_sio_recall_note(sio->owner, sio->filters);
    gw_sio_share(sio, 0);
}

/* The client read too slowly, or messages were lost: windows of before come again, and where it is by then says
 * nothing about them. */
static void sio_windows_fell(struct sio *sio)
{
    sio->falls = sio->session.window_falls;
    for (struct sio_filter *filter = sio->filters; filter; filter = filter->next) {
        if (*gw_sio_filter_aggregate(filter)) {
            filter->fresh_to = UINT64_MAX;
            filter->generation = sio->generation + 1;
        }
    }
    gw_sio_recall_note(sio->owner, sio->filters);
    gw_sio_share(sio, 0);
}

/* Everything up to `seq` has been sent, also of the subscriptions that began last. */
static void sio_add_synced(struct sio *sio, uint64_t seq, struct gw_buf *out)
{
    char cursor[64], offset[80];
    struct gw_buf json = {0}, packet = {0};
    gw_hub_format_cursor(sio->session.hub, seq, cursor);
    snprintf(offset, sizeof offset, "%s~%u", cursor, sio->generation);
    gw_buf_printf(&json, "{\"channels\":[%s],\"cursor\":\"%s\"}", sio->syncing.data ? sio->syncing.data : "", cursor);
    sio_write_event(sio, "synced", json.data, offset, &packet);
    gw_sio_add_packet(out, sio_carrier(sio), packet.data, packet.len);
    gw_buf_fini(&json);
    gw_buf_fini(&packet);
    gw_buf_fini(&sio->syncing);
    sio->fresh = false;
    if (sio->session.window_count)
        sio_windows_through(sio, seq);
}

void gw_sio_subscribed(struct sio *sio, const char *name, const struct sio_arguments *arguments,
                       const struct gw_subscribed *subscribed, bool first)
{
    struct gw_cursor from;
    bool windows = arguments->aggregate.data, cursor = windows || !subscribed->fresh_to;
    const struct sio_wanted wanted = {.text = name,
                                      .aggregate = windows ? arguments->aggregate.data : "",
                                      .from = cursor ? subscribed->cursor : "",
                                      .interval_ms = arguments->interval_ms,
                                      .fresh_to = windows  ? UINT64_MAX
                                                  : cursor ? sio->fresh_to
                                                           : subscribed->fresh_to,
                                      .generation = sio->generation + 1,
                                      .first = first && cursor && !windows};
    gw_sio_filter_add(sio, &wanted);
    /* The client has nothing else, so what comes after its cursor says where it is. */
    if (wanted.first && gw_cursor_parse(&from, subscribed->cursor, strlen(subscribed->cursor)) &&
        from.seq < sio->told)
        sio->told = from.seq;
}

uint64_t gw_sio_place(const struct sio *sio)
{
    char text[64];
    struct gw_cursor cursor = {.seq = 0};
    size_t len = gw_session_place(&sio->session, text);
    gw_cursor_parse(&cursor, text, len);
    return cursor.seq;
}

void gw_sio_before_subscribe(struct sio *sio)
{
    if (!sio->fresh)
        sio->told = gw_sio_place(sio);
}

void gw_sio_after_subscribe(struct sio *sio, const char *filter)
{
    char text[64];
    struct gw_cursor head = {.seq = 0};
    gw_cursor_parse(&head, text, gw_hub_cursor(sio->session.hub, text));
    sio->fresh = true;
    sio->fresh_to = head.seq;
    if (sio->syncing.len)
        gw_buf_addc(&sio->syncing, ',');
    gw_buf_add_json_string(&sio->syncing, filter, strlen(filter));
}

static unsigned sio_add_item(struct sio *sio, struct gw_item *item, struct gw_buf *out)
{
    enum sio_carrier carrier = gw_eio_carrier(sio->eio);
    if (item->type == GW_ITEM_TEXT) {
        if (carrier == SIO_PAYLOAD)
            gw_sio_add_packet(out, sio->eio->polling->leaving ? SIO_FRAMES : carrier, item->u.text->data,
                              item->u.text->len);
        else
            gw_buf_add(out, item->u.text->data, item->u.text->len);
        return 1;
    }
    carrier = sio_carrier(sio);
    if (item->type == GW_ITEM_GAP) {
        gw_sio_add_gap(out, carrier, sio->shape, item->u.gap);
        return 1;
    }
    struct gw_message *msg = item->u.message;
    unsigned synced = 0;
    if (msg->window) { /* beside messages its cursor would lead back */
        char generation[16] = "";
        bool offset = !sio->fresh && !sio->session.sub_count;
        snprintf(generation, sizeof generation, "~%u", sio->generation);
        return gw_sio_add_message(out, carrier, sio->shape, msg, offset ? generation : NULL);
    }
    if (sio->fresh && msg->seq > sio->fresh_to && !sio->session.window_joins) {
        sio_add_synced(sio, sio->fresh_to, out);
        synced = 1;
    }
    bool offset = !sio->fresh || msg->seq > sio->told;
    if (offset)
        sio->told = msg->seq;
    return synced + gw_sio_add_message(out, carrier, sio->shape, msg, offset ? "" : NULL);
}

bool gw_sio_collect(struct sio *sio, struct gw_buf *out, size_t most, unsigned *packets)
{
    struct gw_item item;
    while (out->len<most && * packets> 2) { /* one item may be a message, its attachment and `synced` before */
        if (!gw_session_next(&sio->session, &item)) {
            if (sio->fresh && !gw_session_waiting(&sio->session) && !sio->session.kicked) {
                sio_add_synced(sio, gw_sio_place(sio), out);
                --*packets;
            }
            return true;
        }
        *packets -= sio_add_item(sio, &item, out);
        gw_session_release(&sio->session, &item);
    }
    return false;
}

static bool sio_is_own(const struct sio *sio)
{
    return sio->fresh || !sio->encode || sio->session.window_count;
}

/* Packets that are this session's alone. True: it may go on with those that all share. */
__attribute__((noinline)) static bool sio_drain_own(struct sio *sio, struct gw_conn *conn)
{
    bool done = false;
    while (!done && sio_is_own(sio)) {
        if (gw_conn_blocked(conn) || sio->eio->over)
            return false;
        struct gw_buf out = {0};
        unsigned packets = UINT32_MAX;
        done = gw_sio_collect(sio, &out, COLLECT_BYTES, &packets);
        if (out.len)
            gw_conn_send(conn, out.data, out.len);
        gw_buf_fini(&out);
    }
    return !sio_is_own(sio);
}

void gw_sio_drain(struct sio *sio)
{
    struct gw_conn *conn = sio->eio->conn;
    if (sio->falls != sio->session.window_falls)
        sio_windows_fell(sio);
    if (!conn)
        gw_eio_flush(sio->eio);
    else if (!sio->eio->over && (!sio_is_own(sio) || sio_drain_own(sio, conn)))
        gw_conn_drain(conn, &sio->session, sio->encode);
}
