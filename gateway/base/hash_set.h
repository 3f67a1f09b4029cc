/* hash_set.h: a set of hashes, eight bytes each: two keys with the same hash are the same. {0} is an empty one.
 * Thread: the owner's. */
#ifndef GW_BASE_HASH_SET_H
#define GW_BASE_HASH_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gw_hash_set {
    uint64_t *slots; /* a power of two; 0: free */
    size_t count, allocated;
};

void gw_hash_set_fini(struct gw_hash_set *set);
void gw_hash_set_add(struct gw_hash_set *set, uint64_t hash);
bool gw_hash_set_has(const struct gw_hash_set *set, uint64_t hash);
/* Adds whatever `other` has. */
void gw_hash_set_merge(struct gw_hash_set *set, const struct gw_hash_set *other);

#endif
