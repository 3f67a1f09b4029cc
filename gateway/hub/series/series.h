/* series.h: the numbers of a channel over time, for charts: out of its history, and of what the engine has rolled up.
 *
 * It is made in slices, so that a long history holds nobody up. Thread: the loop's. */
#ifndef GW_HUB_SERIES_SERIES_H
#define GW_HUB_SERIES_SERIES_H

#include "gateway/engine.h"
#include "gateway/error.h"
#include "gateway/series.h"

struct gw_hub;

/* That a hub makes at a time. */
#define GW_SERIES_MAX        64
#define GW_SERIES_POINTS_MAX 10000

struct gw_series_ask {
    const char *channel; /* borrowed */
    size_t len;
    const char *field; /* JSON pointer; borrowed */
    int64_t from, to;  /* ms since 1970, from < to; `to` at or after now: also what comes while it is made */
    /* Windows that are wanted at most, 1 to GW_SERIES_POINTS_MAX; there may be one more, and those that begin while
     * it is made. */
    uint32_t points;
    int64_t step; /* how long windows are; 0: as long as `points` allows. (to - from) / step is at most
                   * GW_SERIES_POINTS_MAX */
};

struct gw_series_gap {
    int64_t from, to;
};

/* Borrowed, until done() returns. */
struct gw_series_result {
    int64_t from, to, step;          /* whole windows */
    const struct gw_window *windows; /* all of them; many may be empty */
    size_t count;
    uint64_t skipped;
    const struct gw_series_gap *gaps; /* in the order of time, not overlapping */
    size_t gap_count;
    uint64_t seq; /* the place in the sequence up to which it has all messages, and no later ones */
};

struct gw_series;
/* err other than GW_OK: result is NULL. */
typedef void (*gw_series_done)(void *context, enum gw_err err, const struct gw_series_result *result);

/* done() is called in a later turn of the loop, once, unless gw_series_cancel() is called before. NULL: too many are
 * being made (GW_ERR_OVERLOADED). */
struct gw_series *gw_series_begin(struct gw_hub *hub, const struct gw_series_ask *ask, gw_series_done done,
                                  void *context);
/* NULL is fine. */
void gw_series_cancel(struct gw_series *series);

/* A message came in, and hub->series_catching is not NULL. */
void gw_series_catch(struct gw_hub *hub, struct gw_message *msg);
/* What the hub asks. */
void gw_hub_series_init(struct gw_hub *hub, const struct gw_engine *engine, struct gw_engine_store *store);

#endif
