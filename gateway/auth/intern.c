#include "auth/intern.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "auth/encode.h"
#include "gateway/alloc.h"
#include "gateway/list.h"

/* Whoever writes tokens writes what goes into the key, so it is found by its SHA-256 and not by a hash that invites
 * collisions; the key itself need not be kept. */
struct intern_entry {
    uint8_t digest[GW_SHA256_SIZE];
    void *object;
    size_t bytes;
    struct intern_entry *next;          /* in the bucket */
    struct intern_entry *newer, **link; /* by last use */
};

struct gw_intern {
    pthread_mutex_t lock;
    size_t max_count, max_bytes, count, bytes, bucket_count;
    struct intern_entry **buckets;
    struct intern_entry *oldest, **end;
    void *(*ref)(void *);
    void (*unref)(void *);
};

struct gw_intern *gw_intern_create(size_t count, size_t bytes, void *(*ref)(void *), void (*unref)(void *))
{
    struct gw_intern *intern = gw_calloc(1, sizeof *intern);
    pthread_mutex_init(&intern->lock, NULL);
    intern->max_count = count;
    intern->max_bytes = bytes;
    for (intern->bucket_count = 16; intern->bucket_count < count; intern->bucket_count *= 2)
        ;
    intern->buckets = gw_calloc(intern->bucket_count, sizeof(struct intern_entry *));
    intern->end = &intern->oldest;
    intern->ref = ref;
    intern->unref = unref;
    return intern;
}

static struct intern_entry **intern_bucket(struct gw_intern *intern, const uint8_t *digest)
{
    uint64_t hash;
    memcpy(&hash, digest, sizeof hash);
    return &intern->buckets[hash & (intern->bucket_count - 1)];
}

static void intern_forget_oldest(struct gw_intern *intern)
{
    struct intern_entry *entry = intern->oldest, **at = intern_bucket(intern, entry->digest);
    while (*at != entry)
        at = &(*at)->next;
    *at = entry->next;
    GW_QUEUE_REMOVE(intern->end, entry, newer, link);
    intern->count--;
    intern->bytes -= entry->bytes;
    intern->unref(entry->object);
    free(entry);
}

void gw_intern_free(struct gw_intern *intern)
{
    if (!intern)
        return;
    while (intern->oldest)
        intern_forget_oldest(intern);
    pthread_mutex_destroy(&intern->lock);
    free(intern->buckets);
    free(intern);
}

/* The lock is held. What is found counts as the last that was used. */
static struct intern_entry *intern_find(struct gw_intern *intern, const uint8_t *digest)
{
    struct intern_entry *entry = *intern_bucket(intern, digest);
    while (entry && memcmp(entry->digest, digest, sizeof entry->digest) != 0)
        entry = entry->next;
    if (entry) {
        GW_QUEUE_REMOVE(intern->end, entry, newer, link);
        GW_QUEUE_ADD(intern->end, entry, newer, link);
    }
    return entry;
}

/* The lock is held. */
static void intern_add(struct gw_intern *intern, const uint8_t *digest, size_t len, void *object)
{
    if (len > intern->max_bytes)
        return;
    while (intern->count && (intern->count >= intern->max_count || intern->bytes + len > intern->max_bytes))
        intern_forget_oldest(intern);
    struct intern_entry *entry = gw_calloc(1, sizeof *entry), **bucket = intern_bucket(intern, digest);
    memcpy(entry->digest, digest, sizeof entry->digest);
    entry->bytes = len;
    entry->object = intern->ref(object);
    entry->next = *bucket;
    *bucket = entry;
    intern->count++;
    intern->bytes += len;
    GW_QUEUE_ADD(intern->end, entry, newer, link);
}

void *gw_intern_get(struct gw_intern *intern, const void *key, size_t len, void *(*make)(void *context),
                    void *context)
{
    uint8_t digest[GW_SHA256_SIZE];
    gw_sha256(key, len, digest);
    pthread_mutex_lock(&intern->lock);
    struct intern_entry *entry = intern_find(intern, digest);
    void *object = entry ? intern->ref(entry->object) : make(context);
    if (!entry && object)
        intern_add(intern, digest, len, object);
    pthread_mutex_unlock(&intern->lock);
    return object;
}

void *gw_intern_find(struct gw_intern *intern, const void *key, size_t len)
{
    uint8_t digest[GW_SHA256_SIZE];
    gw_sha256(key, len, digest);
    pthread_mutex_lock(&intern->lock);
    struct intern_entry *entry = intern_find(intern, digest);
    void *object = entry ? intern->ref(entry->object) : NULL;
    pthread_mutex_unlock(&intern->lock);
    return object;
}

void gw_intern_put(struct gw_intern *intern, const void *key, size_t len, void *object)
{
    uint8_t digest[GW_SHA256_SIZE];
    gw_sha256(key, len, digest);
    pthread_mutex_lock(&intern->lock);
    if (!intern_find(intern, digest))
        intern_add(intern, digest, len, object);
    pthread_mutex_unlock(&intern->lock);
}
