/* sockets.c: sessions of Socket.IO on a connection of Engine.IO: what the hub says, and packets up. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/protocol.h"
#include "socketio/engine.h"

/* More packets in a row beyond limits.message_rate than a client sends by mistake. */
#define REFUSED_MAX 1000

/* A packet whose attachments are still to come. */
struct eio_binary {
    struct gw_buf text;
    size_t bytes; /* in all */
    unsigned count, wanted;
    struct gw_buf attachments[GW_SIO_ATTACHMENTS_MAX];
};

/* --- from the hub ----------------------------------------------------------------------------------------------- */

static void sio_ready(struct gw_session *session)
{
    struct sio *sio = (struct sio *)session;
    if (!sio->errand)
        gw_sio_drain(sio);
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
        gw_sio_acknowledge(sio, reference, "{\"status\":\"published\"}");
    else
        gw_sio_refuse(sio, reference, err, NULL, reason);
    sio_settled(sio);
}

static void sio_response(struct gw_session *session, const char *reference, struct gw_slice data)
{
    struct gw_buf json = {0};
    gw_json_response(&json, NULL, data);
    gw_sio_acknowledge_typed((struct sio *)session, reference, &json);
    gw_buf_fini(&json);
    sio_settled((struct sio *)session);
}

static void sio_confirmed(struct gw_session *session, const char *reference, const struct gw_confirmed *confirmed)
{
    struct gw_buf json = {0};
    gw_json_confirmed(&json, NULL, confirmed);
    gw_sio_acknowledge_typed((struct sio *)session, reference, &json);
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
    struct gw_buf object = {0};
    gw_sio_add_untyped(&object, json);
    gw_sio_emit((struct sio *)session, event, object.data, NULL);
    gw_buf_fini(&object);
    gw_buf_fini(json);
}

static void sio_upstream(struct gw_session *session, const struct gw_upstream_state *state)
{
    struct gw_buf json = {0};
    gw_json_upstream(&json, state);
    sio_emit_typed(session, "upstream", &json);
}

static void sio_revoked(struct gw_session *session, const char *filter, size_t len)
{
    struct gw_buf json = {0};
    struct sio *sio = (struct sio *)session;
    gw_sio_filter_remove(sio, filter, len, NULL);
    gw_sio_recall_note(sio->owner, sio->filters);
    gw_sio_share(sio, 0);
    gw_json_revoked(&json, "unsubscribed", filter, len);
    sio_emit_typed(session, "unsubscribed", &json);
}

static void sio_expiring(struct gw_session *session, int64_t expires_ms)
{
    struct gw_buf json = {0};
    gw_json_expiring(&json, expires_ms);
    sio_emit_typed(session, "expiring", &json);
}

/* The connection ends, not the namespace: a client whose namespace is left does not come back by itself. */
static void sio_kick(struct gw_session *session, enum gw_err why)
{
    if (((struct sio *)session)->errand) {
        sio_free((struct sio *)session);
        return;
    }
    gw_eio_end(((struct sio *)session)->eio, gw_err_close_code(why), gw_err_line(why, NULL).text);
}

static const struct gw_session_ops sio_session_ops = {
    .states = true,
    .transport = "socketio",
    .ready = sio_ready,
    .published = sio_published,
    .response = sio_response,
    .confirmed = sio_confirmed,
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
    if (sio->eio && sio->eio->options->recovery_ms)
        gw_sio_share(sio, sio->eio->options->recovery_ms);
    gw_session_close(&sio->session);
    gw_sio_recall_end(sio->owner, sio->eio ? sio->eio->options->recovery_ms : 0,
                      sio->eio ? sio->eio->options->sessions : SIZE_MAX);
    gw_sio_filters_free(sio->filters);
    gw_buf_fini(&sio->syncing);
    free(sio->errand);
    free(sio);
}

void gw_sio_forget(struct sio *sio)
{
    gw_sio_unshare(sio);
    gw_sio_recall_end(sio->owner, 0, sio->eio->options->sessions);
    sio->owner = NULL;
    sio_free(sio);
}

void gw_sio_leave(struct sio *sio, unsigned worker, const char *sid)
{
    if (!sio->pending) {
        sio_free(sio);
        return;
    }
    sio_detach(sio);
    sio->eio = NULL;
    sio->errand = gw_calloc(1, sizeof *sio->errand);
    sio->errand->worker = worker;
    memcpy(sio->errand->sid, sid, SIO_ID_SIZE);
    while (sio->filters) {
        const struct sio_filter *filter = sio->filters;
        struct gw_aggregate aggregate;
        bool windows =
            *gw_sio_filter_aggregate(filter) &&
            !gw_aggregate_parse(&aggregate, gw_sio_filter_aggregate(filter), strlen(gw_sio_filter_aggregate(filter)));
        gw_session_unsubscribe_from(&sio->session, filter->text, strlen(filter->text), windows ? &aggregate : NULL);
        gw_sio_filter_remove(sio, filter->text, strlen(filter->text), gw_sio_filter_aggregate(filter));
    }
}

void gw_sio_filter_remove(struct sio *sio, const char *text, size_t len, const char *aggregate)
{
    for (struct sio_filter **at = &sio->filters, *filter = *at; filter; at = &filter->next, filter = *at) {
        if (strlen(filter->text) != len || memcmp(filter->text, text, len) != 0 ||
            (aggregate && strcmp(gw_sio_filter_aggregate(filter), aggregate) != 0))
            continue;
        *at = filter->next;
        free(filter);
        return;
    }
}

struct sio_filter *gw_sio_filter_create(const struct sio_wanted *wanted)
{
    struct gw_buf text = {0};
    gw_buf_add(&text, wanted->text, strlen(wanted->text) + 1);
    gw_buf_add(&text, wanted->aggregate, strlen(wanted->aggregate) + 1);
    gw_buf_add(&text, wanted->from, strlen(wanted->from) + 1);
    struct sio_filter *filter = gw_malloc(sizeof *filter + text.len);
    *filter = (struct sio_filter){.interval_ms = wanted->interval_ms,
                                  .fresh_to = wanted->fresh_to,
                                  .generation = wanted->generation,
                                  .first = wanted->first,
                                  .size = (uint32_t)text.len};
    memcpy(filter->text, text.data, text.len);
    gw_buf_fini(&text);
    return filter;
}

void gw_sio_filter_add(struct sio *sio, const struct sio_wanted *wanted)
{
    gw_sio_filter_remove(sio, wanted->text, strlen(wanted->text), wanted->aggregate);
    struct sio_filter *filter = gw_sio_filter_create(wanted);
    filter->next = sio->filters;
    sio->filters = filter;
}

void gw_sio_free_all(struct eio *eio)
{
    while (eio->sockets)
        sio_free(eio->sockets);
}

struct sio *gw_sio_find(const struct eio *eio, struct gw_slice space)
{
    struct sio *sio = eio->sockets;
    while (sio && !(strlen(gw_sio_shape_space(sio->shape)) == space.len &&
                    !memcmp(gw_sio_shape_space(sio->shape), space.data, space.len)))
        sio = sio->next;
    return sio;
}

struct sio *gw_sio_create(struct eio *eio, const char *space, struct gw_identity *identity)
{
    struct sio *sio = gw_calloc(1, sizeof *sio);
    sio->eio = eio;
    sio->shape = gw_sio_shape_get(eio->options, space);
    sio->encode = gw_sio_shape_encode(sio->shape);
    gw_sio_id_make(sio->sid);
    sio->next = eio->sockets;
    eio->sockets = sio;
    eio->connect_by_ms = 0;
    gw_session_open(&sio->session, eio->hub, &sio_session_ops);
    gw_session_identify(&sio->session, identity);
    sio->told = gw_sio_place(sio);
    if (eio->conn)
        gw_conn_log_session(eio->conn, &sio->session);
    return sio;
}

/* --- up --------------------------------------------------------------------------------------------------------- */

/* limits.message_rate. Every packet that is refused is answered; a client that goes on is cut off. */
static bool sio_within_rate(struct eio *eio, struct sio *sio, const struct gw_sio_packet *packet)
{
    if (gw_hub_within_rate(eio->hub, &eio->packets)) {
        eio->refused_packets = 0;
        return true;
    }
    if (++eio->refused_packets >= REFUSED_MAX) {
        gw_eio_end(eio, 1008, "rate_limited: too many packets");
    } else if (sio) {
        char id[24];
        snprintf(id, sizeof id, "%llu", (unsigned long long)packet->id);
        gw_sio_refuse(sio, packet->has_id ? id : NULL, GW_ERR_RATE_LIMITED, NULL, 0);
    } else {
        gw_sio_connect_error(eio, packet->space, gw_err_text(GW_ERR_RATE_LIMITED), gw_err_code(GW_ERR_RATE_LIMITED));
    }
    return false;
}

static const char *sio_take_packet(struct eio *eio, const struct gw_sio_packet *packet,
                                   const struct gw_buf *attachments)
{
    struct sio *sio = gw_sio_find(eio, packet->space);
    bool connects = packet->type == GW_SIO_CONNECT;
    if (connects && sio)
        return "the client has joined this namespace already";
    if (!connects && !sio)
        return "the client has not joined this namespace";
    if (packet->type == GW_SIO_ACK || packet->type == GW_SIO_BINARY_ACK)
        return NULL; /* the gateway asks for none */
    if (packet->type == GW_SIO_DISCONNECT) {
        gw_sio_forget(sio);
        return NULL;
    }
    if (!sio_within_rate(eio, sio, packet))
        return NULL;
    if (!connects)
        return gw_sio_event(sio, packet, attachments);
    gw_sio_connect(eio, packet);
    return NULL;
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

void gw_sio_binary_free(struct eio *eio)
{
    binary_free(eio->binary);
    eio->binary = NULL;
}

const char *gw_sio_take_text(struct eio *eio, const char *text, size_t len)
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

const char *gw_sio_take_binary(struct eio *eio, const char *data, size_t len)
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
