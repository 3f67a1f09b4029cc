/* ledger_log.c: the threads that read the file, and that add to it. */
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ledger.h"

#define LOOK_MS 3

int64_t ledger_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

void ledger_lock(struct gw_engine_store *store)
{
    while (flock(store->fd, LOCK_EX))
        continue;
}

void ledger_unlock(struct gw_engine_store *store)
{
    flock(store->fd, LOCK_UN);
}

/* --- reading ---------------------------------------------------------------------------------------------------- */

static bool ledger_peek(int fd, off_t at, struct ledger_group *group)
{
    struct stat status;
    return pread(fd, group, sizeof *group, at) == sizeof *group && !fstat(fd, &status) &&
           status.st_size - at >= (off_t)group->bytes;
}

static const char *tail_message(struct gw_engine_store *store, const char *at, uint64_t seq)
{
    struct ledger_item item;
    memcpy(&item, at, sizeof item);
    struct gw_message_spec *spec = &item.spec;
    spec->channel = at + sizeof item;
    spec->json = spec->channel + spec->channel_len;
    spec->payload = spec->json + spec->json_len;
    spec->properties.data = spec->payload + spec->payload_len;
    at = spec->properties.data + spec->properties.len;
    spec->watched.data = item.watched ? spec->json + item.watched_at : NULL;
    if (spec->state)
        spec->json = spec->payload = gw_state_json((enum gw_state)spec->state).data;
    spec->route = GW_ROUTE_BY_NAME;
    spec->epoch = store->epoch;
    spec->seq = seq;
    store->sink.message(store->sink.context, spec);
    return at;
}

/* Handles a group, which is there as a whole. */
static void tail_group(struct gw_engine_store *store, const struct ledger_group *group, const char *at)
{
    for (uint32_t i = 0; i < group->count; i++)
        at = tail_message(store, at, group->seq - group->count + 1 + i);
    pthread_mutex_lock(&store->lock);
    store->read += group->bytes;
    store->read_term = group->term;
    store->read_seq = group->seq;
    if (group->mid)
        store->known[group->mid] = (struct ledger_known){group->hash, true};
    if (group->kind == LEDGER_FENCE)
        store->leader_digest = group->hash;
    pthread_cond_broadcast(&store->change);
    pthread_mutex_unlock(&store->lock);
    if (group->kind != LEDGER_PACKET)
        store->sink.upstream(store->sink.context, group->up, group->since, false);
}

static bool ledger_rest(struct gw_engine_store *store, int64_t ms)
{
    struct timespec until;
    pthread_mutex_lock(&store->lock);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += ms * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    if (!store->closing && !store->queue.len && !store->asks)
        pthread_cond_timedwait(&store->change, &store->lock, &until);
    bool open = !store->closing;
    pthread_mutex_unlock(&store->lock);
    return open;
}

void *ledger_tail_run(void *context)
{
    struct gw_engine_store *store = context;
    struct ledger_group group;
    const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000};
    for (bool open = true; open;) {
        pthread_mutex_lock(&store->lock);
        off_t at = store->read;
        open = !store->closing;
        pthread_mutex_unlock(&store->lock);
        if (!ledger_peek(store->fd, at, &group)) {
            nanosleep(&pause, NULL);
            continue;
        }
        char *bytes = malloc(group.bytes);
        if (bytes && pread(store->fd, bytes, group.bytes, at) == (ssize_t)group.bytes)
            tail_group(store, &group, bytes + sizeof group);
        free(bytes);
    }
    return NULL;
}

/* --- leading ---------------------------------------------------------------------------------------------------- */

static void lead_lose(struct gw_engine_store *store)
{
    pthread_mutex_lock(&store->lock);
    store->term = 0;
    store->fenced++;
    gw_buf_clear(&store->queue);
    pthread_mutex_unlock(&store->lock);
    store->sink.lead(store->sink.context, 0);
}

/* The file is ours to add to as long as it ends where we left it. {the file's lock} */
static bool lead_write(struct gw_engine_store *store, const void *bytes, size_t len)
{
    struct stat status;
    if (fstat(store->fd, &status) || status.st_size != store->expected)
        return false;
    if (pwrite(store->fd, bytes, len, store->expected) != (ssize_t)len)
        return ftruncate(store->fd, store->expected) != 0; /* full: it is as it was */
    store->expected += (off_t)len;
    return true;
}

static bool lead_renew(struct gw_engine_store *store, int64_t ms)
{
    struct ledger_head head;
    int64_t now = ledger_now();
    bool free = pread(store->fd, &head, sizeof head, 0) == sizeof head && head.until <= now;
    if (!free && strcmp(head.owner, store->who) != 0)
        return false;
    memcpy(head.owner, store->who, sizeof head.owner);
    head.until = now + ms;
    store->asked = now;
    return pwrite(store->fd, &head, sizeof head, 0) == sizeof head;
}

/* Takes the lease where it is free, and leads once everything is read. */
static void lead_try(struct gw_engine_store *store)
{
    struct ledger_group group;
    ledger_lock(store);
    bool ours = lead_renew(store, store->options->lease_ms);
    pthread_mutex_lock(&store->lock);
    off_t end = store->read;
    struct ledger_group fence = {.kind = LEDGER_FENCE,
                                 .bytes = sizeof fence,
                                 .hash = store->digest,
                                 .term = store->read_term + 1,
                                 .seq = store->read_seq,
                                 .since = ledger_now()};
    pthread_mutex_unlock(&store->lock);
    /* What is not whole behind the last group was being written by one that died. */
    bool leads = ours && !ledger_peek(store->fd, end, &group) && !ftruncate(store->fd, end);
    store->expected = end;
    leads = leads && lead_write(store, &fence, sizeof fence);
    ledger_unlock(store);
    if (!leads)
        return;
    pthread_mutex_lock(&store->lock);
    store->term = fence.term;
    store->seq = fence.seq;
    store->safe = store->taken;
    store->takeovers++;
    pthread_mutex_unlock(&store->lock);
    store->sink.lead(store->sink.context, fence.term);
}

static void lead_turn(struct gw_engine_store *store)
{
    pthread_mutex_lock(&store->lock);
    struct gw_buf groups = store->queue;
    uint64_t ticket = store->queued;
    store->queue = (struct gw_buf){0};
    pthread_mutex_unlock(&store->lock);
    ledger_lock(store);
    bool good = !groups.len || lead_write(store, groups.data, groups.len);
    if (good && ledger_now() - store->asked > store->options->lease_ms / 3)
        good = lead_renew(store, store->options->lease_ms);
    ledger_unlock(store);
    bool some = groups.len;
    gw_buf_fini(&groups);
    if (!good) {
        lead_lose(store);
        return;
    }
    if (!some)
        return;
    pthread_mutex_lock(&store->lock);
    store->safe = ticket;
    pthread_mutex_unlock(&store->lock);
    store->sink.safe(store->sink.context);
}

void *ledger_lead_run(void *context)
{
    struct gw_engine_store *store = context;
    bool open = true;
    while (open) {
        open = ledger_rest(store, store->options->lease_ms / 20);
        ledger_serve(store);
        if (store->term)
            lead_turn(store);
        else if (open)
            lead_try(store);
    }
    if (store->term) { /* the next one need not wait */
        ledger_lock(store);
        (void)!lead_renew(store, 0);
        ledger_unlock(store);
    }
    return NULL;
}
