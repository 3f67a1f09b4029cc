/* arguments.c: the arguments of events, in every spelling that pages use. */
#include "socketio/arguments.h"

#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"
#include "base/units.h"
#include "gateway/session.h"

#define BAD(text) (*why = (text), GW_ERR_BAD_REQUEST)

static bool value_is_null(struct gw_slice value)
{
    return value.len >= 4 && !memcmp(value.data, "null", 4);
}

/* A string as C text: none of what is read here may hold a NUL. */
static bool value_text(struct gw_slice value, struct gw_buf *out)
{
    gw_buf_clear(out);
    gw_buf_reserve(out, 0);
    if (value.data[0] != '"')
        return false;
    gw_json_unescape(value.data, value.len, out);
    return !out->len || !memchr(out->data, '\0', out->len);
}

static enum gw_err arguments_add_channel(struct sio_arguments *arguments, struct gw_slice value, const char **why)
{
    struct gw_buf text = {0};
    bool good = value_text(value, &text);
    if (good) {
        gw_buf_add(&arguments->channels, text.data, text.len + 1);
        arguments->channel_count++;
    }
    gw_buf_fini(&text);
    return good ? GW_OK : BAD("a channel is a string");
}

static enum gw_err arguments_channels(struct sio_arguments *arguments, struct gw_slice value, const char **why)
{
    if (value.data[0] != '[')
        return arguments_add_channel(arguments, value, why);
    size_t at = 0;
    struct gw_slice element;
    enum gw_err err = GW_OK;
    arguments->listed = true;
    while (err == GW_OK && gw_json_next_element(value.data, value.len, &at, &element))
        err = arguments_add_channel(arguments, element, why);
    return err;
}

static enum gw_err arguments_interval(struct sio_arguments *arguments, struct gw_slice value, const char **why)
{
    struct gw_buf text = {0};
    bool good = value_text(value, &text) && gw_parse_duration(text.data, &arguments->interval_ms) &&
                arguments->interval_ms <= GW_INTERVAL_MAX_MS;
    gw_buf_fini(&text);
    return good ? GW_OK : BAD("interval must be a duration such as \"2s\", up to \"1h\"");
}

/* "FIELD:EVERY", or {field, every}. */
static enum gw_err arguments_aggregate(struct sio_arguments *arguments, struct gw_slice value, const char **why)
{
    struct gw_buf name = {0}, field = {0}, every = {0};
    struct gw_slice key, member;
    struct gw_aggregate aggregate;
    size_t at = 0;
    bool good = true;
    if (value.data[0] == '{') {
        while (good && gw_json_next_member(value.data, value.len, &at, &key, &member)) {
            good = value_text(key, &name);
            if (good && !strcmp(name.data, "field"))
                good = value_is_null(member) || value_text(member, &field);
            else if (good && !strcmp(name.data, "every"))
                good = value_text(member, &every);
        }
        gw_buf_clear(&arguments->aggregate);
        gw_buf_add(&arguments->aggregate, field.data, field.len);
        gw_buf_addc(&arguments->aggregate, ':');
        gw_buf_add(&arguments->aggregate, every.data, every.len);
    } else {
        good = value_text(value, &arguments->aggregate);
    }
    gw_buf_fini(&name);
    gw_buf_fini(&field);
    gw_buf_fini(&every);
    *why = good ? gw_aggregate_parse(&aggregate, arguments->aggregate.data, arguments->aggregate.len)
                : "aggregate is an object such as {field: '/temperature', every: '10s'}, or the text "
                  "'/temperature:10s'";
    return *why ? GW_ERR_BAD_REQUEST : GW_OK;
}

static enum gw_err arguments_timeout(struct sio_arguments *arguments, struct gw_slice value, const char **why)
{
    char digits[24] = "";
    if (value.len < sizeof digits)
        memcpy(digits, value.data, value.len);
    char *end;
    double ms = strtod(digits, &end);
    if (end == digits || *end || !(ms >= 1 && ms <= GW_REQUEST_MAX_MS))
        return BAD("timeout must be a number of milliseconds, 1 to 300000");
    arguments->timeout_ms = (int64_t)ms;
    return GW_OK;
}

static enum gw_err arguments_string(struct gw_slice value, struct gw_buf *out, const char *expected, const char **why)
{
    return value_text(value, out) ? GW_OK : BAD(expected);
}

/* A string, or a number of milliseconds. */
static enum gw_err arguments_since(struct gw_slice value, struct gw_buf *out, const char **why)
{
    if (value.data[0] == '"')
        return arguments_string(value, out, GW_SINCE_EXPECTED, why);
    gw_buf_clear(out);
    gw_buf_add(out, value.data, value.len);
    return GW_OK;
}

static enum gw_err arguments_member(struct sio_arguments *arguments, const char *key, struct gw_slice value,
                                    const char **why)
{
    static const char *const names[] = {"channel", "topic", "channels", "topics"};
    static const char *const values[] = {"data", "payload", "message", "value"};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        if (!strcmp(key, values[i])) {
            arguments->data = value; /* null is a value */
            return GW_OK;
        }
    }
    if (value_is_null(value))
        return GW_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!strcmp(key, names[i]))
            return arguments_channels(arguments, value, why);
    }
    if (!strcmp(key, "interval"))
        return arguments_interval(arguments, value, why);
    if (!strcmp(key, "aggregate"))
        return arguments_aggregate(arguments, value, why);
    if (!strcmp(key, "timeout"))
        return arguments_timeout(arguments, value, why);
    if (!strcmp(key, "confirm")) {
        arguments->confirm = value.len >= 4 && !memcmp(value.data, "true", 4);
        return arguments->confirm || (value.len >= 5 && !memcmp(value.data, "false", 5))
                   ? GW_OK
                   : BAD("confirm must be true or false");
    }
    if (!strcmp(key, "idempotency_key"))
        return arguments_string(value, &arguments->key, "idempotency_key must be a string", why);
    if (!strcmp(key, "cursor"))
        return arguments_string(value, &arguments->cursor, "cursor must be a string", why);
    if (!strcmp(key, "since"))
        return arguments_since(value, &arguments->since, why);
    if (!strcmp(key, "token"))
        return arguments_string(value, &arguments->token, "token must be a string", why);
    if (!strcmp(key, "ticket"))
        return arguments_string(value, &arguments->ticket, "ticket must be a string", why);
    if (!strcmp(key, "pid"))
        return arguments_string(value, &arguments->pid, "pid must be a string", why);
    if (!strcmp(key, "offset"))
        return arguments_string(value, &arguments->offset, "offset must be a string", why);
    return GW_OK; /* qos, retain and the like: the route decides */
}

static enum gw_err arguments_object(struct sio_arguments *arguments, struct gw_slice object, const char **why)
{
    struct gw_slice key, value;
    struct gw_buf name = {0};
    size_t at = 0;
    enum gw_err err = GW_OK;
    while (err == GW_OK && gw_json_next_member(object.data, object.len, &at, &key, &value)) {
        if (value_text(key, &name))
            err = arguments_member(arguments, name.data, value, why);
    }
    gw_buf_fini(&name);
    if (err == GW_OK && arguments->aggregate.data && arguments->interval_ms)
        return BAD("aggregate and interval exclude each other: windows have a pace of their own");
    return err;
}

/* A string is a channel, or the JSON text of an object. */
static enum gw_err arguments_first(struct sio_arguments *arguments, struct gw_slice value, const char **why)
{
    if (value_is_null(value))
        return GW_OK;
    if (value.data[0] == '{')
        return arguments_object(arguments, value, why);
    if (value.data[0] != '"' && value.data[0] != '[')
        return BAD("the argument is a channel, a list of channels or an object");
    if (value.data[0] == '"' && value.len > 2 && value.data[1] == '{' && value_text(value, &arguments->text) &&
        gw_json_valid(arguments->text.data, arguments->text.len))
        return arguments_object(arguments, (struct gw_slice){arguments->text.data, arguments->text.len}, why);
    return arguments_channels(arguments, value, why);
}

static void arguments_init(struct sio_arguments *arguments)
{
    *arguments = (struct sio_arguments){.timeout_ms = -1};
}

enum gw_err gw_sio_arguments_read(struct sio_arguments *arguments, struct gw_slice json, bool positional,
                                  const char **why)
{
    arguments_init(arguments);
    size_t at = 0;
    struct gw_slice value;
    enum gw_err err = GW_OK;
    *why = NULL;
    for (unsigned i = 0; err == GW_OK && gw_json_next_element(json.data, json.len, &at, &value); i++) {
        bool is_value = positional && i == 2 && !arguments->data.data;
        if (i == 1)
            err = arguments_first(arguments, value, why);
        else if (is_value)
            arguments->data = value;
        else if (i > 1 && value.data[0] == '{')
            err = arguments_object(arguments, value, why); /* options */
    }
    return err;
}

enum gw_err gw_sio_arguments_read_auth(struct sio_arguments *arguments, struct gw_slice json, const char **why)
{
    arguments_init(arguments);
    *why = NULL;
    return json.data ? arguments_object(arguments, json, why) : GW_OK;
}

void gw_sio_arguments_fini(struct sio_arguments *arguments)
{
    gw_buf_fini(&arguments->channels);
    gw_buf_fini(&arguments->aggregate);
    gw_buf_fini(&arguments->cursor);
    gw_buf_fini(&arguments->since);
    gw_buf_fini(&arguments->token);
    gw_buf_fini(&arguments->ticket);
    gw_buf_fini(&arguments->pid);
    gw_buf_fini(&arguments->offset);
    gw_buf_fini(&arguments->text);
    gw_buf_fini(&arguments->key);
}
