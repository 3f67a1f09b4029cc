#include "gateway/query.h"

#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "gateway/topic.h"

static bool query_wait(const struct gw_buf *value, int64_t max_ms, int64_t *out)
{
    char *end;
    if (!value->len || value->data[0] < '0' || value->data[0] > '9')
        return false;
    double seconds = strtod(value->data, &end);
    if (*end || !(seconds >= 0))
        return false;
    *out = seconds * 1000 > (double)max_ms ? max_ms : (int64_t)(seconds * 1000);
    return true;
}

const char *gw_query_interval(const char *text, int64_t *ms)
{
    if (!gw_parse_duration(text, ms) || *ms > GW_INTERVAL_MAX_MS)
        return "interval is a duration such as 2s, up to 1h";
    return NULL;
}

static void query_end_channel(struct gw_query *query)
{
    if (query->open)
        gw_buf_addc(&query->channels, '\0');
    query->open = false;
}

static const char *query_take(struct gw_query *query, const char *key, const struct gw_buf *value,
                              const struct gw_cfg_web *web)
{
    if (!strcmp(key, "channel")) {
        if (memchr(value->data, '\0', value->len))
            return "a channel must not hold the NUL character";
        query_end_channel(query);
        gw_buf_add(&query->channels, value->data, value->len);
        gw_buf_addc(&query->channels, '\0');
        query->channel_count++;
        query->open = true;
    } else if (!strcmp(key, "from")) {
        if (!query->open)
            return "from says where the channel before it begins: channel=NAME&from=CURSOR";
        if (memchr(value->data, '\0', value->len))
            return "from is last or a cursor";
        gw_buf_add(&query->channels, value->data, value->len);
        query_end_channel(query);
    } else if (!strcmp(key, "cursor")) {
        gw_buf_clear(&query->cursor);
        gw_buf_add(&query->cursor, value->data, value->len);
        query->has_cursor = value->len > 0;
    } else if (!strcmp(key, "since")) {
        gw_buf_clear(&query->since);
        gw_buf_add(&query->since, value->data, value->len);
        int64_t ms;
        if (!gw_parse_time(value->data ? value->data : "", 1, &ms))
            return GW_SINCE_EXPECTED;
    } else if (!strcmp(key, "interval")) {
        return gw_query_interval(value->data, &query->interval_ms);
    } else if (!strcmp(key, "aggregate")) {
        return gw_aggregate_parse(&query->aggregate, value->data ? value->data : "", value->len);
    } else if (!strcmp(key, "wait") && !query_wait(value, web->poll_wait_max_ms, &query->wait_ms)) {
        return "wait is a number of seconds, 0 or more";
    }
    return NULL;
}

const char *gw_query_read(struct gw_query *query, const struct gw_request *request, const struct gw_config *config)
{
    *query = (struct gw_query){.wait_ms = config->web.poll_wait_ms};
    struct gw_params params = {.query = request->query};
    const char *why = NULL;
    while (!why && gw_params_next(&params))
        why = query_take(query, params.key.data, &params.value, &config->web);
    query_end_channel(query);
    why = gw_params_end(&params, why);
    if (!why && !query->channel_count)
        why = "at least one channel=NAME expected in the query";
    if (!why && query->aggregate.every_ms && query->interval_ms)
        why = "aggregate and interval exclude each other: windows have a pace of their own";
    return why;
}

void gw_query_fini(struct gw_query *query)
{
    gw_buf_fini(&query->channels);
    gw_buf_fini(&query->cursor);
    gw_buf_fini(&query->since);
}

/* Where a subscription begins, from the text of `cursor` or `from`. */
static struct gw_start query_start(const char *text, size_t len, enum gw_start_at without)
{
    if (!len)
        return (struct gw_start){.at = without};
    if (!strcmp(text, "last"))
        return (struct gw_start){.at = GW_START_LAST};
    return (struct gw_start){.at = GW_START_CURSOR, .cursor = text, .cursor_len = len};
}

enum gw_err gw_query_subscribe(const struct gw_query *query, struct gw_session *session, enum gw_start_at without,
                               const char **why)
{
    const char *name = query->channels.data;
    *why = NULL;
    for (unsigned i = 0; i < query->channel_count; i++) {
        const char *from = name + strlen(name) + 1;
        struct gw_subscribed subscribed;
        struct gw_start start = query_start(query->cursor.data, query->cursor.len, without);
        if (!query->has_cursor && query->since.len &&
            !gw_start_since(session->hub, query->since.data, query->since.len, &start)) {
            *why = GW_SINCE_EXPECTED;
            return GW_ERR_BAD_REQUEST;
        }
        if (*from && !query->pinned)
            start = query_start(from, strlen(from), without);
        start.interval_ms = query->interval_ms;
        start.aggregate = query->aggregate.every_ms ? &query->aggregate : NULL;
        enum gw_err err = gw_session_subscribe(session, name, strlen(name), &start, &subscribed);
        if (err == GW_ERR_BAD_REQUEST && !gw_topic_filter_valid(name, strlen(name)))
            *why = "a channel is no valid name or filter (+ and # as whole levels, # only as the last, expected)";
        else if (err == GW_ERR_BAD_REQUEST)
            *why = "the cursor is none of this gateway's (last or <epoch>.<number> expected)";
        else if (err != GW_OK)
            *why = subscribed.why;
        if (err != GW_OK)
            return err;
        name = from + strlen(from) + 1;
    }
    return GW_OK;
}
