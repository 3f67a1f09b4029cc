#include "gateway/table.h"

#include <stdlib.h>

#include "gateway/alloc.h"

#define FIRST_SIZE 64

static void table_place(struct gw_table *table, struct gw_table_item *item)
{
    struct gw_table_item **bucket = &table->buckets[item->hash & (table->size - 1)];
    item->next = *bucket;
    *bucket = item;
}

static void table_grow(struct gw_table *table)
{
    struct gw_table larger = {.size = table->size ? table->size * 2 : FIRST_SIZE, .count = table->count};
    larger.buckets = gw_calloc(larger.size, sizeof(struct gw_table_item *));
    for (size_t i = 0; i < table->size; i++) {
        for (struct gw_table_item *item = table->buckets[i], *next; item; item = next) {
            next = item->next;
            table_place(&larger, item);
        }
    }
    free(table->buckets);
    *table = larger;
}

void gw_table_add(struct gw_table *table, struct gw_table_item *item, uint64_t hash)
{
    if (table->count >= table->size)
        table_grow(table);
    item->hash = hash;
    table_place(table, item);
    table->count++;
}

void gw_table_remove(struct gw_table *table, struct gw_table_item *item)
{
    struct gw_table_item **link = &table->buckets[item->hash & (table->size - 1)];
    while (*link != item)
        link = &(*link)->next;
    *link = item->next;
    table->count--;
}

struct gw_table_item *gw_table_empty(struct gw_table *table)
{
    struct gw_table_item *all = NULL;
    for (size_t i = 0; i < table->size; i++) {
        for (struct gw_table_item *item = table->buckets[i], *next; item; item = next) {
            next = item->next;
            item->next = all;
            all = item;
        }
    }
    free(table->buckets);
    *table = (struct gw_table){0};
    return all;
}
