/* windows.h: subscriptions with `aggregate`: windows of numbers in place of messages (decision 0027).
 *
 * A window of a channel is computed once for all who ask for the same field in windows of the same length, out of
 * each message as it comes (windows.c). What a subscription needs from before, at its beginning or after it was too
 * slow, is made of the history as a chart is (join.c). Thread: the loop's. */
#ifndef GW_HUB_WINDOWS_WINDOWS_H
#define GW_HUB_WINDOWS_WINDOWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/buf.h"
#include "gateway/series.h"
#include "gateway/session.h"
#include "gateway/table.h"
#include "gateway/timer.h"

struct gw_channel;
struct gw_filter;
struct gw_hub;
struct gw_message;
struct gw_open_window;
struct gw_series;

/* Of a hub. */
struct gw_windows {
    struct gw_shape *shapes; /* NULL: nobody asks for windows, and messages cost nothing more */
    uint32_t shape_count;
    struct gw_table open; /* windows that have not been sent, by channel and shape */
    uint64_t stamp;       /* counts those that were sent */
};

/* What is computed: shared by all sets that ask for the same. */
struct gw_shape {
    struct gw_timer timer; /* the next window may be over */
    struct gw_hub *hub;
    int64_t every_ms;
    struct gw_window_set *sets;
    struct gw_open_window *oldest, **newest; /* open ones, by when they were opened */
    int64_t whole_from; /* windows that begin earlier may have lost samples to one that was sent already */
    struct gw_shape *next, **link;
    char field[];
};

/* The subscriptions to a filter with the same shape. */
struct gw_window_set {
    struct gw_shape *shape;
    struct gw_filter *filter;
    struct gw_window_sub **subs;
    uint32_t count, allocated;
    uint32_t live;                           /* subs that have all up to now ... */
    int64_t whole_from;                      /* ... one of them at any time since then */
    struct gw_window_set *next, **link;      /* of the filter */
    struct gw_window_set *beside, **besides; /* of the shape */
};

struct gw_window_sub {
    struct gw_timer timer; /* first member; the next step of joining */
    struct gw_session *session;
    struct gw_window_set *set;
    uint32_t index; /* in set->subs */
    bool joining;
    bool waiting;     /* for room in the session's queue */
    uint64_t cursor;  /* a place from which nothing that is still to be joined is missed */
    uint64_t after;   /* windows without a later message were sent */
    uint64_t missing; /* a loss behind this number is told as a gap; UINT64_MAX: none is */
    int64_t from;     /* joining: windows that begin then or later are wanted ... */
    int64_t resume;   /* ... of the channel that is being joined from this one on; INT64_MIN: from `from` on */
    uint32_t slot;    /* the channel that is looked at next */
    unsigned tries;
    struct gw_series *series;           /* NULL: none is being made */
    struct gw_buf name;                 /* ... of this channel */
    struct gw_window_sub *next, **link; /* of the session */
};

/* A window that was not sent yet. */
struct gw_open_window {
    struct gw_table_item item; /* by windows_hash() */
    struct gw_shape *shape;
    struct gw_window window;
    uint64_t seen;                       /* the newest message that is in it */
    int64_t due_ms;                      /* monotonic: it is sent then, wherever the clock was set */
    bool whole;                          /* all samples are in it */
    bool partial;                        /* some are lost */
    bool early;                          /* it is sent before its end */
    struct gw_series *series;            /* it is made anew out of the history */
    struct gw_open_window *next, **link; /* of the shape */
    uint64_t hash;                       /* of the channel's name */
    size_t len;
    char name[];
};

/* Windows of a channel's past that a subscription gets, at most. */
#define GW_WINDOWS_FARTHEST 9999

/* --- windows.c --- */

void gw_shape_on_timer(struct gw_timer *timer);
/* Of that channel and shape, the next one after `open`, or the first with NULL. */
struct gw_open_window *gw_open_window_next(const struct gw_shape *shape, const char *name, size_t len, uint64_t hash,
                                           struct gw_open_window *open);
void gw_open_window_close(struct gw_open_window *open);

/* A message has become a channel's last value or cleared it. Only with hub->windows.shapes. */
void gw_windows_see(struct gw_hub *hub, struct gw_channel *channel, const struct gw_message *msg);
/* How long after its end a window is sent: what came in time may still be on its way. */
int64_t gw_windows_grace(const struct gw_hub *hub);
/* A window as one that joins has it; false: it is over, and to be sent at once. */
bool gw_windows_adopt(struct gw_shape *shape, const struct gw_channel *channel, const struct gw_window *window,
                      bool partial);
/* The number of a message before which every window of the channel has been sent. */
uint64_t gw_windows_sent(const struct gw_shape *shape, const char *name, size_t len);
struct gw_message *gw_window_message(const struct gw_shape *shape, const char *name, size_t len,
                                     const struct gw_window *window, bool partial, uint64_t cursor);
/* May whoever has these grants see the windows of the channel or filter? */
bool gw_windows_shows(const struct gw_grants *grants, const char *name, size_t len, const char *field);

/* --- shape.c --- */

/* The shape, made if it is new; NULL: limits.aggregates. */
struct gw_window_set *gw_window_set_get(struct gw_hub *hub, const char *filter, size_t len,
                                        const struct gw_aggregate *aggregate);
void gw_window_set_add(struct gw_window_set *set, struct gw_window_sub *sub);
/* The set goes with its last subscription, and the shape and its windows with its last set. */
void gw_window_set_remove(struct gw_hub *hub, struct gw_window_sub *sub);

/* Open windows may have lost samples. */
void gw_windows_doubt(struct gw_hub *hub);
/* The open windows are of numbers that count no more. */
void gw_windows_begin_anew(struct gw_hub *hub);

/* --- subscribe.c --- */

enum gw_err gw_windows_subscribe(struct gw_session *session, const char *text, size_t len,
                                 const struct gw_start *start, struct gw_subscribed *out);
/* All of them end. */
void gw_windows_drop(struct gw_session *session);
/* Do the grants of its session still contain it? */
bool gw_windows_allowed(const struct gw_window_sub *sub);
/* It ends. */
void gw_window_sub_free(struct gw_window_sub *sub);

/* --- join.c --- */

void gw_window_sub_on_timer(struct gw_timer *timer);
/* It needs windows from that time on; nothing of that is at or before the cursor. */
void gw_window_sub_join(struct gw_window_sub *sub, int64_t from, uint64_t cursor);
/* A window for one of its subscribers. */
void gw_window_deliver(struct gw_window_sub *sub, const struct gw_channel *channel, struct gw_message *msg,
                       const struct gw_window *window);
/* Messages behind that number are lost: the session joins again, and is told. */
void gw_windows_lost(struct gw_session *session, uint64_t before);
/* The session's queue is empty. */
void gw_windows_drained(struct gw_session *session);
/* A window that waited was taken out of the queue: it comes again, to whoever may still see it. */
void gw_windows_again(struct gw_session *session, const struct gw_message *msg);
/* Of a session with nothing else: the place up to which it has had all that is over. */
uint64_t gw_windows_place(const struct gw_session *session);

#endif
