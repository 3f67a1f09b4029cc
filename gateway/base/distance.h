/* distance.h: how far a mistyped word is from the one that was meant. Thread: any. */
#ifndef GW_BASE_DISTANCE_H
#define GW_BASE_DISTANCE_H

#include <stddef.h>

/* The Levenshtein distance; SIZE_MAX for words of more than 38 bytes. */
size_t gw_distance(const char *a, const char *b);

#endif
