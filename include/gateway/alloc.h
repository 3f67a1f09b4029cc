/* alloc.h: allocation that does not fail: it ends the process with a message instead.
 *
 * Everything that clients or the broker can make grow is bounded by configuration before memory is asked for, so a
 * failed malloc means that the machine is out of memory, and carrying on would break promises silently.
 * Thread: any. */
#ifndef GATEWAY_ALLOC_H
#define GATEWAY_ALLOC_H

#include <stddef.h>
#include <string.h>

void *gw_malloc(size_t size) __attribute__((malloc, returns_nonnull));
void *gw_calloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
/* Checks count * size for overflow. */
void *gw_reallocarray(void *block, size_t count, size_t size) __attribute__((returns_nonnull));
/* Makes room for one more item: an array that is full is made twice as large, and has `start` items at first. */
#define GW_GROW(items, count, allocated, start)                                                                      \
    do {                                                                                                             \
        if ((count) == (allocated)) {                                                                                \
            (allocated) = (allocated) ? (allocated)*2 : (start);                                                     \
            (items) = gw_reallocarray((items), (allocated), sizeof *(items));                                        \
        }                                                                                                            \
    } while (0)

/* The same for an array that begins in `place`, which is its owner's and stays there. */
#define GW_GROW_FROM(place, items, count, allocated)                                                                 \
    do {                                                                                                             \
        if ((count) == (allocated)) {                                                                                \
            void *larger_ = gw_reallocarray((items) == (place) ? NULL : (items), (allocated)*2, sizeof *(items));    \
            if ((items) == (place))                                                                                  \
                memcpy(larger_, (place), (count) * sizeof *(items));                                                 \
            (items) = larger_;                                                                                       \
            (allocated) *= 2;                                                                                        \
        }                                                                                                            \
    } while (0)

char *gw_strdup(const char *text) __attribute__((malloc, returns_nonnull));
char *gw_strndup(const char *text, size_t len) __attribute__((malloc, returns_nonnull));

#endif
