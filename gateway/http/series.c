/* series.c: GET /channels/NAME/series: the numbers of a channel over time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "gateway/alloc.h"
#include "gateway/hub.h"
#include "gateway/identity.h"
#include "gateway/transport.h"
#include "http/api.h"
#include "http/series.h"
#include "hub/series/series.h"

#define POINTS_DEFAULT 500
#define FROM_DEFAULT   "-1h"

struct asked {
    struct gw_buf field, from, to;
    uint32_t points;
    int64_t step; /* 0: as `points` says */
};

struct chart {
    struct gw_conn *conn;
    struct gw_series *series;
    struct gw_buf channel, field;
};

/* --- the question ----------------------------------------------------------------------------------------------- */

static const char *asked_take(struct asked *asked, const char *key, const struct gw_buf *value)
{
    struct gw_buf *to = !strcmp(key, "field")  ? &asked->field
                        : !strcmp(key, "from") ? &asked->from
                        : !strcmp(key, "to")   ? &asked->to
                                               : NULL;
    if (to && value->data && memchr(value->data, '\0', value->len))
        return "the query holds the NUL character (a text without it expected)";
    if (to) {
        gw_buf_clear(to);
        gw_buf_adds(to, value->data ? value->data : "");
    } else if (!strcmp(key, "points")) {
        char *end = NULL;
        unsigned long points = value->len ? strtoul(value->data, &end, 10) : 0;
        if (!end || *end || value->data[0] < '0' || value->data[0] > '9' || !points || points > GW_SERIES_POINTS_MAX)
            return "points is a number, 1 to 10000";
        asked->points = (uint32_t)points;
    } else if (!strcmp(key, "step")) {
        if (memchr(value->data ? value->data : "", '\0', value->len) || !value->len ||
            !gw_parse_duration(value->data, &asked->step) || asked->step < GW_AGGREGATE_MIN_MS ||
            asked->step > GW_AGGREGATE_MAX_MS)
            return "step is a duration such as 10s, from 100ms to 1d";
    }
    return NULL;
}

const char *gw_series_field(struct gw_buf *field)
{
    if (!strcmp(field->data, "value"))
        gw_buf_clear(field);
    if (!field->len) {
        gw_buf_adds(field, "");
        return NULL;
    }
    return field->data[0] == '/' ? NULL
                                 : "field is a JSON pointer such as /temperature, or value where the payload is the "
                                   "number itself";
}

const char *gw_series_range(const char *from, const char *to, int64_t now_ms, struct gw_series_ask *ask)
{
    if (!gw_parse_time(from, now_ms, &ask->from))
        return "from is a time: before now, such as -6h, in milliseconds since 1970, or such as 2026-11-28T10:00:00Z";
    if (!gw_parse_time(to, now_ms, &ask->to))
        return "to is a time: now, before now, such as -1h, in milliseconds since 1970, or such as "
               "2026-11-28T10:00:00Z";
    if (ask->from >= ask->to)
        return "from comes before to";
    if (ask->to > now_ms + GW_SERIES_AHEAD_MS)
        return "to is now, or at most a year from now";
    return NULL;
}

/* NULL if all is well, else what was expected. */
static const char *asked_read(struct asked *asked, const struct gw_request *request, int64_t now_ms,
                              struct gw_series_ask *ask)
{
    struct gw_params params = {.query = request->query};
    const char *why = NULL;
    while (!why && gw_params_next(&params))
        why = asked_take(asked, params.key.data, &params.value);
    why = gw_params_end(&params, why);
    if (!why)
        why = gw_series_field(&asked->field);
    if (!why)
        why = gw_series_range(asked->from.data, asked->to.data, now_ms, ask);
    ask->field = asked->field.data;
    ask->points = asked->points;
    ask->step = asked->step;
    if (!why && ask->step && (ask->to - ask->from) / ask->step >= GW_SERIES_POINTS_MAX)
        why = "there would be more than 10000 windows between from and to: a longer step expected";
    return why;
}

/* --- the answer ------------------------------------------------------------------------------------------------- */

enum column { COLUMN_T, COLUMN_MIN, COLUMN_MAX, COLUMN_MEAN, COLUMN_LAST, COLUMN_COUNT, COLUMNS };

static void chart_add_value(struct gw_buf *out, const struct gw_window *window, enum column column)
{
    if (column == COLUMN_T)
        gw_buf_printf(out, "%lld", (long long)window->t);
    else if (column == COLUMN_COUNT)
        gw_buf_printf(out, "%llu", (unsigned long long)window->count);
    else
        gw_series_add_number(out, column == COLUMN_MIN    ? window->min
                                  : column == COLUMN_MAX  ? window->max
                                  : column == COLUMN_MEAN ? gw_series_mean(window)
                                                          : window->last);
}

static void chart_add_column(struct gw_buf *out, const struct gw_series_result *result, enum column column)
{
    static const char *const names[COLUMNS] = {"t", "min", "max", "mean", "last", "count"};
    bool first = true;
    gw_buf_printf(out, ",\"%s\":[", names[column]);
    for (size_t i = 0; i < result->count; i++) {
        if (!result->windows[i].count)
            continue;
        if (!first)
            gw_buf_addc(out, ',');
        chart_add_value(out, &result->windows[i], column);
        first = false;
    }
    gw_buf_addc(out, ']');
}

static void chart_free(struct chart *chart)
{
    gw_buf_fini(&chart->channel);
    gw_buf_fini(&chart->field);
    free(chart);
}

static void chart_done(void *context, enum gw_err err, const struct gw_series_result *result)
{
    struct chart *chart = context;
    struct gw_conn *conn = chart->conn;
    if (err != GW_OK) {
        chart_free(chart);
        gw_http_error(conn, err, err == GW_ERR_OVERLOADED ? "the disk did not answer in time" : NULL);
        return;
    }
    char cursor[64];
    gw_hub_format_cursor(gw_conn_hub(conn), result->seq, cursor);
    struct gw_buf body = {0};
    gw_buf_printf(&body, "{\"cursor\":\"%s\",\"channel\":", cursor);
    gw_buf_add_json_string(&body, chart->channel.data, chart->channel.len);
    gw_buf_adds(&body, ",\"field\":");
    gw_buf_add_json_string(&body, chart->field.data, chart->field.len);
    gw_buf_printf(&body, ",\"from\":%lld,\"to\":%lld,\"step\":%lld", (long long)result->from, (long long)result->to,
                  (long long)result->step);
    for (enum column column = 0; column < COLUMNS; column++)
        chart_add_column(&body, result, column);
    gw_buf_printf(&body, ",\"skipped\":%llu,\"gaps\":[", (unsigned long long)result->skipped);
    for (size_t i = 0; i < result->gap_count; i++)
        gw_buf_printf(&body, "%s[%lld,%lld]", i ? "," : "", (long long)result->gaps[i].from,
                      (long long)result->gaps[i].to);
    gw_buf_adds(&body, "]}");
    chart_free(chart);
    gw_api_reply_json(conn, &body, cursor);
}

static void chart_on_closed(struct gw_conn *conn)
{
    struct chart *chart = gw_conn_context(conn);
    gw_series_cancel(chart->series);
    chart_free(chart);
}

static const struct gw_conn_ops chart_ops = {.closed = chart_on_closed};

static void chart_begin(struct gw_conn *conn, const struct gw_buf *name, const struct gw_series_ask *ask)
{
    struct chart *chart = gw_calloc(1, sizeof *chart);
    chart->conn = conn;
    gw_buf_adds(&chart->channel, "");
    gw_buf_add(&chart->channel, name->data, name->len);
    gw_buf_adds(&chart->field, ask->field);
    chart->series = gw_series_begin(gw_conn_hub(conn), ask, chart_done, chart);
    if (chart->series) {
        gw_conn_attach(conn, &chart_ops, chart);
        return;
    }
    chart_free(chart);
    gw_http_error(conn, GW_ERR_OVERLOADED, "too many charts are being made");
}

enum gw_err gw_series_may(struct gw_conn *conn, const char *channel, size_t len, const char *field, const char **why)
{
    const struct gw_grants *grants = gw_api_grants(conn);
    struct gw_hub *hub = gw_conn_hub(conn);
    *why = NULL;
    bool may = gw_grants_contain(grants, GW_RIGHT_SUBSCRIBE, channel, len) &&
               gw_grants_contain(grants, GW_RIGHT_HISTORY, channel, len);
    if (may && !gw_hub_channel_possible(hub, channel, len))
        return GW_ERR_UNKNOWN_CHANNEL;
    if (may && grants && !gw_grants_shows(grants, channel, len, field)) {
        *why = "your role sees only some fields of this channel, and this is none of them";
        may = false;
    }
    if (may)
        return GW_OK;
    GW_STAT_ADD(gw_hub_stats(hub), forbidden, 1);
    return GW_ERR_FORBIDDEN;
}

void gw_api_series(struct gw_conn *conn, const struct gw_request *request, const struct gw_buf *name)
{
    struct asked asked = {.points = POINTS_DEFAULT};
    gw_buf_adds(&asked.field, "");
    gw_buf_adds(&asked.from, FROM_DEFAULT);
    gw_buf_adds(&asked.to, "now");
    struct gw_series_ask ask = {.channel = name->data, .len = name->len};
    const char *why = asked_read(&asked, request, gw_hub_wall(gw_conn_hub(conn)), &ask);
    enum gw_err err = GW_ERR_BAD_REQUEST;
    if (!why)
        err = gw_series_may(conn, name->data, name->len, ask.field, &why);
    if (err == GW_OK)
        chart_begin(conn, name, &ask);
    else
        gw_http_error(conn, err, why);
    gw_buf_fini(&asked.field);
    gw_buf_fini(&asked.from);
    gw_buf_fini(&asked.to);
}
