/* repeats.c: idempotency keys: what became of publishes that had one, so that a repeat is not published again. */
#include "hub/publish/repeats.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/hash.h"
#include "gateway/identity.h"
#include "gateway/list.h"
#include "gateway/mail.h"
#include "gateway/table.h"
#include "hub/publish/pending.h"

struct follower {
    unsigned worker;
    uint64_t token;
};

struct gw_repeat {
    struct gw_table_item item;       /* first member */
    struct gw_repeat *newer, **link; /* of those that are finished; the others are in the table alone */
    uint64_t payload;                /* its hash */
    size_t payload_len;
    bool confirm, finished;
    int64_t until_ms;
    int64_t window_ms;
    struct gw_repeat_outcome outcome;
    uint32_t follower_count;
    struct follower followers[GW_REPEAT_FOLLOWERS];
    size_t len;
    char name[];
};

struct gw_repeats {
    pthread_mutex_t lock;
    struct gw_table table;
    struct gw_repeat *oldest, **end; /* of those that are finished */
};

/* The outcome on its way to a worker. */
struct told {
    struct gw_letter letter; /* first member */
    uint64_t token;
    struct gw_repeat_outcome outcome;
};

struct gw_repeats *gw_repeats_create(void)
{
    struct gw_repeats *repeats = gw_calloc(1, sizeof *repeats);
    repeats->end = &repeats->oldest;
    pthread_mutex_init(&repeats->lock, NULL);
    return repeats;
}

static void outcome_fini(struct gw_repeat_outcome *outcome)
{
    gw_buf_fini(&outcome->data);
    gw_identity_unref(outcome->seen_by);
}

static void repeat_free(struct gw_repeat *repeat)
{
    outcome_fini(&repeat->outcome);
    free(repeat);
}

void gw_repeats_destroy(struct gw_repeats *repeats)
{
    if (!repeats)
        return;
    for (struct gw_table_item *item = gw_table_empty(&repeats->table), *next; item; item = next) {
        next = item->next;
        repeat_free((struct gw_repeat *)item);
    }
    pthread_mutex_destroy(&repeats->lock);
    free(repeats);
}

/* --- telling ---------------------------------------------------------------------------------------------------- */

static void told_drop(struct gw_letter *letter)
{
    struct told *told = (struct told *)letter;
    outcome_fini(&told->outcome);
    free(told);
}

static void told_deliver(struct gw_letter *letter, struct gw_hub *hub)
{
    struct told *told = (struct told *)letter;
    gw_hub_repeated(hub, told->token, &told->outcome);
    told_drop(letter);
}

static void repeat_tell(const struct gw_mail *mail, const struct follower *to,
                        const struct gw_repeat_outcome *outcome)
{
    struct told *told = gw_calloc(1, sizeof *told);
    told->letter = (struct gw_letter){.deliver = told_deliver, .drop = told_drop};
    told->token = to->token;
    told->outcome = *outcome;
    gw_identity_ref(told->outcome.seen_by);
    told->outcome.data = (struct gw_buf){0};
    if (outcome->data.data)
        gw_buf_add(&told->outcome.data, outcome->data.data, outcome->data.len);
    mail->send(mail->context, to->worker, &told->letter);
}

/* --- the table. Lock held. -------------------------------------------------------------------------------------- */

static void table_remove(struct gw_repeats *repeats, struct gw_repeat *repeat)
{
    gw_table_remove(&repeats->table, &repeat->item);
    if (repeat->finished)
        GW_QUEUE_REMOVE(repeats->end, repeat, newer, link);
}

/* Those whose time is up, and the oldest ones beyond the limit. False: all are under way. */
static bool table_make_room(struct gw_repeats *repeats, const struct gw_repeat_ask *ask)
{
    while (repeats->oldest && (repeats->oldest->until_ms <= ask->now_ms || repeats->table.count >= ask->limit)) {
        struct gw_repeat *oldest = repeats->oldest;
        table_remove(repeats, oldest);
        repeat_free(oldest);
    }
    return repeats->table.count < ask->limit;
}

static struct gw_repeat *table_find(const struct gw_repeats *repeats, const struct gw_repeat_ask *ask, uint64_t hash)
{
    for (struct gw_table_item *item = gw_table_first(&repeats->table, hash); item; item = gw_table_next(item)) {
        struct gw_repeat *at = (struct gw_repeat *)item;
        if (at->len == ask->name.len && !memcmp(at->name, ask->name.data, at->len) &&
            (!at->finished || at->until_ms > ask->now_ms))
            return at;
    }
    return NULL;
}

static uint64_t payload_hash(const struct gw_repeat_ask *ask)
{
    return gw_hash(ask->payload.len ? ask->payload.data : "", ask->payload.len);
}

static bool repeat_is_of(const struct gw_repeat *known, const struct gw_repeat_ask *ask)
{
    return known->payload == payload_hash(ask) && known->payload_len == ask->payload.len &&
           known->confirm == ask->confirm;
}

static struct gw_repeat *table_add(struct gw_repeats *repeats, const struct gw_repeat_ask *ask, uint64_t hash)
{
    struct gw_repeat *repeat = gw_calloc(1, sizeof *repeat + ask->name.len);
    repeat->payload = payload_hash(ask);
    repeat->payload_len = ask->payload.len;
    repeat->confirm = ask->confirm;
    repeat->window_ms = ask->window_ms;
    repeat->len = ask->name.len;
    memcpy(repeat->name, ask->name.data, ask->name.len);
    gw_table_add(&repeats->table, &repeat->item, hash);
    return repeat;
}

/* --- publishes -------------------------------------------------------------------------------------------------- */

enum gw_repeat_is gw_repeats_ask(struct gw_repeats *repeats, const struct gw_repeat_ask *ask,
                                 struct gw_repeat **first)
{
    uint64_t hash = gw_hash(ask->name.data, ask->name.len);
    enum gw_repeat_is is = GW_REPEAT_AGAIN;
    *first = NULL;
    pthread_mutex_lock(&repeats->lock);
    const struct gw_repeat *known = table_find(repeats, ask, hash);
    if (known && !repeat_is_of(known, ask)) {
        is = GW_REPEAT_OTHER;
    } else if (!known) {
        is = table_make_room(repeats, ask) ? GW_REPEAT_FIRST : GW_REPEAT_FULL;
        if (is == GW_REPEAT_FIRST)
            *first = table_add(repeats, ask, hash);
    }
    pthread_mutex_unlock(&repeats->lock);
    return is;
}

enum gw_repeat_is gw_repeats_follow(struct gw_repeats *repeats, const struct gw_repeat_ask *ask,
                                    const struct gw_mail *mail, unsigned worker, uint64_t token)
{
    const struct follower follower = {worker, token};
    enum gw_repeat_is is = GW_REPEAT_AGAIN;
    pthread_mutex_lock(&repeats->lock);
    struct gw_repeat *known = table_find(repeats, ask, gw_hash(ask->name.data, ask->name.len));
    if (!known || !repeat_is_of(known, ask))
        is = GW_REPEAT_FULL; /* it has just been forgotten, and another worker may have the key: it may be tried again
                              */
    else if (known->finished)
        repeat_tell(mail, &follower, &known->outcome);
    else if (known->follower_count < GW_REPEAT_FOLLOWERS)
        known->followers[known->follower_count++] = follower;
    else
        is = GW_REPEAT_FULL;
    pthread_mutex_unlock(&repeats->lock);
    return is;
}

/* Lock held. */
static void repeat_tell_all(struct gw_repeat *repeat, const struct gw_mail *mail,
                            const struct gw_repeat_outcome *outcome)
{
    for (uint32_t i = 0; i < repeat->follower_count; i++)
        repeat_tell(mail, &repeat->followers[i], outcome);
    repeat->follower_count = 0;
}

void gw_repeats_finish(struct gw_repeats *repeats, struct gw_repeat *first, struct gw_repeat_outcome *outcome,
                       int64_t now_ms, const struct gw_mail *mail)
{
    pthread_mutex_lock(&repeats->lock);
    first->outcome = *outcome;
    first->until_ms = now_ms + first->window_ms;
    first->finished = true;
    GW_QUEUE_ADD(repeats->end, first, newer, link);
    repeat_tell_all(first, mail, &first->outcome);
    pthread_mutex_unlock(&repeats->lock);
}

void gw_repeats_forget(struct gw_repeats *repeats, struct gw_repeat *first, enum gw_err err, int reason,
                       const struct gw_mail *mail)
{
    const struct gw_repeat_outcome outcome = {.kind = GW_REPEAT_FAILED, .err = err, .reason = reason};
    pthread_mutex_lock(&repeats->lock);
    repeat_tell_all(first, mail, &outcome);
    table_remove(repeats, first);
    pthread_mutex_unlock(&repeats->lock);
    repeat_free(first);
}
