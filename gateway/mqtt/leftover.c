#include "mqtt/leftover.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/clock.h"
#include "gateway/log.h"
#include "mqtt/source_private.h"

/* In one UNSUBSCRIBE: what AWS IoT Core takes. */
#define AT_ONCE 8
#define LEVELS  16
/* What the broker had queued comes all the same; what comes after this comes by something else. */
#define QUEUED_MS 60000
/* After a restart the messages that the broker had queued have the identifiers of the last process, which is no sign
 * of anything. So these topics are few. */
#define TRIES_OURS 5

void gw_leftover_fini(struct gw_leftover *leftover)
{
    gw_buf_fini(&leftover->filters);
}

void gw_leftover_reset(struct gw_leftover *leftover)
{
    gw_buf_clear(&leftover->filters);
    leftover->at = 0;
    leftover->mid = 0;
    leftover->tried = 0;
}

/* --- the filters that match a topic ---------------------------------------------------------------------------- */

struct levels {
    const char *at[LEVELS];
    size_t len[LEVELS];
    size_t count; /* LEVELS: the rest is in the last one */
    bool deeper;  /* ... and holds more than one */
    struct gw_buf *out;
    size_t filters;
};

/* The first `count` levels, those in `plus` as `+`, and `#` behind them if it is asked for. */
static void leftover_add(struct levels *levels, size_t count, unsigned plus, bool rest)
{
    if (levels->filters == GW_LEFTOVER_FILTERS)
        return;
    for (size_t i = 0; i < count; i++) {
        gw_buf_adds(levels->out, i ? "/" : "");
        if (plus >> i & 1)
            gw_buf_addc(levels->out, '+');
        else
            gw_buf_add(levels->out, levels->at[i], levels->len[i]);
    }
    if (rest)
        gw_buf_adds(levels->out, count ? "/#" : "#");
    gw_buf_addc(levels->out, '\0');
    levels->filters++;
}

static unsigned leftover_bits(unsigned plus)
{
    unsigned bits = 0;
    for (; plus; plus &= plus - 1)
        bits++;
    return bits;
}

/* With that number of `+`. */
static void leftover_add_all(struct levels *levels, unsigned pluses)
{
    for (size_t count = levels->count + 1; count-- > 0;) {
        for (unsigned plus = 0; plus < 1u << count && levels->filters < GW_LEFTOVER_FILTERS; plus++) {
            if (leftover_bits(plus) != pluses)
                continue;
            leftover_add(levels, count, plus, true);
            /* What is too deep to be told apart has no `+` in its last level. */
            if (count && count == levels->count && !(levels->deeper && plus >> (count - 1) & 1))
                leftover_add(levels, count, plus, false);
        }
    }
}

void gw_leftover_list(const char *topic, size_t len, struct gw_buf *out)
{
    struct levels levels = {.out = out};
    const char *at = topic, *end = topic + len;
    while (at <= end && levels.count < LEVELS) {
        const char *slash = levels.count + 1 < LEVELS ? memchr(at, '/', (size_t)(end - at)) : NULL;
        levels.at[levels.count] = at;
        levels.len[levels.count++] = (size_t)((slash ? slash : end) - at);
        at = slash ? slash + 1 : end + 1;
    }
    levels.deeper = memchr(levels.at[levels.count - 1], '/', levels.len[levels.count - 1]) != NULL;
    for (unsigned pluses = 0; pluses <= levels.count && levels.filters < GW_LEFTOVER_FILTERS; pluses++)
        leftover_add_all(&levels, pluses);
}

/* --- unsubscribing --------------------------------------------------------------------------------------------- */

/* The next few. None are left: mid is 0. */
static void leftover_send(struct gw_source *source)
{
    struct gw_leftover *leftover = &source->leftover;
    char *filters[AT_ONCE];
    int count = 0;
    leftover->mid = 0;
    while (count < AT_ONCE && leftover->at < leftover->filters.len) {
        char *filter = leftover->filters.data + leftover->at;
        leftover->at += strlen(filter) + 1;
        if (!gw_subscriptions_has(&source->subs, filter) && !gw_publisher_has_topic(&source->publisher, filter))
            filters[count++] = filter;
    }
    if (count &&
        mosquitto_unsubscribe_multiple(source->mosq, &leftover->mid, count, filters, NULL) != MOSQ_ERR_SUCCESS)
        leftover->mid = 0;
    if (!leftover->mid)
        gw_buf_clear(&leftover->filters);
}

/* True: it was done before. */
static bool leftover_is_done(struct gw_leftover *leftover, const struct gw_packet *packet, uint64_t hash)
{
    int64_t now_ms = gw_monotonic_ms();
    for (size_t i = 0; i < GW_LEFTOVER_TOPICS; i++) {
        if (leftover->done[i].hash != hash)
            continue;
        if (now_ms - leftover->done[i].at_ms > QUEUED_MS) {
            gw_log(GW_LOG_WARN, "mqtt",
                   "messages on '%.*s' still come by a subscription that is none of the routes': end the session of "
                   "'broker.client_id' at the broker, or start once with broker.session_expiry: 0s",
                   (int)packet->topic_len, packet->topic);
            leftover->done[i].at_ms = INT64_MAX; /* said */
        }
        return true;
    }
    return false;
}

void gw_leftover_suspect(struct gw_source *source, const struct gw_packet *packet, bool ours)
{
    struct gw_leftover *leftover = &source->leftover;
    if (leftover->mid || (ours && leftover->tried == TRIES_OURS))
        return; /* one topic at a time: most others have the same reason */
    uint64_t hash = gw_hash(packet->topic, packet->topic_len) | 1;
    if (leftover_is_done(leftover, packet, hash))
        return;
    leftover->tried += ours;
    leftover->done[leftover->done_count % GW_LEFTOVER_TOPICS].hash = hash;
    leftover->done[leftover->done_count++ % GW_LEFTOVER_TOPICS].at_ms = gw_monotonic_ms();
    if (!ours)
        gw_log(GW_LOG_INFO, "mqtt",
               "a message on '%.*s' came by no filter of the routes: the session that the broker keeps has "
               "subscriptions of an earlier configuration; giving up those that may have brought it",
               (int)packet->topic_len, packet->topic);
    gw_buf_clear(&leftover->filters);
    leftover->at = 0;
    gw_leftover_list(packet->topic, packet->topic_len, &leftover->filters);
    leftover_send(source);
}

void gw_leftover_unsubscribed(struct gw_source *source, int mid)
{
    if (source->leftover.mid && mid == source->leftover.mid)
        leftover_send(source);
}
