/* recall.c: what is remembered of sessions, so that their clients can recover them. */
#include "socketio/recall.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "gateway/alloc.h"
#include "gateway/clock.h"
#include "gateway/hash.h"
#include "gateway/list.h"
#include "socketio/engine.h"

#define BUCKETS 4096

/* One reference of the session, one of the entry or of the letter that ends the session. */
struct sio_owner {
    atomic_uint refs;
    unsigned worker; /* {lock} */
    struct sio *sio; /* {lock}, changed by its worker only; NULL: gone, or on its way */
    char pid[SIO_PID_MAX + 1];
};

struct entry {
    struct entry *next;               /* in the bucket */
    struct entry *later, **over_link; /* of those whose session is over, in the order in which they are forgotten */
    struct sio_owner *owner;          /* NULL: the session is over */
    struct sio_filter *filters;
    char *name; /* of the identity; NULL: nobody in particular */
    char *space;
    int64_t until_ms;
    enum gw_identity_kind kind;
    char pid[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct entry *buckets[BUCKETS];
static struct entry *first, **over_end = &first; /* of those whose session is over */
static size_t over_count;

bool gw_sio_pid_valid(const char *pid, size_t len)
{
    return len && len <= SIO_PID_MAX && gw_base64url_text(pid, len);
}

void gw_sio_filters_free(struct sio_filter *filters)
{
    while (filters) {
        struct sio_filter *filter = filters;
        filters = filter->next;
        free(filter);
    }
}

static struct sio_filter *filters_copy(const struct sio_filter *filters)
{
    struct sio_filter *copies = NULL, **end = &copies;
    for (; filters; filters = filters->next) {
        size_t size = sizeof *filters + filters->size;
        struct sio_filter *copy = gw_malloc(size);
        memcpy(copy, filters, size);
        copy->next = NULL;
        *end = copy;
        end = &copy->next;
    }
    return copies;
}

static void owner_unref(struct sio_owner *owner)
{
    if (owner && atomic_fetch_sub_explicit(&owner->refs, 1, memory_order_acq_rel) == 1)
        free(owner);
}

/* --- the table; the lock is held ------------------------------------------------------------------------------- */

static struct entry **recall_at(const char *pid)
{
    struct entry **at = &buckets[gw_hash(pid, strlen(pid)) % BUCKETS];
    while (*at && strcmp((*at)->pid, pid) != 0)
        at = &(*at)->next;
    return at;
}

static void recall_unlist(struct entry *entry)
{
    if (entry->owner)
        return;
    GW_QUEUE_REMOVE(over_end, entry, later, over_link);
    over_count--;
}

static void recall_list(struct entry *entry)
{
    GW_QUEUE_ADD(over_end, entry, later, over_link);
    over_count++;
}

static void recall_remove(struct entry **at)
{
    struct entry *entry = *at;
    recall_unlist(entry);
    *at = entry->next;
    owner_unref(entry->owner);
    gw_sio_filters_free(entry->filters);
    free(entry->name);
    free(entry->space);
    free(entry);
}

static void recall_trim(int64_t now_ms, size_t most)
{
    while (first && (over_count > most || first->until_ms <= now_ms))
        recall_remove(recall_at(first->pid));
}

static bool recall_is(const struct entry *entry, const struct sio_claim *claim)
{
    const struct gw_identity *identity = claim->identity;
    if (strcmp(entry->space, claim->space) != 0 || !entry->name != !identity)
        return false;
    return !identity || (entry->kind == identity->kind && !strcmp(entry->name, identity->name));
}

/* --- taking over ----------------------------------------------------------------------------------------------- */

struct eviction {
    struct gw_letter letter; /* first member */
    struct sio_owner *owner;
};

static void eviction_drop(struct gw_letter *letter)
{
    owner_unref(((struct eviction *)letter)->owner);
    free(letter);
}

static void eviction_deliver(struct gw_letter *letter, struct gw_hub *hub)
{
    const struct sio_owner *owner = ((struct eviction *)letter)->owner;
    pthread_mutex_lock(&lock);
    struct sio *sio = owner->worker == gw_hub_worker(hub) ? owner->sio : NULL;
    pthread_mutex_unlock(&lock);
    if (sio)
        gw_eio_end(sio->eio, 1000, "");
    eviction_drop(letter);
}

bool gw_sio_recall_take(struct gw_hub *hub, const struct sio_claim *claim, struct sio_filter **filters)
{
    struct sio_owner *owner = NULL;
    unsigned worker = 0;
    *filters = NULL;
    pthread_mutex_lock(&lock);
    recall_trim(gw_monotonic_ms(), SIZE_MAX);
    struct entry **at = recall_at(claim->pid);
    bool known = *at && recall_is(*at, claim);
    if (known) {
        owner = (*at)->owner;
        worker = owner ? owner->worker : 0;
        *filters = (*at)->filters;
        (*at)->filters = NULL;
        if (owner)
            atomic_fetch_add_explicit(&owner->refs, 1, memory_order_relaxed);
        recall_remove(at);
    }
    pthread_mutex_unlock(&lock);
    if (owner) {
        struct eviction *eviction = gw_calloc(1, sizeof *eviction);
        eviction->letter = (struct gw_letter){.deliver = eviction_deliver, .drop = eviction_drop};
        eviction->owner = owner;
        gw_hub_send(hub, worker, &eviction->letter);
    }
    return known;
}

/* --- the life of a session ------------------------------------------------------------------------------------- */

struct sio_owner *gw_sio_recall_begin(const struct sio_claim *claim, struct sio *sio, unsigned worker)
{
    size_t len = strlen(claim->pid);
    struct sio_owner *owner = gw_calloc(1, sizeof *owner);
    atomic_init(&owner->refs, 2);
    owner->worker = worker;
    owner->sio = sio;
    memcpy(owner->pid, claim->pid, len);
    struct entry *entry = gw_calloc(1, sizeof *entry + len + 1);
    memcpy(entry->pid, claim->pid, len + 1);
    entry->owner = owner;
    entry->space = gw_strdup(claim->space);
    if (claim->identity) {
        entry->name = gw_strdup(claim->identity->name);
        entry->kind = claim->identity->kind;
    }
    pthread_mutex_lock(&lock);
    struct entry **at = recall_at(claim->pid);
    if (*at)
        recall_remove(at); /* another client's, or one that came back twice at once */
    at = recall_at(claim->pid);
    entry->next = *at;
    *at = entry;
    pthread_mutex_unlock(&lock);
    return owner;
}

const char *gw_sio_owner_pid(const struct sio_owner *owner)
{
    return owner->pid;
}

void gw_sio_recall_note(struct sio_owner *owner, const struct sio_filter *filters)
{
    if (!owner)
        return;
    struct sio_filter *copies = filters_copy(filters);
    pthread_mutex_lock(&lock);
    struct entry *entry = *recall_at(owner->pid);
    if (entry && entry->owner == owner) {
        struct sio_filter *old = entry->filters;
        entry->filters = copies;
        copies = old;
    }
    pthread_mutex_unlock(&lock);
    gw_sio_filters_free(copies);
}

void gw_sio_recall_move(struct sio_owner *owner, struct sio *sio, unsigned worker)
{
    if (!owner)
        return;
    pthread_mutex_lock(&lock);
    owner->sio = sio;
    owner->worker = worker;
    pthread_mutex_unlock(&lock);
}

void gw_sio_recall_end(struct sio_owner *owner, int64_t keep_ms, size_t most)
{
    if (!owner)
        return;
    int64_t now_ms = gw_monotonic_ms();
    pthread_mutex_lock(&lock);
    owner->sio = NULL;
    struct entry **at = recall_at(owner->pid), *entry = *at;
    if (entry && entry->owner == owner && keep_ms) {
        entry->owner = NULL;
        owner_unref(owner);
        entry->until_ms = now_ms + keep_ms;
        recall_list(entry);
    } else if (entry && entry->owner == owner) {
        recall_remove(at);
    }
    recall_trim(now_ms, most);
    pthread_mutex_unlock(&lock);
    owner_unref(owner);
}
