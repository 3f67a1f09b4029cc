/* ledger.c: an engine that several gateways share, as somebody outside of this tree would write it: one file that
 * they all append to and read back, and a lease in its head. It works as a log does whose server numbers the entries
 * and takes one only behind the entry that the writer expects to be the last (JetStream's
 * `Nats-Expected-Last-Sequence`): whoever adds a group finds the file as long as it left it, or leads no more. Nobody
 * mends: a file forgets nothing. A process that starts reads all of it again, so there is no load().
 *
 *   ledger: { path: /shared/ledger, node: one, lease: 500ms } */
#include "ledger.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WINDOW_BYTES (1024 * 1024)

static const struct gw_field ledger_fields[] = {
    {.key = "path",
     .type = GW_FIELD_STRING,
     .offset = offsetof(struct ledger_options, path),
     .required = true,
     .doc = "The file."},
    {.key = "node",
     .type = GW_FIELD_STRING,
     .offset = offsetof(struct ledger_options, node),
     .required = true,
     .doc = "This gateway's name, different on each."},
    {.key = "lease",
     .type = GW_FIELD_DURATION,
     .offset = offsetof(struct ledger_options, lease_ms),
     .min = 100,
     .max = 10000,
     .def = "500ms",
     .doc = "How long the leader may be silent."},
    {.key = NULL},
};

static const struct gw_options ledger_table = {
    .key = "ledger", .doc = "One file for several.", .size = sizeof(struct ledger_options), .fields = ledger_fields};

/* --- messages in ------------------------------------------------------------------------------------------------ */

static void ledger_begin(struct gw_engine_store *store, uint16_t mid, uint64_t hash)
{
    store->mid = mid;
    store->hash = hash;
    store->count = 0;
    gw_buf_clear(&store->packet);
}

static enum gw_err ledger_append(struct gw_engine_store *store, struct gw_message_spec *draft)
{
    pthread_mutex_lock(&store->lock);
    bool leads = store->term && store->joined == store->term;
    pthread_mutex_unlock(&store->lock);
    if (!leads)
        return GW_ERR_UPSTREAM_DOWN;
    struct ledger_item item = {.spec = *draft, .watched = draft->watched.data != NULL};
    if (item.watched)
        item.watched_at = (size_t)(draft->watched.data - draft->json);
    gw_buf_add(&store->packet, &item, sizeof item);
    gw_buf_add(&store->packet, draft->channel, draft->channel_len);
    gw_buf_add(&store->packet, draft->json, draft->json_len);
    gw_buf_add(&store->packet, draft->payload, draft->payload_len);
    gw_buf_add(&store->packet, draft->properties.data, draft->properties.len);
    store->count++;
    return GW_OK;
}

/* {lock} */
static void ledger_add(struct gw_engine_store *store, struct ledger_group *group)
{
    group->bytes = (uint32_t)(sizeof *group + store->packet.len);
    group->term = store->term;
    group->seq = store->seq += group->count;
    gw_buf_add(&store->queue, group, sizeof *group);
    gw_buf_add(&store->queue, store->packet.data, store->packet.len);
    store->queued = store->taken;
    pthread_cond_broadcast(&store->change);
}

static void ledger_commit(struct gw_engine_store *store)
{
    struct ledger_group group = {
        .kind = LEDGER_PACKET, .count = store->count, .mid = store->mid, .hash = store->hash};
    pthread_mutex_lock(&store->lock);
    if (store->count && store->term && store->joined == store->term) {
        store->taken++;
        store->appended += store->count;
        ledger_add(store, &group);
    }
    pthread_mutex_unlock(&store->lock);
    ledger_begin(store, 0, 0);
}

static void ledger_upstream(struct gw_engine_store *store, bool up)
{
    struct ledger_group group = {.kind = LEDGER_UPSTREAM, .up = up, .since = ledger_now()};
    ledger_begin(store, 0, 0);
    pthread_mutex_lock(&store->lock);
    if (store->term && store->joined == store->term)
        ledger_add(store, &group);
    pthread_mutex_unlock(&store->lock);
}

static void ledger_join(struct gw_engine_store *store, uint64_t term)
{
    ledger_begin(store, 0, 0);
    pthread_mutex_lock(&store->lock);
    store->joined = term;
    pthread_mutex_unlock(&store->lock);
}

static bool ledger_room(struct gw_engine_store *store)
{
    pthread_mutex_lock(&store->lock);
    bool room = store->queue.len < WINDOW_BYTES;
    pthread_mutex_unlock(&store->lock);
    return room;
}

static uint64_t ledger_taken(struct gw_engine_store *store)
{
    pthread_mutex_lock(&store->lock);
    uint64_t taken = store->taken;
    pthread_mutex_unlock(&store->lock);
    return taken;
}

static uint64_t ledger_safe(struct gw_engine_store *store)
{
    pthread_mutex_lock(&store->lock);
    uint64_t safe = store->term && store->joined == store->term ? store->safe : 0;
    pthread_mutex_unlock(&store->lock);
    return safe;
}

static bool ledger_is_known(struct gw_engine_store *store, uint16_t mid, uint64_t hash)
{
    pthread_mutex_lock(&store->lock);
    bool known = store->known[mid].there && store->known[mid].hash == hash;
    store->redelivered += known;
    pthread_mutex_unlock(&store->lock);
    return known;
}

static const char *ledger_node(struct gw_engine_store *store)
{
    return store->options->node;
}

static void ledger_configure(struct gw_engine_store *store, uint64_t digest)
{
    pthread_mutex_lock(&store->lock);
    store->digest = digest;
    pthread_mutex_unlock(&store->lock);
}

/* --- opening ---------------------------------------------------------------------------------------------------- */

static enum gw_err ledger_open(const void *options, struct gw_engine_found *found, struct gw_engine_store **out,
                               struct gw_buf *error)
{
    const struct ledger_options *own = options;
    struct gw_engine_store *store = calloc(1, sizeof *store);
    struct ledger_head head = {.magic = "ledger"};
    store->options = own;
    store->fd = open(own->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    snprintf(store->who, sizeof store->who, "%.40s:%d", own->node, (int)getpid());
    store->read = LEDGER_START;
    pthread_mutex_init(&store->lock, NULL);
    pthread_cond_init(&store->change, NULL);
    bool good = store->fd >= 0;
    if (good) {
        ledger_lock(store);
        if (pread(store->fd, &head, sizeof head, 0) != sizeof head) { /* the first of all */
            snprintf(head.epoch, sizeof head.epoch, "%llx", (unsigned long long)ledger_now());
            good = pwrite(store->fd, &head, sizeof head, 0) == sizeof head && !ftruncate(store->fd, LEDGER_START);
        }
        ledger_unlock(store);
    }
    if (!good || strcmp(head.magic, "ledger") != 0) {
        gw_buf_printf(error, "ledger.path: %s: it can't be read and written, or is no ledger", own->path);
        return GW_ERR_INTERNAL;
    }
    memcpy(store->epoch, head.epoch, sizeof store->epoch);
    *found = (struct gw_engine_found){.clean = true};
    memcpy(found->epoch, store->epoch, sizeof found->epoch);
    *out = store;
    return GW_OK;
}

static enum gw_err ledger_start(struct gw_engine_store *store, const struct gw_engine_sink *sink,
                                struct gw_buf *error)
{
    store->sink = *sink;
    store->started = !pthread_create(&store->tail, NULL, ledger_tail_run, store);
    if (store->started && !pthread_create(&store->lead, NULL, ledger_lead_run, store))
        return GW_OK;
    gw_buf_adds(error, "can't start a thread");
    return GW_ERR_INTERNAL;
}

static void ledger_close(struct gw_engine_store *store, bool in_order, uint64_t forgotten)
{
    (void)in_order, (void)forgotten;
    pthread_mutex_lock(&store->lock);
    store->closing = true;
    pthread_cond_broadcast(&store->change);
    pthread_mutex_unlock(&store->lock);
    if (store->started) {
        pthread_join(store->lead, NULL);
        pthread_join(store->tail, NULL);
    }
    gw_buf_fini(&store->packet);
    gw_buf_fini(&store->queue);
    close(store->fd);
    pthread_cond_destroy(&store->change);
    pthread_mutex_destroy(&store->lock);
    free(store);
}

static struct gw_engine_stats ledger_stats(struct gw_engine_store *store)
{
    pthread_mutex_lock(&store->lock);
    struct gw_engine_stats stats = {.up = true,
                                    .leads = store->term,
                                    .term = store->read_term,
                                    .appended = store->appended,
                                    .fenced = store->fenced,
                                    .takeovers = store->takeovers,
                                    .redelivered = store->redelivered,
                                    .differs = store->leader_digest && store->leader_digest != store->digest};
    pthread_mutex_unlock(&store->lock);
    return stats;
}

static const struct gw_engine_shared ledger_shared = {
    .node = ledger_node,
    .configure = ledger_configure,
    .join = ledger_join,
    .begin = ledger_begin,
    .commit = ledger_commit,
    .room = ledger_room,
    .taken = ledger_taken,
    .safe = ledger_safe,
    .known = ledger_is_known,
    .upstream = ledger_upstream,
    .ask = ledger_ask,
};

const struct gw_engine gw_engine_ledger = {
    .name = "ledger",
    .options = &ledger_table,
    .open = ledger_open,
    .start = ledger_start,
    .append = ledger_append,
    .close = ledger_close,
    .shared = &ledger_shared,
    .stats = ledger_stats,
};
