/* subscription.h: filters, and the sessions that subscribe to them (subscribe.c). Thread: the loop's. */
#ifndef GW_HUB_SESSION_SUBSCRIPTION_H
#define GW_HUB_SESSION_SUBSCRIPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/session.h"
#include "hub/channel/filter.h"

struct gw_hub;

struct gw_sub {
    struct gw_filter *filter;
    struct gw_session *session;
    uint32_t index;   /* in filter->subs */
    char *epoch_from; /* the client's cursor, of another epoch or of a past that it may not see: tell it by gaps, then
                       * the last values; else NULL */
    enum gw_gap_reason epoch_reason; /* of these gaps */
    uint64_t from;                   /* the client wants what comes after */
    uint64_t position;               /* while the session lags: (from, position] was queued or isn't wanted */
    uint64_t fresh_to;               /* up to here only last values are wanted; 0: it resumed from a cursor */
    int64_t interval_ms;             /* the client asked for at most one value a channel in this time; 0: for all */
    int64_t doubt_ns;        /* it resumed, and values that came after this may have been held; INT64_MAX: no doubt */
    uint64_t forgotten_told; /* it was told of channels that were forgotten whole up to here */
    bool epoch_told;         /* ... and of the other epoch, as a gap of the whole filter */
};

/* The filter of that text, made if it is new: with the first subscription. */
struct gw_filter *gw_filter_get(struct gw_hub *hub, const char *text, size_t len);
/* Gives it up if nobody subscribes to it any more. */
void gw_filter_release(struct gw_hub *hub, struct gw_filter *filter);
/* Gives up the subscription, and its filter with the last one. */
void gw_sub_free(struct gw_hub *hub, struct gw_sub *sub);

#endif
