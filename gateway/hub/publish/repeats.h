/* repeats.h: idempotency keys: what became of publishes that had one, so that a repeat is not published again.
 *
 * One table for all workers, since the repeat comes over another connection as a rule. Thread: any; it has a lock. */
#ifndef GW_HUB_PUBLISH_REPEATS_H
#define GW_HUB_PUBLISH_REPEATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/buf.h"
#include "gateway/error.h"
#include "gateway/hub.h"

struct gw_identity;
struct gw_mail;
struct gw_repeat;

#define GW_REPEAT_FOLLOWERS 16   /* repeats of one publish that wait for its outcome */
#define GW_REPEAT_DATA_MAX  4096 /* a larger value is left out of the receipt of a repeat */

/* What a publish came to. */
struct gw_repeat_outcome {
    enum { GW_REPEAT_PUBLISHED, GW_REPEAT_ACCEPTED, GW_REPEAT_CONFIRMED, GW_REPEAT_TIMEOUT, GW_REPEAT_FAILED } kind;
    enum gw_err err; /* of one that failed */
    int reason;
    char cursor[64];             /* of one that was to be confirmed */
    struct gw_buf data;          /* ... and was not: the value that was there; data NULL: none */
    struct gw_identity *seen_by; /* ... as this one sees it: one of the same name may have other grants */
};

/* A publish with a key. */
struct gw_repeat_ask {
    struct gw_slice name;    /* of identity, channel and key: it is the same for a repeat */
    struct gw_slice payload; /* and so must be this */
    bool confirm;            /* and this */
    int64_t now_ms, window_ms;
    uint32_t limit; /* of the table */
};

enum gw_repeat_is {
    GW_REPEAT_FIRST, /* publish it, and call gw_repeats_finish() or gw_repeats_forget() with *first */
    GW_REPEAT_AGAIN, /* do not: gw_repeats_follow() */
    GW_REPEAT_OTHER, /* something else was published with this key */
    GW_REPEAT_FULL   /* as many as there may be are under way, or follow this one */
};

GW_MUST_CHECK enum gw_repeat_is gw_repeats_ask(struct gw_repeats *repeats, const struct gw_repeat_ask *ask,
                                               struct gw_repeat **first);
/* A letter comes to the worker with the outcome for `token` (gw_hub_repeated()), at once if it is known. */
GW_MUST_CHECK enum gw_repeat_is gw_repeats_follow(struct gw_repeats *repeats, const struct gw_repeat_ask *ask,
                                                  const struct gw_mail *mail, unsigned worker, uint64_t token);
/* It is remembered from now on for ask.window_ms, and those who follow hear of it. Takes all of *outcome. */
void gw_repeats_finish(struct gw_repeats *repeats, struct gw_repeat *first, struct gw_repeat_outcome *outcome,
                       int64_t now_ms, const struct gw_mail *mail);
/* Nothing took effect: the next one with the key is published. Those who follow hear of the error. */
void gw_repeats_forget(struct gw_repeats *repeats, struct gw_repeat *first, enum gw_err err, int reason,
                       const struct gw_mail *mail);

#endif
