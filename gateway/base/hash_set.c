#include "base/hash_set.h"

#include <stdlib.h>

#include "gateway/alloc.h"

/* 0 marks a free slot. */
static uint64_t hash_set_key(uint64_t hash)
{
    return hash ? hash : 1;
}

static uint64_t *hash_set_place(const struct gw_hash_set *set, uint64_t key)
{
    size_t at = (size_t)(key ^ key >> 32) & (set->allocated - 1);
    while (set->slots[at] && set->slots[at] != key)
        at = (at + 1) & (set->allocated - 1);
    return &set->slots[at];
}

void gw_hash_set_fini(struct gw_hash_set *set)
{
    free(set->slots);
    *set = (struct gw_hash_set){0};
}

static void hash_set_grow(struct gw_hash_set *set)
{
    struct gw_hash_set larger = {.count = set->count, .allocated = set->allocated ? set->allocated * 2 : 64};
    larger.slots = gw_calloc(larger.allocated, sizeof *larger.slots);
    for (size_t i = 0; i < set->allocated; i++) {
        if (set->slots[i])
            *hash_set_place(&larger, set->slots[i]) = set->slots[i];
    }
    free(set->slots);
    *set = larger;
}

void gw_hash_set_add(struct gw_hash_set *set, uint64_t hash)
{
    if (set->count * 2 >= set->allocated)
        hash_set_grow(set);
    uint64_t *place = hash_set_place(set, hash_set_key(hash));
    set->count += !*place;
    *place = hash_set_key(hash);
}

bool gw_hash_set_has(const struct gw_hash_set *set, uint64_t hash)
{
    return set->count && *hash_set_place(set, hash_set_key(hash));
}

void gw_hash_set_merge(struct gw_hash_set *set, const struct gw_hash_set *other)
{
    for (size_t i = 0; i < other->allocated; i++) {
        if (other->slots[i])
            gw_hash_set_add(set, other->slots[i]);
    }
}
