/* bucket.h: token buckets: a number of things a second, and as many at once. Thread: the owner's. */
#ifndef GATEWAY_BUCKET_H
#define GATEWAY_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

/* Zeroed, it is full. */
struct gw_bucket {
    uint32_t missing; /* thousandths of a thing */
    uint32_t last_ms; /* low bits of the clock when it was last looked at */
};

/* May one more happen? rate: things a second, up to 1,000,000; 0: no bound. now_ms: monotonic. */
static inline bool gw_bucket_take(struct gw_bucket *bucket, uint32_t rate, int64_t now_ms)
{
    if (!rate)
        return true;
    uint64_t gained = (uint64_t)(uint32_t)((uint32_t)now_ms - bucket->last_ms) * rate;
    bucket->last_ms = (uint32_t)now_ms;
    bucket->missing = gained < bucket->missing ? bucket->missing - (uint32_t)gained : 0;
    if (bucket->missing + 1000 > rate * 1000)
        return false;
    bucket->missing += 1000;
    return true;
}

#endif
