/* intern.h: equal things get the same object, within a bound.
 *
 * A table from bytes to objects that are counted by references. It holds a reference of its own to each, and at its
 * bound lets go of the one that was asked for the longest ago: who still has that keeps it, and the next who asks
 * gets another, equal one. Thread: any; it has a lock. */
#ifndef GW_AUTH_INTERN_H
#define GW_AUTH_INTERN_H

#include <stddef.h>

struct gw_intern;

/* At most `count` entries, whose keys have at most `bytes` bytes together. */
struct gw_intern *gw_intern_create(size_t count, size_t bytes, void *(*ref)(void *), void (*unref)(void *));
/* NULL is fine. */
void gw_intern_free(struct gw_intern *intern);

/* The object for the key, made by `make` if there is none yet; a reference for the caller. `make` runs under the lock
 * and returns its first reference, or NULL, which is returned and not kept. */
void *gw_intern_get(struct gw_intern *intern, const void *key, size_t len, void *(*make)(void *context),
                    void *context);

/* The same in two steps, for what takes too long to make under a lock. find() returns a reference for the caller, or
 * NULL. put() takes a reference of its own; an object that is there already stays. */
void *gw_intern_find(struct gw_intern *intern, const void *key, size_t len);
void gw_intern_put(struct gw_intern *intern, const void *key, size_t len, void *object);

#endif
