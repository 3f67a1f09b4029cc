/* table.h: a hash table whose items hold it together themselves. It grows as items come and never shrinks; which of
 * the items with one hash is meant, its owner knows. {0} is an empty one. Thread: its owner's. */
#ifndef GATEWAY_TABLE_H
#define GATEWAY_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct gw_table_item {
    uint64_t hash;
    struct gw_table_item *next;
};

struct gw_table {
    struct gw_table_item **buckets;
    size_t size; /* buckets: a power of two, or 0 */
    size_t count;
};

/* `hash` is the item's from then on. */
void gw_table_add(struct gw_table *table, struct gw_table_item *item, uint64_t hash);
/* The item is in the table. */
void gw_table_remove(struct gw_table *table, struct gw_table_item *item);
/* Leaves an empty table without buckets, and returns all that was in it as a list. */
struct gw_table_item *gw_table_empty(struct gw_table *table);

/* The items with that hash: the first one, or NULL, and the next one after `item`. */
static inline struct gw_table_item *gw_table_first(const struct gw_table *table, uint64_t hash)
{
    struct gw_table_item *item = table->size ? table->buckets[hash & (table->size - 1)] : NULL;
    while (item && item->hash != hash)
        item = item->next;
    return item;
}

static inline struct gw_table_item *gw_table_next(const struct gw_table_item *item)
{
    struct gw_table_item *next = item->next;
    while (next && next->hash != item->hash)
        next = next->next;
    return next;
}

#endif
