#include "mqtt/blame.h"

#include <stdio.h>
#include <string.h>

#include "gateway/log.h"
#include "gateway/topic.h"

/* A broker that dislikes a publish closes at once; what was sent longer ago than this did not make it close. */
#define SUSPECT_MS 3000
/* How long a strike counts, and a refusal lasts. */
#define MEMORY_MS 600000
#define STRIKES   2
/* Below these no broker closes for the size or the depth. */
#define LARGE 4096
#define DEEP  8
/* The rows for sizes and for depths, whatever the topic. */
#define ANY_SIZE  0
#define ANY_DEPTH 1

static uint64_t blame_hash(const char *topic) /* FNV-1a */
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *topic; topic++)
        hash = (hash ^ (unsigned char)*topic) * 0x100000001b3u;
    return hash <= ANY_DEPTH ? 2 : hash;
}

static struct gw_blame_row *blame_row(struct gw_blame *blame, uint64_t hash)
{
    for (size_t i = 0; i < GW_BLAME_ROWS; i++) {
        if (blame->rows[i].strikes && blame->rows[i].hash == hash)
            return &blame->rows[i];
    }
    return NULL;
}

static void blame_row_free(struct gw_blame *blame, struct gw_blame_row *row)
{
    row->strikes = 0;
    blame->rows_used--;
}

void gw_blame_note(struct gw_blame *blame, const struct gw_publish *publish, int mid, int64_t now_ms)
{
    struct gw_blame_sent *sent = &blame->recent[blame->sent++ % GW_BLAME_RECENT];
    if (blame->sent - blame->cleared_to > GW_BLAME_RECENT)
        blame->cleared_to = blame->sent - GW_BLAME_RECENT;
    *sent = (struct gw_blame_sent){.hash = blame_hash(publish->topic),
                                   .levels = gw_topic_levels(publish->topic, strlen(publish->topic)),
                                   .len = publish->payload_len,
                                   .at_ms = now_ms,
                                   .mid = mid,
                                   .qos = publish->qos};
    snprintf(sent->topic, sizeof sent->topic, "%s", publish->topic);
}

static void blame_clear_row(struct gw_blame *blame, uint64_t hash, size_t value)
{
    struct gw_blame_row *row = blame->rows_used ? blame_row(blame, hash) : NULL;
    if (row && value >= row->len)
        blame_row_free(blame, row);
}

static void blame_clear(struct gw_blame *blame, const struct gw_blame_sent *sent)
{
    if (!sent->qos)
        return;
    if (sent->len > blame->acked_max)
        blame->acked_max = sent->len;
    if (sent->levels > blame->acked_levels)
        blame->acked_levels = sent->levels;
    blame_clear_row(blame, sent->hash, sent->len);
    blame_clear_row(blame, ANY_SIZE, sent->len);
    blame_clear_row(blame, ANY_DEPTH, sent->levels);
}

void gw_blame_acknowledged(struct gw_blame *blame, int mid)
{
    for (uint64_t i = blame->sent; i-- > blame->cleared_to;) {
        const struct gw_blame_sent *sent = &blame->recent[i % GW_BLAME_RECENT];
        if (sent->mid != mid || !sent->qos)
            continue;
        for (; blame->cleared_to <= i; blame->cleared_to++)
            blame_clear(blame, &blame->recent[blame->cleared_to % GW_BLAME_RECENT]);
        return;
    }
}

/* A strike, and how many there are now. A full table forgets nothing: those it holds are still being refused. */
static unsigned blame_strike(struct gw_blame *blame, uint64_t hash, size_t len, int64_t now_ms)
{
    struct gw_blame_row *row = blame_row(blame, hash);
    for (size_t i = 0; i < GW_BLAME_ROWS && !row; i++) {
        struct gw_blame_row *at = &blame->rows[i];
        if (at->strikes && at->until_ms > now_ms)
            continue;
        blame->rows_used += at->strikes == 0;
        *at = (struct gw_blame_row){.hash = hash, .len = len};
        row = at;
    }
    if (!row)
        return 0;
    if (row->until_ms <= now_ms)
        row->strikes = 0;
    row->until_ms = now_ms + MEMORY_MS;
    if (len < row->len)
        row->len = len;
    return ++row->strikes;
}

/* The oldest one that was to be acknowledged, since brokers work in order; without any, the newest. */
static const struct gw_blame_sent *blame_suspect(const struct gw_blame *blame, int64_t now_ms, unsigned *left)
{
    const struct gw_blame_sent *suspect = NULL;
    *left = 0;
    for (uint64_t i = blame->cleared_to; i < blame->sent; i++) {
        const struct gw_blame_sent *sent = &blame->recent[i % GW_BLAME_RECENT];
        if (now_ms - sent->at_ms > SUSPECT_MS && !sent->qos)
            continue;
        suspect = suspect && suspect->qos ? suspect : sent;
        ++*left;
    }
    return suspect;
}

void gw_blame_lost(struct gw_blame *blame, const char *why, bool by_broker, int64_t now_ms)
{
    unsigned left;
    const struct gw_blame_sent *suspect = blame_suspect(blame, now_ms, &left);
    blame->cleared_to = blame->sent;
    if (!suspect)
        return;
    gw_log(GW_LOG_WARN, "mqtt",
           "the connection broke with %u publish(es) not acknowledged, probably on the one to '%s' (%zu bytes, qos "
           "%d): %s; "
           "given up",
           left, suspect->topic, suspect->len, suspect->qos, why);
    if (!by_broker || now_ms - suspect->at_ms > SUSPECT_MS)
        return;
    if (blame_strike(blame, suspect->hash, suspect->len, now_ms) == STRIKES)
        gw_log(
            GW_LOG_ERROR, "mqtt",
            "publishes to '%s' of %zu bytes or more are refused for %d minutes: the broker closed the connection on "
            "two; see its log and its policy for this client",
            suspect->topic, suspect->len, MEMORY_MS / 60000);
    if (suspect->len >= LARGE && suspect->len > blame->acked_max &&
        blame_strike(blame, ANY_SIZE, suspect->len, now_ms) == STRIKES)
        gw_log(GW_LOG_ERROR, "mqtt",
               "publishes of %zu bytes or more are refused for %d minutes: the broker closed the connection on two; "
               "set limits.frame to what the broker takes",
               blame_row(blame, ANY_SIZE)->len, MEMORY_MS / 60000);
    if (suspect->levels > DEEP && suspect->levels > blame->acked_levels &&
        blame_strike(blame, ANY_DEPTH, suspect->levels, now_ms) == STRIKES)
        gw_log(
            GW_LOG_ERROR, "mqtt",
            "publishes to topics of %zu levels or more are refused for %d minutes: the broker closed the connection "
            "on two; set limits.levels to what the broker takes",
            blame_row(blame, ANY_DEPTH)->len, MEMORY_MS / 60000);
}

static bool blame_refuses_row(struct gw_blame *blame, uint64_t hash, size_t value, int64_t now_ms)
{
    struct gw_blame_row *row = blame_row(blame, hash);
    if (row && row->until_ms <= now_ms) {
        blame_row_free(blame, row);
        return false;
    }
    return row && row->strikes >= STRIKES && value >= row->len;
}

bool gw_blame_refuses(struct gw_blame *blame, const struct gw_publish *publish, int64_t now_ms)
{
    return blame->rows_used &&
           (blame_refuses_row(blame, blame_hash(publish->topic), publish->payload_len, now_ms) ||
            blame_refuses_row(blame, ANY_SIZE, publish->payload_len, now_ms) ||
            blame_refuses_row(blame, ANY_DEPTH, gw_topic_levels(publish->topic, strlen(publish->topic)), now_ms));
}
