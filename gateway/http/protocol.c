/* protocol.c: client frames out of JSON, and answers into JSON.
 *
 * The envelope is parsed by jansson; `data` is not: it is cut out first and travels as the client wrote it, so that
 * numbers of any size and the order of members survive. */
#include "gateway/protocol.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"
#include "base/units.h"
#include "gateway/alloc.h"
#include "hub/inbox.h"

static const struct {
    const char *name;
    enum gw_frame_type type;
} frame_types[] = {
    {"hello", GW_FRAME_HELLO},     {"subscribe", GW_FRAME_SUBSCRIBE}, {"unsubscribe", GW_FRAME_UNSUBSCRIBE},
    {"publish", GW_FRAME_PUBLISH}, {"ping", GW_FRAME_PING},           {"request", GW_FRAME_REQUEST},
};
#define FRAME_TYPES "hello, subscribe, unsubscribe, publish, request or ping expected"

/* A copy of the object with every `data` replaced by null. */
static void frame_without_data(const char *text, const struct gw_slice *data, size_t len, struct gw_buf *out)
{
    size_t before = (size_t)(data->data - text);
    gw_buf_add(out, text, before);
    gw_buf_adds(out, "null");
    gw_buf_add(out, data->data + data->len, len - before - data->len);
}

static enum gw_err frame_take_string(json_t *object, const char *key, char **out, size_t *len, const char *expected,
                                     const char **why)
{
    json_t *value = json_object_get(object, key);
    if (!value || json_is_null(value))
        return GW_OK;
    if (!json_is_string(value)) {
        *why = expected;
        return GW_ERR_BAD_REQUEST;
    }
    *len = json_string_length(value);
    *out = gw_strndup(json_string_value(value), *len);
    return GW_OK;
}

/* "2s"; null and "0s" are none. */
static enum gw_err frame_take_interval(json_t *object, struct gw_frame *out, const char **why)
{
    json_t *value = json_object_get(object, "interval");
    if (!value || json_is_null(value))
        return GW_OK;
    if (json_is_string(value) && gw_parse_duration(json_string_value(value), &out->interval_ms) &&
        out->interval_ms <= GW_INTERVAL_MAX_MS)
        return GW_OK;
    *why = "interval must be a duration such as \"2s\", up to \"1h\"";
    return GW_ERR_BAD_REQUEST;
}

/* {"field":"/temperature","every":"10s"}, or the same as a text. */
static enum gw_err frame_take_aggregate(json_t *object, struct gw_frame *out, const char **why)
{
    json_t *value = json_object_get(object, "aggregate");
    if (!value || json_is_null(value))
        return GW_OK;
    json_t *field = json_object_get(value, "field"), *every = json_object_get(value, "every");
    struct gw_aggregate aggregate;
    *why = "aggregate is an object such as {\"field\":\"/temperature\",\"every\":\"10s\"}";
    if (json_is_string(value))
        *why = gw_aggregate_parse(&aggregate, json_string_value(value), json_string_length(value));
    else if (json_is_string(every) && (!field || json_is_null(field) || json_is_string(field)) &&
             json_object_size(value) == (field ? 2 : 1))
        *why = gw_aggregate_of(&aggregate, json_string_value(field), json_string_length(field),
                               json_string_value(every), json_string_length(every));
    if (!*why && out->interval_ms)
        *why = "aggregate and interval exclude each other: windows have a pace of their own";
    if (*why)
        return GW_ERR_BAD_REQUEST;
    out->aggregate = gw_malloc(sizeof aggregate);
    *out->aggregate = aggregate;
    return GW_OK;
}

/* "-10m", or a number of milliseconds. */
static enum gw_err frame_take_since(json_t *object, struct gw_frame *out, const char **why)
{
    json_t *value = json_object_get(object, "since");
    if (!json_is_integer(value))
        return frame_take_string(object, "since", &out->since, &out->since_len, GW_SINCE_EXPECTED, why);
    out->since = json_dumps(value, JSON_ENCODE_ANY);
    out->since_len = strlen(out->since);
    return GW_OK;
}

static enum gw_err frame_take_timeout(json_t *object, struct gw_frame *out, const char **why)
{
    json_t *value = json_object_get(object, "timeout");
    if (!value || json_is_null(value))
        return GW_OK;
    double ms = json_number_value(value);
    if (json_is_number(value) && ms >= 1 && ms <= GW_REQUEST_MAX_MS) {
        out->timeout_ms = (int64_t)ms;
        return GW_OK;
    }
    *why = "timeout must be a number of milliseconds, 1 to 300000";
    return GW_ERR_BAD_REQUEST;
}

static enum gw_err frame_take_confirm(json_t *object, struct gw_frame *out, const char **why)
{
    json_t *value = json_object_get(object, "confirm");
    out->confirm = json_is_true(value);
    if (!value || json_is_boolean(value) || json_is_null(value))
        return GW_OK;
    *why = "confirm must be true or false";
    return GW_ERR_BAD_REQUEST;
}

/* Of a publish alone. */
static enum gw_err frame_take_wishes(json_t *object, struct gw_frame *out, const char **why)
{
    enum gw_err err = frame_take_confirm(object, out, why);
    return err != GW_OK ? err
                        : frame_take_string(object, "idempotency_key", &out->key, &out->key_len,
                                            "idempotency_key must be a string", why);
}

static enum gw_err frame_take(json_t *object, struct gw_frame *out, const char **why)
{
    if (!json_is_object(object)) {
        *why = "a frame is a JSON object";
        return GW_ERR_BAD_REQUEST;
    }
    json_t *id = json_object_get(object, "id");
    if (id && !json_is_null(id)) {
        if (!json_is_integer(id) && !json_is_string(id)) {
            *why = "id must be an integer or a string";
            return GW_ERR_BAD_REQUEST;
        }
        out->id = json_dumps(id, JSON_ENCODE_ANY | JSON_COMPACT);
    }
    size_t type_len = 0;
    enum gw_err err = frame_take_string(object, "type", &out->type_name, &type_len, "type must be a string", why);
    if (err != GW_OK)
        return err;
    if (!out->type_name) {
        *why = "the frame has no type (" FRAME_TYPES ")";
        return GW_ERR_BAD_REQUEST;
    }
    for (size_t i = 0; i < sizeof frame_types / sizeof *frame_types; i++) {
        if (!strcmp(out->type_name, frame_types[i].name))
            out->type = frame_types[i].type;
    }
    if (out->type == GW_FRAME_UNKNOWN) {
        *why = "unknown type (" FRAME_TYPES ")";
        return GW_ERR_BAD_REQUEST;
    }
    err = frame_take_string(object, "channel", &out->channel, &out->channel_len, "channel must be a string", why);
    if (err == GW_OK)
        err = frame_take_string(object, "cursor", &out->cursor, &out->cursor_len, "cursor must be a string", why);
    if (err == GW_OK && out->type == GW_FRAME_HELLO)
        err = frame_take_string(object, "token", &out->token, &out->token_len, "token must be a string", why);
    if (err != GW_OK)
        return err;
    if (out->type == GW_FRAME_SUBSCRIBE && ((err = frame_take_interval(object, out, why)) != GW_OK ||
                                            (err = frame_take_since(object, out, why)) != GW_OK))
        return err;
    if ((out->type == GW_FRAME_SUBSCRIBE || out->type == GW_FRAME_UNSUBSCRIBE) &&
        (err = frame_take_aggregate(object, out, why)) != GW_OK)
        return err;
    if (out->type == GW_FRAME_REQUEST && (err = frame_take_timeout(object, out, why)) != GW_OK)
        return err;
    if (out->type == GW_FRAME_PUBLISH && (err = frame_take_wishes(object, out, why)) != GW_OK)
        return err;
    bool publishes = out->type == GW_FRAME_PUBLISH || out->type == GW_FRAME_REQUEST;
    bool needs_channel = out->type == GW_FRAME_SUBSCRIBE || out->type == GW_FRAME_UNSUBSCRIBE || publishes;
    if (needs_channel && !out->channel) {
        *why = "the frame has no channel";
        return GW_ERR_BAD_REQUEST;
    }
    if (publishes && !out->data.data) {
        *why = "the frame has no data (null publishes an empty payload)";
        return GW_ERR_BAD_REQUEST;
    }
    return GW_OK;
}

enum gw_err gw_frame_parse(const char *text, size_t len, struct gw_frame *out, const char **why)
{
    *out = (struct gw_frame){.type = GW_FRAME_UNKNOWN, .timeout_ms = -1};
    *why = "the frame is not valid JSON";
    if (!gw_json_valid(text, len))
        return GW_ERR_BAD_REQUEST;
    struct gw_buf envelope = {0};
    if (gw_json_find(text, len, "data", &out->data))
        frame_without_data(text, &out->data, len, &envelope);
    else
        gw_buf_add(&envelope, text, len);
    /* Valid JSON that jansson can't hold (numbers beyond its range, lone surrogates) has no place in the envelope. */
    json_t *object = json_loadb(envelope.data, envelope.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    gw_buf_fini(&envelope);
    if (!object) {
        *why = "a value outside data is not usable (a number is too large, or a string is no Unicode text)";
        return GW_ERR_BAD_REQUEST;
    }
    enum gw_err err = frame_take(object, out, why);
    json_decref(object);
    return err;
}

void gw_frame_fini(struct gw_frame *frame)
{
    free(frame->id);
    free(frame->channel);
    free(frame->cursor);
    free(frame->since);
    free(frame->aggregate);
    free(frame->token);
    free(frame->key);
    free(frame->type_name);
    *frame = (struct gw_frame){.type = GW_FRAME_UNKNOWN};
}

static void json_add_id(struct gw_buf *out, const char *id)
{
    if (id) {
        gw_buf_adds(out, ",\"id\":");
        gw_buf_adds(out, id);
    }
}

static void json_add_string(struct gw_buf *out, const char *key, const char *text, size_t len)
{
    gw_buf_adds(out, ",\"");
    gw_buf_adds(out, key);
    gw_buf_adds(out, "\":");
    gw_buf_add_json_string(out, text, len);
}

void gw_json_welcome(struct gw_buf *out, uint64_t session, unsigned worker, const char *cursor)
{
    gw_buf_printf(out, "{\"type\":\"welcome\",\"session\":\"%u-%llx\",\"cursor\":\"%s\"}", worker,
                  (unsigned long long)session, cursor);
}

void gw_json_subscribed(struct gw_buf *out, const char *id, const char *channel, size_t len,
                        const struct gw_subscribed *subscribed)
{
    gw_buf_adds(out, "{\"type\":\"subscribed\"");
    json_add_id(out, id);
    json_add_string(out, "channel", channel, len);
    gw_buf_adds(out, ",\"cursor\":\"");
    gw_buf_adds(out, subscribed->cursor);
    gw_buf_adds(out, subscribed->recovered ? "\",\"recovered\":true,\"snapshot\":"
                                           : "\",\"recovered\":false,\"snapshot\":");
    gw_buf_addu(out, subscribed->snapshot);
    gw_buf_addc(out, '}');
}

void gw_json_hello(struct gw_buf *out, const char *id, const char *subject, int64_t expires_ms)
{
    gw_buf_adds(out, "{\"type\":\"hello\"");
    json_add_id(out, id);
    json_add_string(out, "subject", subject, strlen(subject));
    if (expires_ms == INT64_MAX)
        gw_buf_adds(out, ",\"expires\":null}");
    else
        gw_buf_printf(out, ",\"expires\":%lld}", (long long)expires_ms);
}

void gw_json_expiring(struct gw_buf *out, int64_t expires_ms)
{
    gw_buf_printf(out, "{\"type\":\"expiring\",\"expires\":%lld}", (long long)expires_ms);
}

void gw_json_revoked(struct gw_buf *out, const char *type, const char *channel, size_t len)
{
    gw_buf_printf(out, "{\"type\":\"%s\"", type);
    json_add_string(out, "channel", channel, len);
    gw_buf_adds(out, ",\"code\":\"forbidden\",\"message\":\"this is no longer allowed\"}");
}

void gw_json_simple(struct gw_buf *out, const char *type, const char *id)
{
    gw_buf_printf(out, "{\"type\":\"%s\"", type);
    json_add_id(out, id);
    gw_buf_addc(out, '}');
}

void gw_json_response(struct gw_buf *out, const char *id, struct gw_slice data)
{
    gw_buf_adds(out, "{\"type\":\"response\"");
    json_add_id(out, id);
    gw_buf_adds(out, ",\"data\":");
    gw_buf_add(out, data.data, data.len);
    gw_buf_addc(out, '}');
}

void gw_json_confirmed(struct gw_buf *out, const char *id, const struct gw_confirmed *confirmed)
{
    gw_buf_adds(out, confirmed->confirmed ? "{\"type\":\"confirmed\"" : "{\"type\":\"timeout\"");
    json_add_id(out, id);
    if (confirmed->cursor.len)
        json_add_string(out, "cursor", confirmed->cursor.data, confirmed->cursor.len);
    if (confirmed->data.data) {
        gw_buf_adds(out, ",\"data\":");
        gw_buf_add(out, confirmed->data.data, confirmed->data.len);
    }
    gw_buf_addc(out, '}');
}

void gw_json_add_status(struct gw_buf *out, const struct gw_buf *json)
{
    static const char type[] = "{\"type\":";
    gw_buf_adds(out, "{\"status\":");
    gw_buf_add(out, json->data + sizeof type - 1, json->len - (sizeof type - 1));
}

void gw_json_gap(struct gw_buf *out, const struct gw_gap *gap)
{
    gw_buf_adds(out, "{\"type\":\"gap\"");
    json_add_string(out, "channel", gap->channel, strlen(gap->channel));
    json_add_string(out, "from", gap->from, strlen(gap->from));
    json_add_string(out, "to", gap->to, strlen(gap->to));
    gw_buf_printf(out, ",\"reason\":\"%s\"}", gap->reason);
}

void gw_json_upstream(struct gw_buf *out, const struct gw_upstream_state *state)
{
    gw_buf_printf(out, "{\"type\":\"upstream\",\"state\":\"%s\",\"since\":%lld%s}", state->up ? "up" : "down",
                  (long long)state->since, state->by_engine ? ",\"cause\":\"engine\"" : "");
}

void gw_json_error(struct gw_buf *out, const char *id, enum gw_err err, const char *message, int reason)
{
    gw_buf_adds(out, "{\"type\":\"error\"");
    json_add_id(out, id);
    if (!message)
        message = gw_err_text(err);
    gw_buf_printf(out, ",\"code\":\"%s\",\"message\":", gw_err_code(err));
    if (reason) {
        struct gw_buf text = {0};
        gw_buf_printf(&text, "%s (MQTT reason code 0x%02x)", message, (unsigned)reason);
        gw_buf_add_json_string(out, text.data, text.len);
        gw_buf_printf(out, ",\"reason\":%d", reason);
        gw_buf_fini(&text);
    } else {
        gw_buf_add_json_string(out, message, strlen(message));
    }
    gw_buf_addc(out, '}');
}
