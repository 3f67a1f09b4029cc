/* sockets.c: sessions of Socket.IO on a connection of Engine.IO: packets up, joining namespaces, what goes down. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "gateway/auth.h"
#include "gateway/protocol.h"
#include "hub/inbox.h"
#include "hub/session_log.h"
#include "message/cursor.h"
#include "socketio/arguments.h"
#include "socketio/engine.h"

/* Bytes that are sent at once where packets are made for one session alone. */
#define COLLECT_BYTES (64 * 1024)
/* More packets in a row beyond limits.message_rate than a client sends by mistake. */
#define REFUSED_MAX 1000

/* A packet whose attachments are still to come. */
struct eio_binary {
    struct gw_buf text;
    size_t bytes; /* in all */
    unsigned count, wanted;
    struct gw_buf attachments[GW_SIO_ATTACHMENTS_MAX];
};

/* --- down ------------------------------------------------------------------------------------------------------- */

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
    const struct eio *eio = eio_directory_own(answer->sid, gw_hub_worker(hub));
    struct sio *sio =
        eio && !eio->over ? sio_find(eio, (struct gw_slice){answer->space, strlen(answer->space)}) : NULL;
    if (sio)
        sio_push(sio, &answer->packet);
    answer_drop(letter);
}

static void answer_send(const struct sio *sio, const struct gw_buf *packet)
{
    struct answer *answer = gw_calloc(1, sizeof *answer);
    answer->letter = (struct gw_letter){.deliver = answer_deliver, .drop = answer_drop};
    gw_buf_add(&answer->packet, packet->data, packet->len);
    answer->space = gw_strdup(sio_shape_space(sio->shape));
    memcpy(answer->sid, sio->errand->sid, SIO_ID_SIZE);
    gw_hub_send(sio->session.hub, sio->errand->worker, &answer->letter);
}

void sio_push(struct sio *sio, const struct gw_buf *packet)
{
    struct gw_buf text;
    if (sio->errand) {
        answer_send(sio, packet);
        return;
    }
    gw_buf_init(&text);
    sio_add_packet(&text, eio_carrier(sio->eio), packet->data, packet->len);
    gw_session_push(&sio->session, &text);
}

static void sio_write_event(const struct sio *sio, const char *event, const char *json, const char *offset,
                            struct gw_buf *out)
{
    gw_sio_add_head(out, GW_SIO_EVENT, sio_shape_space(sio->shape));
    gw_buf_printf(out, "[\"%s\",", event);
    gw_buf_adds(out, json);
    if (offset)
        gw_buf_printf(out, ",\"%s\"", offset);
    gw_buf_addc(out, ']');
}

void sio_emit(struct sio *sio, const char *event, const char *json, const char *offset)
{
    struct gw_buf packet;
    gw_buf_init(&packet);
    sio_write_event(sio, event, json, offset, &packet);
    sio_push(sio, &packet);
    gw_buf_fini(&packet);
}

void sio_acknowledge(struct sio *sio, const char *id, const char *json)
{
    if (!id)
        return;
    struct gw_buf packet;
    gw_buf_init(&packet);
    gw_sio_add_head(&packet, GW_SIO_ACK, sio_shape_space(sio->shape));
    gw_buf_printf(&packet, "%s[", id);
    gw_buf_adds(&packet, json);
    gw_buf_addc(&packet, ']');
    sio_push(sio, &packet);
    gw_buf_fini(&packet);
}

void sio_refuse(struct sio *sio, const char *id, enum gw_err err, const char *message, int reason)
{
    struct gw_buf json, object;
    gw_buf_init(&json);
    gw_buf_init(&object);
    gw_json_error(&json, NULL, err, message, reason);
    sio_add_untyped(&object, &json);
    if (id) {
        object.data[0] = ',';
        gw_buf_clear(&json);
        gw_buf_adds(&json, "{\"status\":\"error\"");
        gw_buf_add(&json, object.data, object.len);
        sio_acknowledge(sio, id, json.data);
    } else {
        sio_emit(sio, "error", object.data, NULL);
    }
    gw_buf_fini(&json);
    gw_buf_fini(&object);
}

/* How what waits leaves. What is pushed meanwhile is a packet without a frame. */
static enum sio_carrier sio_carrier(const struct sio *sio)
{
    return sio->eio->polling && sio->eio->polling->leaving ? SIO_FRAMES : eio_carrier(sio->eio);
}

/* Everything up to `seq` has been sent, also of the subscriptions that began last. */
static void sio_add_synced(struct sio *sio, uint64_t seq, struct gw_buf *out)
{
    char cursor[64], offset[80];
    struct gw_buf json, packet;
    gw_buf_init(&json);
    gw_buf_init(&packet);
    gw_hub_format_cursor(sio->session.hub, seq, cursor);
    snprintf(offset, sizeof offset, "%s~%u", cursor, sio->generation);
    gw_buf_printf(&json, "{\"channels\":[%s],\"cursor\":\"%s\"}", sio->syncing.data ? sio->syncing.data : "", cursor);
    sio_write_event(sio, "synced", json.data, offset, &packet);
    sio_add_packet(out, sio_carrier(sio), packet.data, packet.len);
    gw_buf_fini(&json);
    gw_buf_fini(&packet);
    gw_buf_fini(&sio->syncing);
    sio->fresh = false;
}

static uint64_t sio_place(const struct sio *sio)
{
    char text[64];
    struct gw_cursor cursor = {.seq = 0};
    size_t len = gw_session_place(&sio->session, text);
    gw_cursor_parse(&cursor, text, len);
    return cursor.seq;
}

void sio_before_subscribe(struct sio *sio)
{
    if (!sio->fresh)
        sio->told = sio_place(sio);
}

void sio_after_subscribe(struct sio *sio, const char *filter, const struct gw_subscribed *subscribed)
{
    (void)subscribed;
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
    enum sio_carrier carrier = eio_carrier(sio->eio);
    if (item->type == GW_ITEM_TEXT) {
        if (carrier == SIO_PAYLOAD)
            sio_add_packet(out, sio->eio->polling->leaving ? SIO_FRAMES : carrier, item->u.text->data,
                           item->u.text->len);
        else
            gw_buf_add(out, item->u.text->data, item->u.text->len);
        return 1;
    }
    carrier = sio_carrier(sio);
    if (item->type == GW_ITEM_GAP) {
        sio_add_gap(out, carrier, sio->shape, item->u.gap);
        return 1;
    }
    struct gw_message *msg = item->u.message;
    unsigned synced = 0;
    if (sio->fresh && msg->seq > sio->fresh_to) {
        sio_add_synced(sio, sio->fresh_to, out);
        synced = 1;
    }
    bool offset = !sio->fresh || msg->seq > sio->told;
    if (offset)
        sio->told = msg->seq;
    return synced + sio_add_message(out, carrier, sio->shape, msg, offset);
}

bool sio_collect(struct sio *sio, struct gw_buf *out, size_t most, unsigned *packets)
{
    struct gw_item item;
    while (out->len<most && * packets> 2) { /* one item may be a message, its attachment and `synced` before */
        if (!gw_session_next(&sio->session, &item)) {
            if (sio->fresh && !gw_session_waiting(&sio->session) && !sio->session.kicked) {
                sio_add_synced(sio, sio_place(sio), out);
                --*packets;
            }
            return true;
        }
        *packets -= sio_add_item(sio, &item, out);
        gw_session_release(&sio->session, &item);
    }
    return false;
}

/* Packets that are this session's alone. True: it may go on with those that all share. */
static bool sio_drain_own(struct sio *sio, struct gw_conn *conn)
{
    gw_encode encode = sio_shape_encode(sio->shape);
    bool done = false;
    while (!done && (sio->fresh || !encode)) {
        if (gw_conn_blocked(conn) || sio->eio->over)
            return false;
        struct gw_buf out;
        gw_buf_init(&out);
        unsigned packets = UINT32_MAX;
        done = sio_collect(sio, &out, COLLECT_BYTES, &packets);
        if (out.len)
            gw_conn_send(conn, out.data, out.len);
        gw_buf_fini(&out);
    }
    return !sio->fresh && encode;
}

void sio_drain(struct sio *sio)
{
    struct gw_conn *conn = sio->eio->conn;
    if (!conn)
        eio_flush(sio->eio);
    else if (!sio->eio->over && sio_drain_own(sio, conn))
        gw_conn_drain(conn, &sio->session, sio_shape_encode(sio->shape));
}

/* --- from the hub ----------------------------------------------------------------------------------------------- */

static void sio_ready(struct gw_session *session)
{
    struct sio *sio = (struct sio *)session;
    if (!sio->errand)
        sio_drain(sio);
}

static void sio_free(struct sio *sio);

/* One publish or request has its answer. */
static void sio_settled(struct sio *sio)
{
    sio->pending--;
    if (sio->errand && !sio->pending)
        sio_free(sio);
}

static void sio_published(struct gw_session *session, const char *reference, enum gw_err err, int reason)
{
    struct sio *sio = (struct sio *)session;
    if (err == GW_OK)
        sio_acknowledge(sio, reference, "{\"status\":\"published\"}");
    else
        sio_refuse(sio, reference, err, NULL, reason);
    sio_settled(sio);
}

static void sio_response(struct gw_session *session, const char *reference, struct gw_slice data)
{
    struct gw_buf json;
    gw_buf_init(&json);
    gw_buf_adds(&json, "{\"status\":\"response\",\"data\":");
    gw_buf_add(&json, data.data, data.len);
    gw_buf_addc(&json, '}');
    sio_acknowledge((struct sio *)session, reference, json.data);
    gw_buf_fini(&json);
    sio_settled((struct sio *)session);
}

/* An event whose object protocol.h makes. */
static void sio_emit_typed(struct gw_session *session, const char *event, struct gw_buf *json)
{
    if (((struct sio *)session)->errand) {
        gw_buf_fini(json);
        return;
    }
    struct gw_buf object;
    gw_buf_init(&object);
    sio_add_untyped(&object, json);
    sio_emit((struct sio *)session, event, object.data, NULL);
    gw_buf_fini(&object);
    gw_buf_fini(json);
}

static void sio_upstream(struct gw_session *session, const struct gw_upstream_state *state)
{
    struct gw_buf json;
    gw_buf_init(&json);
    gw_json_upstream(&json, state);
    sio_emit_typed(session, "upstream", &json);
}

static void sio_revoked(struct gw_session *session, const char *filter, size_t len)
{
    struct gw_buf json;
    gw_buf_init(&json);
    sio_filter_remove((struct sio *)session, filter, len);
    gw_json_revoked(&json, "unsubscribed", filter, len);
    sio_emit_typed(session, "unsubscribed", &json);
}

static void sio_expiring(struct gw_session *session, int64_t expires_ms)
{
    char json[64];
    if (((struct sio *)session)->errand)
        return;
    snprintf(json, sizeof json, "{\"expires\":%lld}", (long long)expires_ms);
    sio_emit((struct sio *)session, "expiring", json, NULL);
}

/* The connection ends, not the namespace: a client whose namespace is left does not come back by itself. */
static void sio_kick(struct gw_session *session, enum gw_err why)
{
    char reason[124];
    if (((struct sio *)session)->errand) {
        sio_free((struct sio *)session);
        return;
    }
    snprintf(reason, sizeof reason, "%s: %s", gw_err_code(why), gw_err_text(why));
    eio_end(((struct sio *)session)->eio, gw_err_close_code(why), reason);
}

static const struct gw_session_ops sio_session_ops = {
    .transport = "socketio",
    .ready = sio_ready,
    .published = sio_published,
    .response = sio_response,
    .upstream = sio_upstream,
    .revoked = sio_revoked,
    .expiring = sio_expiring,
    .kick = sio_kick,
};

/* --- namespaces ------------------------------------------------------------------------------------------------- */

static void sio_detach(struct sio *sio)
{
    struct sio **at = &sio->eio->sockets;
    while (*at != sio)
        at = &(*at)->next;
    *at = sio->next;
}

static void sio_free(struct sio *sio)
{
    if (!sio->errand)
        sio_detach(sio);
    gw_session_close(&sio->session);
    while (sio->filters)
        sio_filter_remove(sio, sio->filters->text, strlen(sio->filters->text));
    gw_buf_fini(&sio->syncing);
    free(sio->errand);
    free(sio);
}

void sio_leave(struct sio *sio, unsigned worker, const char *sid)
{
    if (!sio->pending) {
        sio_free(sio);
        return;
    }
    sio_detach(sio);
    sio->errand = gw_calloc(1, sizeof *sio->errand);
    sio->errand->worker = worker;
    memcpy(sio->errand->sid, sid, SIO_ID_SIZE);
    while (sio->filters) {
        gw_session_unsubscribe(&sio->session, sio->filters->text, strlen(sio->filters->text));
        sio_filter_remove(sio, sio->filters->text, strlen(sio->filters->text));
    }
}

void sio_filter_remove(struct sio *sio, const char *text, size_t len)
{
    for (struct sio_filter **at = &sio->filters, *filter = *at; filter; at = &filter->next, filter = *at) {
        if (strlen(filter->text) != len || memcmp(filter->text, text, len) != 0)
            continue;
        *at = filter->next;
        free(filter);
        return;
    }
}

void sio_filter_add(struct sio *sio, const char *text, int64_t interval_ms, uint64_t fresh_to)
{
    size_t len = strlen(text);
    sio_filter_remove(sio, text, len);
    struct sio_filter *filter = gw_malloc(sizeof *filter + len + 1);
    *filter = (struct sio_filter){
        .next = sio->filters, .interval_ms = interval_ms, .fresh_to = fresh_to, .generation = sio->generation + 1};
    memcpy(filter->text, text, len + 1);
    sio->filters = filter;
}

void sio_free_all(struct eio *eio)
{
    while (eio->sockets)
        sio_free(eio->sockets);
}

struct sio *sio_find(const struct eio *eio, struct gw_slice space)
{
    struct sio *sio = eio->sockets;
    while (sio && !(strlen(sio_shape_space(sio->shape)) == space.len &&
                    !memcmp(sio_shape_space(sio->shape), space.data, space.len)))
        sio = sio->next;
    return sio;
}

/* The name as the configuration has it; NULL: there is no such namespace. */
static const char *sio_space(const struct eio *eio, struct gw_slice space)
{
    const struct gw_strings *spaces = &eio->options->namespaces;
    if (space.len == 1)
        return "/";
    for (size_t i = 0; i < spaces->count; i++) {
        if (strlen(spaces->items[i]) == space.len && !memcmp(spaces->items[i], space.data, space.len))
            return spaces->items[i];
    }
    return NULL;
}

/* `44`: the client hears `connect_error` and does not try again by itself. */
static void sio_connect_error(struct eio *eio, struct gw_slice space, const char *message, const char *code)
{
    struct gw_buf packet;
    gw_buf_init(&packet);
    gw_sio_add_head(&packet, GW_SIO_CONNECT_ERROR, "/");
    if (space.len > 1) {
        gw_buf_add(&packet, space.data, space.len);
        gw_buf_addc(&packet, ',');
    }
    gw_buf_adds(&packet, "{\"message\":");
    gw_buf_add_json_string(&packet, message, strlen(message));
    if (code) {
        gw_buf_printf(&packet, ",\"data\":{\"code\":\"%s\",\"message\":", code);
        gw_buf_add_json_string(&packet, message, strlen(message));
        gw_buf_addc(&packet, '}');
    }
    gw_buf_addc(&packet, '}');
    eio_send(eio, packet.data, packet.len);
    gw_buf_fini(&packet);
}

/* Who it is by the CONNECT packet, else by the request that opened the connection. *out NULL with GW_OK: nobody has
 * to say. */
static enum gw_err sio_identify(const struct eio *eio, const struct sio_arguments *arguments,
                                struct gw_identity **out, const char **why)
{
    struct gw_auth *auth = gw_hub_auth(eio->hub);
    enum gw_err err = GW_OK;
    *out = NULL;
    *why = NULL;
    if (!auth)
        return GW_OK;
    if (arguments->token.data) {
        err = gw_auth_token(auth, arguments->token.data, arguments->token.len, gw_hub_wall(eio->hub), out, why);
    } else if (arguments->ticket.data) {
        err = gw_auth_redeem(auth, arguments->ticket.data, arguments->ticket.len, gw_hub_wall(eio->hub), out);
        *why = "the ticket is unknown, used or too old";
    } else if (eio->identity) {
        *out = gw_identity_ref(eio->identity);
    } else {
        err = eio->refused != GW_OK ? eio->refused : GW_ERR_UNAUTHORIZED;
        *why = eio->refused != GW_OK ? "the ticket or cookie is unknown, used or too old"
                                     : "auth has neither a token nor a ticket";
        return err;
    }
    if (err != GW_OK) {
        GW_STAT_ADD(gw_hub_stats(eio->hub), auth_failures, 1);
        GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "auth", "CONNECT of a Socket.IO client was refused: %s",
                             *why ? *why : gw_err_code(err));
    }
    return err;
}

struct sio *sio_create(struct eio *eio, const char *space, struct gw_identity *identity)
{
    struct sio *sio = gw_calloc(1, sizeof *sio);
    sio->eio = eio;
    sio->shape = sio_shape_get(eio->options, space);
    sio_id_make(sio->sid);
    sio->next = eio->sockets;
    eio->sockets = sio;
    eio->connect_by_ms = 0;
    gw_session_open(&sio->session, eio->hub, &sio_session_ops);
    gw_session_identify(&sio->session, identity);
    if (eio->conn)
        gw_conn_log_session(eio->conn, &sio->session);
    return sio;
}

static void sio_push_connect(struct sio *sio)
{
    struct gw_buf packet;
    gw_buf_init(&packet);
    gw_sio_add_head(&packet, GW_SIO_CONNECT, sio_shape_space(sio->shape));
    gw_buf_printf(&packet, "{\"sid\":\"%s\"}", sio->sid);
    sio_push(sio, &packet);
    gw_buf_fini(&packet);
}

static void sio_push_welcome(struct sio *sio)
{
    struct gw_hub *hub = sio->session.hub;
    char cursor[64], offset[72], name[GW_SESSION_NAME_MAX];
    struct gw_buf json;
    gw_buf_init(&json);
    gw_hub_cursor(hub, cursor);
    gw_session_name(&sio->session, name);
    gw_buf_printf(&json, "{\"session\":\"%s\",\"cursor\":\"%s\"", name, cursor);
    if (sio->session.identity) {
        gw_buf_adds(&json, ",\"subject\":");
        gw_buf_add_json_string(&json, sio->session.identity->name, strlen(sio->session.identity->name));
    }
    gw_buf_addc(&json, '}');
    snprintf(offset, sizeof offset, "%s~0", cursor);
    sio_emit(sio, "welcome", json.data, offset);
    if (!gw_hub_upstream(hub)->up)
        sio_upstream(&sio->session, gw_hub_upstream(hub));
    gw_buf_fini(&json);
}

static const char *sio_connect(struct eio *eio, const struct gw_sio_packet *packet)
{
    const char *space = sio_space(eio, packet->space), *why;
    if (!space) {
        sio_connect_error(eio, packet->space, "Invalid namespace", NULL);
        return NULL;
    }
    struct sio_arguments arguments;
    struct gw_identity *identity = NULL;
    enum gw_err err = sio_arguments_read_auth(&arguments, packet->json, &why);
    if (err == GW_OK)
        err = sio_identify(eio, &arguments, &identity, &why);
    if (err == GW_OK) {
        struct sio *sio = sio_create(eio, space, identity);
        sio_push_connect(sio);
        sio_push_welcome(sio);
        sio_drain(sio);
    } else {
        sio_connect_error(eio, packet->space, why ? why : gw_err_text(err), gw_err_code(err));
    }
    gw_identity_unref(identity);
    sio_arguments_fini(&arguments);
    return NULL;
}

/* --- up --------------------------------------------------------------------------------------------------------- */

/* limits.message_rate. Every packet that is refused is answered; a client that goes on is cut off. */
static bool sio_within_rate(struct eio *eio, struct sio *sio, const struct gw_sio_packet *packet)
{
    if (gw_bucket_take(&eio->packets, gw_hub_config(eio->hub)->limits.message_rate, gw_hub_now(eio->hub))) {
        eio->refused_packets = 0;
        return true;
    }
    GW_STAT_ADD(gw_hub_stats(eio->hub), rate_limited, 1);
    if (++eio->refused_packets >= REFUSED_MAX) {
        eio_end(eio, 1008, "rate_limited: too many packets");
    } else if (sio) {
        char id[24];
        snprintf(id, sizeof id, "%llu", (unsigned long long)packet->id);
        sio_refuse(sio, packet->has_id ? id : NULL, GW_ERR_RATE_LIMITED, NULL, 0);
    } else {
        sio_connect_error(eio, packet->space, gw_err_text(GW_ERR_RATE_LIMITED), gw_err_code(GW_ERR_RATE_LIMITED));
    }
    return false;
}

static const char *sio_take_packet(struct eio *eio, const struct gw_sio_packet *packet,
                                   const struct gw_buf *attachments)
{
    struct sio *sio = sio_find(eio, packet->space);
    bool connects = packet->type == GW_SIO_CONNECT;
    if (connects && sio)
        return "the client has joined this namespace already";
    if (!connects && !sio)
        return "the client has not joined this namespace";
    if (packet->type == GW_SIO_ACK || packet->type == GW_SIO_BINARY_ACK)
        return NULL; /* the gateway asks for none */
    if (packet->type == GW_SIO_DISCONNECT) {
        sio_free(sio);
        return NULL;
    }
    if (!sio_within_rate(eio, sio, packet))
        return NULL;
    return connects ? sio_connect(eio, packet) : sio_event(sio, packet, attachments);
}

static void binary_free(struct eio_binary *binary)
{
    if (!binary)
        return;
    gw_buf_fini(&binary->text);
    for (unsigned i = 0; i < binary->count; i++)
        gw_buf_fini(&binary->attachments[i]);
    free(binary);
}

void sio_binary_free(struct eio *eio)
{
    binary_free(eio->binary);
    eio->binary = NULL;
}

const char *sio_take_text(struct eio *eio, const char *text, size_t len)
{
    if (eio->binary)
        return "an attachment is missing";
    struct gw_sio_packet packet;
    const char *why = gw_sio_parse(text, len, &packet);
    if (why || !packet.attachments)
        return why ? why : sio_take_packet(eio, &packet, NULL);
    eio->binary = gw_calloc(1, sizeof *eio->binary);
    eio->binary->wanted = packet.attachments;
    eio->binary->bytes = len;
    gw_buf_add(&eio->binary->text, text, len);
    return NULL;
}

const char *sio_take_binary(struct eio *eio, const char *data, size_t len)
{
    struct eio_binary *binary = eio->binary;
    if (!binary)
        return "there is no packet to which this attachment belongs";
    binary->bytes += len;
    if (binary->bytes > gw_hub_config(eio->hub)->limits.frame_bytes)
        return "the attachments are larger than limits.frame allows";
    gw_buf_add(&binary->attachments[binary->count++], data, len);
    if (binary->count < binary->wanted)
        return NULL;
    eio->binary = NULL;
    struct gw_sio_packet packet;
    const char *why = gw_sio_parse(binary->text.data, binary->text.len, &packet);
    if (!why)
        why = sio_take_packet(eio, &packet, binary->attachments);
    binary_free(binary);
    return why;
}
