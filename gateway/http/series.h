/* series.h: what the addresses that answer with numbers over time share. Thread: the worker's. */
#ifndef GW_HTTP_SERIES_H
#define GW_HTTP_SERIES_H

#include "gateway/buf.h"
#include "gateway/error.h"
#include "hub/series/series.h"

struct gw_conn;

#define GW_SERIES_AHEAD_MS (INT64_C(366) * 24 * 3600 * 1000)

/* `value` and nothing become the pointer to the whole. NULL if all is well, else what was expected. */
const char *gw_series_field(struct gw_buf *field);
/* Fills from and to. NULL if all is well, else what was expected. */
const char *gw_series_range(const char *from, const char *to, int64_t now_ms, struct gw_series_ask *ask);
/* May the client see it, and is there a route? *why may say more. */
enum gw_err gw_series_may(struct gw_conn *conn, const char *channel, size_t len, const char *field, const char **why);
#endif
