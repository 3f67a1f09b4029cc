/* memory.c: the engine `memory`, a counter, and its histories: a ring of references for each channel, bounded by
 * count, bytes and age. The engine `disk` reads from the same rings. */
#include "engine/memory.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/engine.h"
#include "message/cursor.h"

struct gw_history {
    struct gw_history_limits limits;
    struct gw_message **ring; /* of `allocated`, a power of two; grows with use up to what limits.count needs */
    uint32_t first, count, allocated;
    size_t bytes;
    uint64_t evicted;
    int64_t evicted_ts;     /* INT64_MAX: not known */
    struct gw_message *one; /* the ring of a channel that has had one message, as most retained ones */
};

struct gw_history *gw_memory_open(const struct gw_history_limits *limits, uint64_t evicted)
{
    struct gw_history *history = gw_calloc(1, sizeof *history);
    history->limits = *limits;
    history->ring = &history->one;
    history->allocated = 1;
    history->evicted = evicted;
    history->evicted_ts = INT64_MAX;
    return history;
}

static struct gw_message *memory_at(const struct gw_history *history, size_t index)
{
    return history->ring[(history->first + index) & (history->allocated - 1)];
}

static void memory_evict(struct gw_history *history)
{
    struct gw_message *msg = memory_at(history, 0);
    history->first = (history->first + 1) & (history->allocated - 1);
    history->count--;
    history->bytes -= gw_message_size(msg);
    history->evicted = msg->seq;
    history->evicted_ts = msg->ts;
    gw_message_unref(msg);
}

static void memory_free_ring(struct gw_history *history)
{
    if (history->ring != &history->one)
        free(history->ring);
}

void gw_memory_drop(struct gw_history *history)
{
    while (history->count)
        memory_evict(history);
    memory_free_ring(history);
    history->ring = &history->one;
    history->first = 0;
    history->allocated = 1;
}

void gw_memory_close(struct gw_history *history)
{
    gw_memory_drop(history);
    free(history);
}

static void memory_bound(struct gw_history *history)
{
    while (history->count && (history->count > history->limits.count || history->bytes > history->limits.bytes))
        memory_evict(history);
}

void gw_memory_expire(struct gw_history *history, int64_t now_ms)
{
    if (!history->limits.age_ms)
        return;
    while (history->count && memory_at(history, 0)->ts < now_ms - history->limits.age_ms)
        memory_evict(history);
}

void gw_memory_limit(struct gw_history *history, const struct gw_history_limits *limits, int64_t now_ms)
{
    history->limits = *limits;
    memory_bound(history);
    gw_memory_expire(history, now_ms);
}

static void memory_grow(struct gw_history *history)
{
    uint32_t allocated = history->allocated * 2;
    struct gw_message **ring = gw_reallocarray(NULL, allocated, sizeof *ring);
    for (size_t i = 0; i < history->count; i++)
        ring[i] = memory_at(history, i);
    memory_free_ring(history);
    history->ring = ring;
    history->first = 0;
    history->allocated = allocated;
}

void gw_memory_append(struct gw_history *history, struct gw_message *msg, int64_t now_ms)
{
    gw_memory_expire(history, now_ms);
    if (!history->limits.count || gw_message_size(msg) > history->limits.bytes) {
        /* It will never fit. What is older must go too: a history without holes is what `evicted` stands for. */
        while (history->count)
            memory_evict(history);
        history->evicted = msg->seq;
        history->evicted_ts = msg->ts;
        return;
    }
    if (history->count == history->limits.count)
        memory_evict(history);
    if (history->count == history->allocated)
        memory_grow(history);
    history->ring[(history->first + history->count++) & (history->allocated - 1)] = gw_message_ref(msg);
    history->bytes += gw_message_size(msg);
    memory_bound(history);
}

void gw_memory_read(const struct gw_history *history, uint64_t after, gw_history_visit visit, void *context)
{
    size_t low = 0, high = history->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (memory_at(history, middle)->seq <= after)
            low = middle + 1;
        else
            high = middle;
    }
    while (low < history->count && visit(context, memory_at(history, low)))
        low++;
}

uint64_t gw_memory_evicted(const struct gw_history *history)
{
    return history->evicted;
}

int64_t gw_memory_evicted_ts(const struct gw_history *history)
{
    return history->evicted_ts;
}

size_t gw_memory_count(const struct gw_history *history)
{
    return history->count;
}

size_t gw_memory_bytes(const struct gw_history *history)
{
    return history->bytes;
}

const struct gw_history_engine gw_history_memory = {.name = "memory", GW_MEMORY_RING};

/* --- numbers --------------------------------------------------------------------------------------------------- */

struct gw_engine_store {
    char epoch[GW_EPOCH_MAX + 1];
    uint64_t seq; /* the last number given; the MQTT thread's */
    struct gw_engine_sink sink;
};

static enum gw_err counter_open(const void *options, struct gw_engine_found *found, struct gw_engine_store **out,
                                struct gw_buf *error)
{
    (void)options;
    (void)error;
    _Static_assert(GW_EPOCH_MAX == GW_ENGINE_EPOCH_MAX, "the seam's epochs are the cursors'");
    struct gw_engine_store *store = gw_calloc(1, sizeof *store);
    gw_epoch_make(store->epoch);
    *found = (struct gw_engine_found){.clean = true};
    memcpy(found->epoch, store->epoch, sizeof found->epoch);
    *out = store;
    return GW_OK;
}

static enum gw_err counter_start(struct gw_engine_store *store, const struct gw_engine_sink *sink,
                                 struct gw_buf *error)
{
    (void)error;
    store->sink = *sink;
    return GW_OK;
}

static enum gw_err counter_append(struct gw_engine_store *store, struct gw_message_spec *draft)
{
    draft->epoch = store->epoch;
    draft->seq = ++store->seq;
    store->sink.message(store->sink.context, draft);
    return GW_OK;
}

static void counter_close(struct gw_engine_store *store, bool in_order, uint64_t forgotten)
{
    (void)in_order;
    (void)forgotten;
    free(store);
}

const struct gw_engine gw_engine_memory = {
    .name = "memory",
    .open = counter_open,
    .start = counter_start,
    .append = counter_append,
    .close = counter_close,
};
