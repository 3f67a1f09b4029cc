#include "hub/channel/order.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"

struct gw_order_block {
    uint32_t count;
    uint32_t slots[GW_ORDER_BLOCK];
    uint64_t keys[GW_ORDER_BLOCK];
};

void gw_order_init(struct gw_order *order, bool (*alive)(const void *context, uint64_t key, uint32_t slot),
                   const void *context)
{
    *order = (struct gw_order){.alive = alive, .context = context};
}

void gw_order_fini(struct gw_order *order)
{
    for (size_t i = 0; i < order->count; i++)
        free(order->blocks[i]);
    free(order->blocks);
}

static void order_remove_block(struct gw_order *order, size_t at)
{
    free(order->blocks[at]);
    order->count--;
    memmove(&order->blocks[at], &order->blocks[at + 1], (order->count - at) * sizeof *order->blocks);
}

/* Forgets what is not alive in one block, which then may fit into the one before it. */
static void order_sweep_block(struct gw_order *order)
{
    if (order->sweep + 1 >= order->count) /* the last one is being filled */
        order->sweep = 0;
    if (order->count < 2)
        return;
    struct gw_order_block *block = order->blocks[order->sweep];
    uint32_t kept = 0;
    for (uint32_t i = 0; i < block->count; i++) {
        if (!order->alive(order->context, block->keys[i], block->slots[i]))
            continue;
        block->keys[kept] = block->keys[i];
        block->slots[kept++] = block->slots[i];
    }
    order->entries -= block->count - kept;
    block->count = kept;
    struct gw_order_block *before = order->sweep ? order->blocks[order->sweep - 1] : NULL;
    if (before && before->count + kept <= GW_ORDER_BLOCK) {
        memcpy(before->keys + before->count, block->keys, kept * sizeof *block->keys);
        memcpy(before->slots + before->count, block->slots, kept * sizeof *block->slots);
        before->count += kept;
        kept = 0;
    }
    if (kept)
        order->sweep++;
    else
        order_remove_block(order, order->sweep);
}

static struct gw_order_block *order_add_block(struct gw_order *order)
{
    order_sweep_block(order);
    order_sweep_block(order);
    GW_GROW(order->blocks, order->count, order->allocated, 4);
    struct gw_order_block *block = gw_malloc(sizeof *block);
    block->count = 0;
    return order->blocks[order->count++] = block;
}

void gw_order_add(struct gw_order *order, uint64_t key, uint32_t slot)
{
    struct gw_order_block *last = order->count ? order->blocks[order->count - 1] : NULL;
    if (!last || last->count == GW_ORDER_BLOCK)
        last = order_add_block(order);
    last->keys[last->count] = key;
    last->slots[last->count++] = slot;
    order->newest = key;
    order->entries++;
}

struct gw_order_place gw_order_after(const struct gw_order *order, uint64_t after)
{
    size_t low = 0, high = order->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const struct gw_order_block *block = order->blocks[middle];
        if (block->keys[block->count - 1] <= after)
            low = middle + 1;
        else
            high = middle;
    }
    struct gw_order_place place = {low, 0};
    if (low == order->count)
        return place;
    const struct gw_order_block *block = order->blocks[low];
    uint32_t first = 0, end = block->count;
    while (first < end) {
        uint32_t middle = (first + end) / 2;
        if (block->keys[middle] <= after)
            first = middle + 1;
        else
            end = middle;
    }
    place.index = first;
    return place;
}

bool gw_order_next(const struct gw_order *order, struct gw_order_place *place, uint64_t *key, uint32_t *slot)
{
    if (place->block >= order->count)
        return false;
    const struct gw_order_block *block = order->blocks[place->block];
    *key = block->keys[place->index];
    *slot = block->slots[place->index];
    if (++place->index == block->count)
        *place = (struct gw_order_place){place->block + 1, 0};
    return true;
}

size_t gw_order_count_after(const struct gw_order *order, uint64_t after, size_t most)
{
    struct gw_order_place place = gw_order_after(order, after);
    if (place.block >= order->count)
        return 0;
    size_t count = order->blocks[place.block]->count - place.index;
    for (size_t i = place.block + 1; i < order->count && count < most; i++)
        count += order->blocks[i]->count;
    return count;
}
