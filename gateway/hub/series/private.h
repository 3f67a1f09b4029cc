/* private.h: a chart that is being made, for the two files that make it. Thread: the loop's. */
#ifndef GW_HUB_SERIES_PRIVATE_H
#define GW_HUB_SERIES_PRIVATE_H

#include <stdatomic.h>

#include "gateway/mail.h"
#include "gateway/timer.h"
#include "hub/series/series.h"

struct gw_channel;
struct gw_message;

/* Two have it: the hub, and what carries the question: first the engine, then the mail. */
struct gw_series {
    struct gw_letter letter;
    struct gw_engine_series question;
    atomic_uint refs;
    struct gw_mail mail;
    unsigned worker;
    char *channel, *field;
    int64_t from, to, step;
    /* The carrier's while it is on its way: */
    struct gw_window *windows;
    size_t count, allocated;
    struct gw_series_gap *gaps;
    size_t gap_count, gap_allocated;
    enum gw_err err;
    uint64_t at;     /* messages up to here are in */
    int64_t at_ts;   /* ... when the last of them came; 0: there is none */
    uint64_t lost;   /* any message up to here may be missing, whatever is there; 0: none */
    int64_t missing; /* from then on messages are missing, until the next one; INT64_MIN: none are */
    /* The hub's: */
    struct gw_hub *hub;
    struct gw_timer timer;
    size_t own_gaps;   /* that the engine has not told */
    bool asking, live; /* live: what comes while it is made belongs to it */
    int64_t slice_end_ns;
    uint32_t visits;
    /* Where the engine's windows end before the history begins, it is asked again, and what comes is caught. */
    unsigned tries;
    uint64_t need; /* then: the engine has to have up to here */
    struct gw_message **caught;
    size_t caught_count, caught_allocated;
    struct gw_series *next, **link; /* of those that catch; link NULL: it does not */
    gw_series_done done;            /* NULL: cancelled */
    void *context;
};

/* read.c. Of a time that belongs to the series, or NULL. */
struct gw_window *gw_series_window(struct gw_series *series, int64_t ts);
void gw_series_gap(struct gw_series *series, int64_t from, int64_t to);
/* Inside the series, in order, joined. */
void gw_series_tidy_gaps(struct gw_series *series);
/* The end of what it has. */
int64_t gw_series_end_of(const struct gw_series *series);
/* A slice out of the channel's history. True: nothing is left. */
bool gw_series_read(struct gw_series *series, struct gw_channel *channel);

#endif
