/* order.h: what happened, in the order of its numbers: a list of (key, slot) that grows at its end, is searched by
 * key and forgets by itself what is of no use any more.
 *
 * A walk needs no state but the key it got to, so channels may come, change and go between two slices of it. Memory:
 * 12 bytes an entry, and at most about three entries for each that is alive. Thread: the owner's. */
#ifndef GW_HUB_CHANNEL_ORDER_H
#define GW_HUB_CHANNEL_ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GW_ORDER_BLOCK 256

struct gw_order_block;

struct gw_order {
    struct gw_order_block **blocks; /* none of them empty */
    size_t count, allocated;
    size_t entries;
    size_t sweep; /* the block that is looked through next */
    uint64_t newest;
    bool (*alive)(const void *context, uint64_t key, uint32_t slot);
    const void *context;
};

struct gw_order_place {
    size_t block;
    uint32_t index;
};

void gw_order_init(struct gw_order *order, bool (*alive)(const void *context, uint64_t key, uint32_t slot),
                   const void *context);
void gw_order_fini(struct gw_order *order);

/* `key` is above every earlier one. Each call pays for forgetting two entries. */
void gw_order_add(struct gw_order *order, uint64_t key, uint32_t slot);

/* The first entry with a key above `after`. Good until the next gw_order_add(). */
struct gw_order_place gw_order_after(const struct gw_order *order, uint64_t after);
/* Takes the entry at *place and goes on; false at the end. It may be one that is not alive. */
bool gw_order_next(const struct gw_order *order, struct gw_order_place *place, uint64_t *key, uint32_t *slot);

/* How many entries come after that key, counted up to about `most`. */
size_t gw_order_count_after(const struct gw_order *order, uint64_t after, size_t most);

#endif
