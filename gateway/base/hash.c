/* hash.c: FNV-1a with a final mix. */
#include "gateway/hash.h"

uint64_t gw_hash(const char *data, size_t len)
{
    /* FNV-1a with a final mix. Channel names come from the broker and their number is bounded, so hash flooding costs
     * at most a longer chain; a keyed hash would cost every message. */
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)data[i]) * 0x100000001b3u;
    hash ^= hash >> 32;
    return hash * 0x9e3779b97f4a7c15u;
}
