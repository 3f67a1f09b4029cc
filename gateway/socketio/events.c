/* events.c: what clients of Socket.IO ask for: subscribe, unsubscribe, publish, request, hello (docs/protocol.md). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"
#include "gateway/alloc.h"
#include "gateway/identity.h"
#include "gateway/protocol.h"
#include "socketio/arguments.h"
#include "socketio/engine.h"

struct call {
    struct sio *sio;
    const char *id; /* of the acknowledgement, digits; NULL: none */
    struct sio_arguments arguments;
    const struct gw_buf *attachments;
    unsigned attachment_count;
};

static void call_refuse(const struct call *call, enum gw_err err, const char *why)
{
    gw_sio_refuse(call->sio, call->id, err, why, 0);
}

/* --- subscribe -------------------------------------------------------------------------------------------------- */

/* NULL: messages are wanted. */
static const struct gw_aggregate *call_aggregate(const struct call *call, struct gw_aggregate *out)
{
    const struct gw_buf *text = &call->arguments.aggregate;
    return text->data && !gw_aggregate_parse(out, text->data, text->len) ? out : NULL;
}

static bool call_forget(const struct call *call, const char *name)
{
    struct gw_aggregate aggregate;
    const char *text = call->arguments.aggregate.data;
    gw_sio_filter_remove(call->sio, name, strlen(name), text ? text : "");
    return gw_session_unsubscribe_from(&call->sio->session, name, strlen(name), call_aggregate(call, &aggregate));
}

/* All of them or none: a page with half of what it wants would not notice. */
static void call_subscribe(const struct call *call)
{
    const struct sio_arguments *arguments = &call->arguments;
    struct gw_session *session = &call->sio->session;
    struct gw_aggregate aggregate;
    struct gw_start start = {
        .at = GW_START_LAST, .interval_ms = arguments->interval_ms, .aggregate = call_aggregate(call, &aggregate)};
    if (arguments->cursor.len && strcmp(arguments->cursor.data, "last") != 0) {
        start.at = GW_START_CURSOR;
        start.cursor = arguments->cursor.data;
        start.cursor_len = strcspn(arguments->cursor.data, "~"); /* offsets are cursors, too */
    }
    if (!arguments->cursor.len && arguments->since.len &&
        !gw_start_since(session->hub, arguments->since.data, arguments->since.len, &start)) {
        call_refuse(call, GW_ERR_BAD_REQUEST, GW_SINCE_EXPECTED);
        return;
    }
    struct gw_subscribed first = {.recovered = true}, subscribed;
    uint32_t snapshot = 0;
    bool recovered = true;
    const char *name = arguments->channels.data;
    bool was_fresh = call->sio->fresh, alone = !call->sio->filters;
    uint64_t was_told = call->sio->told;
    size_t was_syncing = call->sio->syncing.len;
    gw_sio_before_subscribe(call->sio);
    for (unsigned i = 0; i < arguments->channel_count; i++, name += strlen(name) + 1) {
        enum gw_err err = gw_session_subscribe(session, name, strlen(name), &start, &subscribed);
        if (err != GW_OK) {
            const char *done = arguments->channels.data;
            for (; i > 0; i--, done += strlen(done) + 1)
                call_forget(call, done);
            call->sio->fresh = was_fresh;
            call->sio->told = was_told;
            call->sio->syncing.len = was_syncing;
            const char *why = start.aggregate ? subscribed.why : NULL;
            call_refuse(call, err, why || err != GW_ERR_BAD_REQUEST ? why : GW_SUBSCRIBE_EXPECTED);
            return;
        }
        gw_sio_after_subscribe(call->sio, name);
        gw_sio_subscribed(call->sio, name, arguments, &subscribed, alone);
        first = i ? first : subscribed;
        snapshot += subscribed.snapshot;
        recovered = recovered && subscribed.recovered;
    }
    struct gw_buf json = {0};
    gw_buf_printf(&json, "{\"status\":\"subscribed\",\"%s\":%s", arguments->listed ? "channels" : "channel",
                  arguments->listed ? "[" : "");
    name = arguments->channels.data;
    for (unsigned i = 0; i < arguments->channel_count; i++, name += strlen(name) + 1) {
        if (i)
            gw_buf_addc(&json, ',');
        gw_buf_add_json_string(&json, name, strlen(name));
    }
    gw_buf_printf(&json, "%s,\"cursor\":\"%s\",\"recovered\":%s,\"snapshot\":%u}", arguments->listed ? "]" : "",
                  first.cursor, recovered ? "true" : "false", snapshot);
    gw_sio_acknowledge(call->sio, call->id, json.data);
    gw_buf_fini(&json);
    call->sio->generation++;
    gw_sio_recall_note(call->sio->owner, call->sio->filters);
    gw_sio_share(call->sio, 0);
    gw_session_catch_up(session);
}

static void call_unsubscribe(const struct call *call)
{
    const char *name = call->arguments.channels.data;
    bool known = false;
    for (unsigned i = 0; i < call->arguments.channel_count; i++, name += strlen(name) + 1)
        known |= call_forget(call, name);
    gw_sio_recall_note(call->sio->owner, call->sio->filters);
    gw_sio_share(call->sio, 0);
    if (known)
        gw_sio_acknowledge(call->sio, call->id, "{\"status\":\"unsubscribed\"}");
    else
        call_refuse(call, GW_ERR_BAD_REQUEST, "there is no such subscription");
}

/* --- publish ---------------------------------------------------------------------------------------------------- */

/* What is published: JSON, or the bytes of an attachment. */
struct value {
    const char *data;
    size_t len;
    bool json;
    struct gw_buf filled;
};

/* False: a placeholder names no attachment. */
static bool call_value(const struct call *call, struct value *value)
{
    struct gw_slice data = call->arguments.data;
    unsigned num;
    *value = (struct value){.data = data.data, .len = data.len, .json = true};
    if (!call->attachment_count)
        return true;
    if (gw_sio_placeholder(data, &num)) {
        if (num >= call->attachment_count)
            return false;
        value->data = call->attachments[num].data ? call->attachments[num].data : "";
        value->len = call->attachments[num].len;
        value->json = false;
        return true;
    }
    if (!gw_sio_fill(data, call->attachments, call->attachment_count, &value->filled))
        return false;
    value->data = value->filled.data;
    value->len = value->filled.len;
    return true;
}

static void call_send(const struct call *call, bool request)
{
    const struct sio_arguments *arguments = &call->arguments;
    struct value value;
    if (arguments->channel_count > 1) {
        call_refuse(call, GW_ERR_BAD_REQUEST, "there is one channel for each publish");
        return;
    }
    if (!arguments->data.data) {
        call_refuse(call, GW_ERR_BAD_REQUEST, "there is no data (null publishes an empty payload)");
        return;
    }
    if (!call_value(call, &value)) {
        call_refuse(call, GW_ERR_BAD_REQUEST, "a placeholder names no attachment");
        gw_buf_fini(&value.filled);
        return;
    }
    struct gw_command command = {.channel = arguments->channels.data,
                                 .channel_len = strlen(arguments->channels.data),
                                 .data = value.data,
                                 .data_len = value.len,
                                 .json = value.json,
                                 .request = request,
                                 .timeout_ms = arguments->timeout_ms,
                                 .confirm = arguments->confirm,
                                 .key = {arguments->key.data, arguments->key.len},
                                 .reference = call->id ? gw_strdup(call->id) : NULL};
    enum gw_err err = gw_session_publish(&call->sio->session, &command);
    gw_buf_fini(&value.filled);
    if (err != GW_OK)
        call_refuse(call, err, command.why);
    else if (command.accepted && !command.confirm)
        gw_sio_acknowledge(call->sio, call->id, "{\"status\":\"accepted\"}");
    else
        call->sio->pending++;
}

static void call_publish(const struct call *call)
{
    call_send(call, false);
}

static void call_request(const struct call *call)
{
    call_send(call, true);
}

/* --- hello ------------------------------------------------------------------------------------------------------ */

/* A new token for the session; without one it asks who it is. */
static void call_hello(const struct call *call)
{
    struct gw_session *session = &call->sio->session;
    const struct gw_buf *token = &call->arguments.token;
    if (!gw_hub_auth(session->hub)) {
        gw_sio_acknowledge(call->sio, call->id, "{\"status\":\"hello\",\"subject\":null,\"expires\":null}");
        return;
    }
    struct gw_identity *identity;
    const char *why;
    enum gw_err err = gw_session_hello(session, token->data, token->len, &identity, &why);
    if (err != GW_OK) {
        call_refuse(call, err, why);
        return;
    }
    struct gw_buf json = {0};
    gw_json_hello(&json, NULL, identity->name, identity->expires_ms);
    gw_sio_acknowledge_typed(call->sio, call->id, &json);
    gw_buf_fini(&json);
    if (token->data)
        gw_session_identify(session, identity);
    gw_identity_unref(identity);
}

/* --- which ------------------------------------------------------------------------------------------------------ */

static const struct event {
    const char *name;
    bool channels; /* it needs one or more */
    bool positional;
    void (*handle)(const struct call *call);
} events[] = {
    {"subscribe", true, false, call_subscribe}, {"unsubscribe", true, false, call_unsubscribe},
    {"publish", true, true, call_publish},      {"request", true, true, call_request},
    {"hello", false, false, call_hello},
};

static const struct event *event_find(const struct gw_sio_options *options, const char *name)
{
    const char *const own[] = {options->events.subscribe, options->events.unsubscribe, options->events.publish};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        if (own[i] && !strcmp(own[i], name))
            return &events[i];
    }
    for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
        if (!strcmp(events[i].name, name))
            return &events[i];
    }
    return NULL;
}

static void event_handle(const struct event *event, struct call *call, struct gw_slice json)
{
    const char *why = NULL;
    enum gw_err err = gw_sio_arguments_read(&call->arguments, json, event->positional, &why);
    if (err == GW_OK && event->channels && !call->arguments.channel_count) {
        err = GW_ERR_BAD_REQUEST;
        why = "there is no channel";
    }
    if (err != GW_OK)
        call_refuse(call, err, why);
    else
        event->handle(call);
    gw_sio_arguments_fini(&call->arguments);
}

const char *gw_sio_event(struct sio *sio, const struct gw_sio_packet *packet, const struct gw_buf *attachments)
{
    char id[24];
    snprintf(id, sizeof id, "%llu", (unsigned long long)packet->id);
    struct call call = {.sio = sio,
                        .id = packet->has_id ? id : NULL,
                        .attachments = attachments,
                        .attachment_count = packet->attachments};
    struct gw_slice value;
    struct gw_buf name = {0};
    if (gw_json_element(packet->json.data, packet->json.len, 0, &value) && value.data[0] == '"')
        gw_json_unescape(value.data, value.len, &name);
    const struct event *event = name.len ? event_find(sio->eio->options, name.data) : NULL;
    if (event)
        event_handle(event, &call, packet->json);
    else if (call.id)
        call_refuse(&call, GW_ERR_BAD_REQUEST,
                    "unknown event (subscribe, unsubscribe, publish, request or hello expected)");
    gw_buf_fini(&name);
    return NULL;
}
