/* grafana.c: the addresses below /grafana that Grafana's JSON data sources ask (simpod-json-datasource and those
 * before it). A target is CHANNEL or CHANNEL#FIELD: no channel has a `#` in its name. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"
#include "gateway/alloc.h"
#include "gateway/hub.h"
#include "gateway/identity.h"
#include "gateway/topic.h"
#include "gateway/transport.h"
#include "http/api.h"
#include "http/series.h"
#include "hub/series/series.h"

#define TARGETS_MAX    64
#define NAMES_MAX      1000
#define POINTS_DEFAULT 500

enum show { SHOW_MEAN, SHOW_MIN, SHOW_MAX, SHOW_LAST, SHOW_COUNT, SHOWS };
static const char *const show_names[SHOWS] = {"mean", "min", "max", "last", "count"};

struct target {
    struct gw_buf text; /* as Grafana has it */
    struct gw_buf channel, field;
    enum show show;
};

struct query {
    struct gw_conn *conn;
    struct gw_series *series;
    struct gw_series_ask ask; /* of all targets */
    struct target targets[TARGETS_MAX];
    size_t count, at;
    struct gw_buf out;
};

/* --- the question ----------------------------------------------------------------------------------------------- */

/* The text of a member that is a string; otherwise nothing. */
static bool member_text(struct gw_slice object, const char *key, struct gw_buf *out)
{
    struct gw_slice value;
    gw_buf_clear(out);
    gw_buf_adds(out, "");
    if (!gw_json_find(object.data, object.len, key, &value) || value.data[0] != '"')
        return false;
    gw_json_unescape(value.data, value.len, out);
    return !memchr(out->data, '\0', out->len);
}

static const char *target_read(struct target *target, struct gw_slice object)
{
    struct gw_buf word = {0};
    struct gw_slice payload;
    const char *why = NULL;
    if (!member_text(object, "target", &target->text) || !target->text.len)
        why = "a target has no name (CHANNEL or CHANNEL#FIELD, such as rooms/k#/temperature, expected)";
    size_t len = strcspn(target->text.data, "#");
    gw_buf_add(&target->channel, target->text.data, len);
    gw_buf_adds(&target->field, target->text.data + len + (target->text.data[len] == '#'));
    if (!why && !gw_topic_name_valid(target->channel.data, target->channel.len))
        why = "a target begins with no valid channel (CHANNEL or CHANNEL#FIELD, such as rooms/k#/temperature, "
              "expected)";
    if (!why)
        why = gw_series_field(&target->field);
    if (!why && gw_json_find(object.data, object.len, "payload", &payload) && payload.data[0] == '{' &&
        member_text(payload, "show", &word) && word.len) {
        target->show = 0;
        while (target->show < SHOWS && strcmp(word.data, show_names[target->show]) != 0)
            target->show++;
        if (target->show == SHOWS)
            why = "payload.show is mean, min, max, last or count";
    }
    gw_buf_fini(&word);
    return why;
}

static const char *query_range(struct query *query, struct gw_slice body)
{
    struct gw_slice range;
    struct gw_buf from = {0}, to = {0};
    const char *why = "the body has no range (with from and to expected)";
    if (gw_json_find(body.data, body.len, "range", &range) && range.data[0] == '{' &&
        member_text(range, "from", &from) && member_text(range, "to", &to))
        why = gw_series_range(from.data, to.data, gw_hub_wall(gw_conn_hub(query->conn)), &query->ask);
    gw_buf_fini(&from);
    gw_buf_fini(&to);
    return why;
}

/* NULL if all is well, else what was expected. */
static const char *query_read(struct query *query, struct gw_slice body)
{
    struct gw_slice targets, target, points;
    if (!gw_json_valid(body.data, body.len) || !gw_json_find(body.data, body.len, "targets", &targets) ||
        targets.data[0] != '[')
        return "the body has no targets (the JSON that Grafana sends expected)";
    const char *why = query_range(query, body);
    query->ask.points = POINTS_DEFAULT;
    if (gw_json_find(body.data, body.len, "maxDataPoints", &points)) {
        double number = strtod(points.data, NULL);
        query->ask.points = !(number >= 1)                  ? 1
                            : number > GW_SERIES_POINTS_MAX ? GW_SERIES_POINTS_MAX
                                                            : (uint32_t)number;
    }
    for (size_t at = 0; !why && gw_json_next_element(targets.data, targets.len, &at, &target);) {
        struct gw_slice hidden;
        if (target.data[0] != '{' ||
            (gw_json_find(target.data, target.len, "hide", &hidden) && hidden.data[0] == 't'))
            continue;
        if (query->count == TARGETS_MAX)
            return "there are too many targets (64 at most expected)";
        why = target_read(&query->targets[query->count++], target);
    }
    return why;
}

/* --- the answer ------------------------------------------------------------------------------------------------- */

static void query_free(struct query *query)
{
    for (size_t i = 0; i < query->count; i++) {
        gw_buf_fini(&query->targets[i].text);
        gw_buf_fini(&query->targets[i].channel);
        gw_buf_fini(&query->targets[i].field);
    }
    gw_buf_fini(&query->out);
    free(query);
}

static void add_point(struct gw_buf *out, const struct gw_window *window, enum show show)
{
    gw_buf_addc(out, '[');
    gw_series_add_number(out, show == SHOW_MEAN   ? gw_series_mean(window)
                              : show == SHOW_MIN  ? window->min
                              : show == SHOW_MAX  ? window->max
                              : show == SHOW_LAST ? window->last
                                                  : (double)window->count);
    gw_buf_printf(out, ",%lld]", (long long)window->t);
}

/* Where something may be missing, a null keeps Grafana from drawing a line across it. */
static void add_points(struct gw_buf *out, const struct gw_series_result *result, enum show show)
{
    size_t gap = 0;
    bool first = true;
    for (size_t i = 0; i < result->count; i++) {
        if (!result->windows[i].count)
            continue;
        bool cut = false;
        for (; gap < result->gap_count && result->gaps[gap].from < result->windows[i].t; gap++)
            cut = true;
        if (cut && !first)
            gw_buf_printf(out, ",[null,%lld]", (long long)result->gaps[gap - 1].from);
        if (!first)
            gw_buf_addc(out, ',');
        add_point(out, &result->windows[i], show);
        first = false;
    }
}

static void query_next(struct query *query);

static void query_done(void *context, enum gw_err err, const struct gw_series_result *result)
{
    struct query *query = context;
    const struct target *target = &query->targets[query->at];
    query->series = NULL;
    if (err != GW_OK) {
        struct gw_conn *conn = query->conn;
        query_free(query);
        gw_http_error(conn, err, NULL);
        return;
    }
    gw_buf_adds(&query->out, query->at ? ",{\"target\":" : "{\"target\":");
    gw_buf_add_json_string(&query->out, target->text.data, target->text.len);
    gw_buf_adds(&query->out, ",\"datapoints\":[");
    add_points(&query->out, result, target->show);
    gw_buf_adds(&query->out, "]}");
    query->at++;
    query_next(query);
}

/* The next target, or the answer. */
static void query_next(struct query *query)
{
    struct gw_conn *conn = query->conn;
    if (query->at == query->count) {
        struct gw_buf body = gw_buf_move(&query->out);
        gw_buf_addc(&body, ']');
        query_free(query);
        gw_api_reply_json(conn, &body, NULL);
        return;
    }
    const struct target *target = &query->targets[query->at];
    struct gw_series_ask ask = query->ask;
    ask.channel = target->channel.data;
    ask.len = target->channel.len;
    ask.field = target->field.data;
    query->series = gw_series_begin(gw_conn_hub(conn), &ask, query_done, query);
    if (query->series)
        return;
    query_free(query);
    gw_http_error(conn, GW_ERR_OVERLOADED, "too many charts are being made");
}

static void query_on_closed(struct gw_conn *conn)
{
    struct query *query = gw_conn_context(conn);
    gw_series_cancel(query->series);
    query_free(query);
}

static const struct gw_conn_ops query_ops = {.closed = query_on_closed};

static void grafana_query(struct gw_conn *conn, struct gw_slice body)
{
    struct query *query = gw_calloc(1, sizeof *query);
    query->conn = conn;
    gw_buf_adds(&query->out, "[");
    const char *why = query_read(query, body);
    enum gw_err err = why ? GW_ERR_BAD_REQUEST : GW_OK;
    for (size_t i = 0; i < query->count && err == GW_OK; i++)
        err = gw_series_may(conn, query->targets[i].channel.data, query->targets[i].channel.len,
                            query->targets[i].field.data, &why);
    if (err != GW_OK) {
        query_free(query);
        gw_http_error(conn, err, why);
        return;
    }
    gw_conn_attach(conn, &query_ops, query);
    query_next(query);
}

/* --- names ------------------------------------------------------------------------------------------------------ */

struct names {
    struct gw_buf *out;
    const struct gw_buf *part; /* that they have in them */
    bool labelled;
    size_t count;
};

static void names_add(struct names *names, const struct gw_message *msg, struct gw_slice member)
{
    struct gw_buf name = {0};
    gw_buf_add(&name, msg->channel.data, msg->channel.len);
    if (member.len) {
        struct gw_buf key = {0};
        gw_json_unescape(member.data, member.len, &key);
        gw_buf_adds(&name, "#/");
        for (size_t i = 0; i < key.len; i++) { /* RFC 6901 section 4 */
            if (key.data[i] == '~' || key.data[i] == '/')
                gw_buf_adds(&name, key.data[i] == '~' ? "~0" : "~1");
            else
                gw_buf_addc(&name, key.data[i]);
        }
        gw_buf_fini(&key);
    }
    if (names->count < NAMES_MAX && memmem(name.data, name.len, names->part->data, names->part->len)) {
        gw_buf_adds(names->out, names->count++ ? "," : "");
        for (int twice = 0; twice < (names->labelled ? 2 : 1); twice++) {
            gw_buf_adds(names->out, !names->labelled ? "" : twice ? ",\"value\":" : "{\"label\":");
            gw_buf_add_json_string(names->out, name.data, name.len);
        }
        gw_buf_adds(names->out, names->labelled ? "}" : "");
    }
    gw_buf_fini(&name);
}

/* What of its last value is a number now. */
static bool names_take(void *context, struct gw_message *msg)
{
    struct names *names = context;
    double sample;
    size_t at = 0;
    struct gw_slice key, value;
    if (gw_sample_of(msg->data.data, msg->data.len, "", &sample))
        names_add(names, msg, (struct gw_slice){0});
    while (names->count < NAMES_MAX && gw_json_next_member(msg->data.data, msg->data.len, &at, &key, &value)) {
        if (gw_sample_of(value.data, value.len, "", &sample))
            names_add(names, msg, key);
    }
    return names->count < NAMES_MAX;
}

static void grafana_names(struct gw_conn *conn, struct gw_slice body, bool labelled)
{
    struct gw_buf out = {0}, part = {0};
    gw_buf_addc(&out, '[');
    gw_buf_adds(&part, "");
    if (gw_json_valid(body.data, body.len) && !labelled)
        member_text(body, "target", &part);
    struct names names = {&out, &part, labelled, 0};
    gw_hub_list(gw_conn_hub(conn), gw_api_grants(conn), "#", 1, names_take, &names);
    gw_buf_addc(&out, ']');
    gw_buf_fini(&part);
    gw_api_reply_json(conn, &out, NULL);
}

/* --- which ------------------------------------------------------------------------------------------------------ */

static void grafana_list(struct gw_conn *conn, const char *text)
{
    struct gw_buf body = {0};
    gw_buf_adds(&body, text);
    gw_api_reply_json(conn, &body, NULL);
}

void gw_api_grafana(struct gw_conn *conn, const struct gw_request *request)
{
    static const char *const empty[] = {"/annotations", "/tag-keys", "/tag-values", "/metric-payload-options",
                                        "/variable"};
    struct gw_request below = *request;
    const size_t prefix = strlen("/grafana");
    below.path.data += prefix;
    below.path.len -= prefix;
    bool root = !below.path.len || gw_request_path_is(&below, "/");
    if (root && (request->method == GW_GET || request->method == GW_HEAD)) {
        grafana_list(conn, "{\"status\":\"ok\"}");
        return;
    }
    bool names = gw_request_path_is(&below, "/search"), labelled = gw_request_path_is(&below, "/metrics");
    bool query = gw_request_path_is(&below, "/query"), nothing = false;
    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++)
        nothing = nothing || gw_request_path_is(&below, empty[i]);
    if (!root && !names && !labelled && !query && !nothing)
        gw_http_error(conn, GW_ERR_NOT_FOUND, NULL);
    else if (root || request->method != GW_POST)
        gw_http_error_headers(conn, GW_ERR_METHOD, NULL, root ? "Allow: GET, HEAD\r\n" : "Allow: POST\r\n");
    else if (query)
        grafana_query(conn, request->body);
    else if (nothing)
        grafana_list(conn, "[]");
    else
        grafana_names(conn, request->body, labelled);
}
