/* hash.h: the hash by which channels, topics and filters are looked up. */
#ifndef GATEWAY_HASH_H
#define GATEWAY_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Thread: any. */
uint64_t gw_hash(const char *data, size_t len);

#endif
