/* valkey_in.c: messages on their way in, and what the MQTT thread asks about them. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/valkey_private.h"
#include "gateway/clock.h"

/* What may be on its way to the server and back; beyond it the broker's socket is not read. */
#define WINDOW_BYTES (1024 * 1024)

static bool store_leads(struct gw_engine_store *store)
{
    return store->term && store->joined == store->term;
}

enum gw_err gw_valkey_append(struct gw_engine_store *store, struct gw_message_spec *draft)
{
    pthread_mutex_lock(&store->lock);
    bool leads = store_leads(store);
    pthread_mutex_unlock(&store->lock);
    if (!leads)
        return GW_ERR_UPSTREAM_DOWN;
    gw_entry_list_add(&store->packet, gw_entry_of_draft(draft, store->packet_mid, store->packet_hash));
    return GW_OK;
}

/* Gives what was made of a packet its numbers. {lock} is held. */
static void store_queue(struct gw_engine_store *store, struct gw_entry *entry, uint64_t ticket)
{
    entry->id = (struct gw_entry_id){store->term, ++store->seq};
    entry->ticket = ticket;
    gw_entry_list_add(&store->queue, entry);
}

static void valkey_begin(struct gw_engine_store *store, uint16_t mid, uint64_t hash)
{
    store->packet_mid = mid;
    store->packet_hash = hash;
}

static void valkey_commit(struct gw_engine_store *store)
{
    if (!store->packet.count)
        return;
    bool wake = false;
    store->packet.newest->last = true;
    pthread_mutex_lock(&store->lock);
    if (store_leads(store)) {
        uint64_t ticket = ++store->taken;
        for (struct gw_entry *entry; (entry = gw_entry_list_take(&store->packet));)
            store_queue(store, entry, ticket);
        wake = store->queue.count >= GW_VALKEY_MUCH && !store->much;
        store->busy |= wake;
        store->much |= wake;
    }
    pthread_mutex_unlock(&store->lock);
    gw_entry_list_clear(&store->packet);
    if (wake)
        gw_valkey_wake(store);
}

static void valkey_join(struct gw_engine_store *store, uint64_t term)
{
    gw_entry_list_clear(&store->packet);
    pthread_mutex_lock(&store->lock);
    store->joined = term;
    pthread_mutex_unlock(&store->lock);
}

static bool valkey_room(struct gw_engine_store *store)
{
    pthread_mutex_lock(&store->lock);
    bool room = store->queue.bytes + store->sent.bytes < WINDOW_BYTES;
    store->starved |= !room;
    pthread_mutex_unlock(&store->lock);
    return room;
}

static uint64_t valkey_taken(struct gw_engine_store *store)
{
    pthread_mutex_lock(&store->lock);
    uint64_t taken = store->taken;
    pthread_mutex_unlock(&store->lock);
    return taken;
}

static uint64_t valkey_safe(struct gw_engine_store *store)
{
    pthread_mutex_lock(&store->lock);
    uint64_t safe = store_leads(store) ? store->safe : 0;
    pthread_mutex_unlock(&store->lock);
    return safe;
}

static bool valkey_known(struct gw_engine_store *store, uint16_t mid, uint64_t hash)
{
    pthread_mutex_lock(&store->lock);
    const struct gw_valkey_known *known = &store->known[mid];
    /* Identifiers are used again; what is so long ago was another packet. */
    bool same = known->count && known->hash == hash && store->known_count - known->count < GW_VALKEY_MIDS;
    pthread_mutex_unlock(&store->lock);
    if (same)
        atomic_fetch_add(&store->redelivered, 1);
    return same;
}

static void valkey_upstream(struct gw_engine_store *store, bool up)
{
    char state[32];
    snprintf(state, sizeof state, "%c %lld", up ? '1' : '0', (long long)gw_wall_ms());
    const char *const words[] = {"k", "upstream", "s", state, NULL};
    struct gw_entry *entry = gw_entry_control(words);
    pthread_mutex_lock(&store->lock);
    bool leads = store_leads(store);
    if (leads)
        store_queue(store, entry, store->taken);
    pthread_mutex_unlock(&store->lock);
    if (leads)
        gw_valkey_wake(store);
    else
        free(entry);
}

static const char *valkey_node(struct gw_engine_store *store)
{
    return store->node;
}

static void valkey_configure(struct gw_engine_store *store, uint64_t digest)
{
    pthread_mutex_lock(&store->lock);
    store->digest = digest;
    pthread_mutex_unlock(&store->lock);
    gw_valkey_compare(store);
}

const struct gw_engine_shared gw_valkey_shared = {
    .configure = valkey_configure,
    .node = valkey_node,
    .join = valkey_join,
    .begin = valkey_begin,
    .commit = valkey_commit,
    .flush = gw_valkey_flush,
    .room = valkey_room,
    .taken = valkey_taken,
    .safe = valkey_safe,
    .known = valkey_known,
    .upstream = valkey_upstream,
    .ask = gw_valkey_ask,
};
