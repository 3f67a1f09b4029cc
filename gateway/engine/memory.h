/* memory.h: the ring of memory.c, as an engine's functions. Contracts: gateway/history.h. */
#ifndef GW_ENGINE_MEMORY_H
#define GW_ENGINE_MEMORY_H

#include "gateway/history.h"

struct gw_history *gw_memory_open(const struct gw_history_limits *limits, uint64_t evicted);
void gw_memory_close(struct gw_history *history);
void gw_memory_limit(struct gw_history *history, const struct gw_history_limits *limits, int64_t now_ms);
void gw_memory_append(struct gw_history *history, struct gw_message *msg, int64_t now_ms);
void gw_memory_expire(struct gw_history *history, int64_t now_ms);
void gw_memory_drop(struct gw_history *history);
void gw_memory_read(const struct gw_history *history, uint64_t after, gw_history_visit visit, void *context);
uint64_t gw_memory_evicted(const struct gw_history *history);
int64_t gw_memory_evicted_ts(const struct gw_history *history);
size_t gw_memory_count(const struct gw_history *history);
size_t gw_memory_bytes(const struct gw_history *history);

#define GW_MEMORY_RING                                                                                               \
    .open = gw_memory_open, .close = gw_memory_close, .limit = gw_memory_limit, .append = gw_memory_append,          \
    .expire = gw_memory_expire, .drop = gw_memory_drop, .read = gw_memory_read, .evicted = gw_memory_evicted,        \
    .evicted_ts = gw_memory_evicted_ts, .count = gw_memory_count, .bytes = gw_memory_bytes

#endif
