/* query.h: `?channel=A&from=C1&channel=B&cursor=C&interval=2s&wait=25`, as the transports over plain HTTP have it.
 * `from` says where the channel before it begins, `cursor` where all others do, or else `since` from which time on.
 * `aggregate=/temperature:10s` asks for windows of all channels.
 * Thread: the worker's. */
#ifndef GATEWAY_QUERY_H
#define GATEWAY_QUERY_H

#include "gateway/transport.h"

struct gw_query {
    struct gw_buf channels; /* each followed by a NUL, its `from` (empty: none) and another NUL */
    unsigned channel_count;
    struct gw_buf cursor;
    struct gw_buf since; /* for those without either; len 0: none */
    bool has_cursor;
    bool pinned; /* `cursor` holds for every channel, whatever its `from` says */
    bool open;   /* the last channel in `channels` can still get its `from` */
    int64_t interval_ms;
    struct gw_aggregate aggregate; /* every_ms 0: none */
    int64_t wait_ms;
};

/* NULL if all is well, else what was expected. Always call gw_query_fini(). */
const char *gw_query_read(struct gw_query *query, const struct gw_request *request, const struct gw_config *config);
/* The value of `interval`. NULL if all is well, else what was expected. */
const char *gw_query_interval(const char *text, int64_t *ms);
void gw_query_fini(struct gw_query *query);

/* Subscribes the session to all of them, so that gw_session_catch_up() gives one sequence. `without`: where to begin
 * if there is no cursor; `last` begins with the last values. On error *why may say what was expected. */
GW_MUST_CHECK enum gw_err gw_query_subscribe(const struct gw_query *query, struct gw_session *session,
                                             enum gw_start_at without, const char **why);

#endif
