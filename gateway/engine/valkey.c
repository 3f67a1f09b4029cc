/* valkey.c: the engine `valkey`: several gateways with one sequence, in a Valkey or Redis server.
 *
 * The log is one stream, its ids `<term>-<seq>` are ours. One process at a time takes messages in (the leader, by a
 * lease) and numbers them; every process, the leader too, delivers what it reads back from the log and nothing else.
 * A stream refuses an id that is not above its top, so the first entry of a term shuts out all earlier leaders.
 * docs/decisions has the reasons. */
#include <errno.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/cond.h"
#include "engine/valkey_options.h"
#include "engine/valkey_private.h"
#include "gateway/alloc.h"
#include "gateway/clock.h"
#include "gateway/log.h"
#include "message/cursor.h"

/* How long a process that starts waits for the server. */
#define OPEN_MS  5000
#define PAUSE_MS 200

/* --- opening ---------------------------------------------------------------------------------------------------- */

static char *store_key(const char *prefix, const char *name)
{
    struct gw_buf key = {0};
    gw_buf_printf(&key, "{%s}:%s", prefix, name);
    return gw_buf_take(&key);
}

static void store_keys(struct gw_valkey_keys *keys, const char *prefix)
{
    keys->log = store_key(prefix, "log");
    keys->channels = store_key(prefix, "channels");
    keys->meta = store_key(prefix, "meta");
    keys->lease = store_key(prefix, "lease");
    keys->epoch = store_key(prefix, "epoch");
    keys->histories = store_key(prefix, "h:");
    keys->shared = store_key(prefix, "c:");
}

static void store_pause(void)
{
    nanosleep(&(struct timespec){.tv_nsec = PAUSE_MS * 1000000}, NULL);
}

/* A server that has nothing of this cluster may have lost it, and a process that runs will bring it back: only then
 * does one that has no memory begin anew. */
static bool store_find_epoch(struct gw_engine_store *store, char out[GW_ENGINE_EPOCH_MAX + 1])
{
    char made[GW_EPOCH_MAX + 1];
    int64_t until = gw_monotonic_ms() + 2 * store->lease_ms;
    gw_epoch_make(made);
    for (;;) {
        redisReply *reply = gw_resp_ask(&store->commands, OPEN_MS, "GET", store->keys.epoch, NULL);
        if (!reply)
            return false;
        bool found = reply->type == REDIS_REPLY_STRING && reply->len && reply->len <= GW_ENGINE_EPOCH_MAX;
        if (found)
            snprintf(out, GW_ENGINE_EPOCH_MAX + 1, "%s", reply->str);
        freeReplyObject(reply);
        if (found)
            return true;
        if (gw_monotonic_ms() < until) {
            store_pause();
            continue;
        }
        reply = gw_resp_ask(&store->commands, OPEN_MS, "SET", store->keys.epoch, made, "NX", NULL);
        if (!reply && !gw_resp_is_open(&store->commands))
            return false;
        if (reply)
            freeReplyObject(reply);
    }
}

static bool store_find(struct gw_engine_store *store, struct gw_engine_found *found)
{
    if (!store_find_epoch(store, found->epoch) || !gw_valkey_top(store, &store->commands, &store->read))
        return false;
    redisReply *meta = gw_resp_ask(&store->commands, OPEN_MS, "HMGET", store->keys.meta, "forgotten", "whole", NULL);
    redisReply *mark = meta ? gw_resp_ask(&store->commands, OPEN_MS, "ZSCORE", store->keys.channels, "", NULL) : NULL;
    bool good = mark && meta->type == REDIS_REPLY_ARRAY && meta->elements == 2;
    if (good) {
        bool whole = meta->element[1]->type == REDIS_REPLY_STRING && mark->type == REDIS_REPLY_STRING;
        found->clean = true;
        found->seq = store->read.seq;
        found->forgotten = whole ? strtoull(gw_resp_text(meta->element[0]), NULL, 10) : found->seq;
        if (found->forgotten > found->seq)
            found->forgotten = found->seq;
    }
    if (mark)
        freeReplyObject(mark);
    if (meta)
        freeReplyObject(meta);
    return good;
}

/* A server that throws keys away when its memory is full loses messages without a word. */
static void store_check_policy(struct gw_engine_store *store)
{
    redisReply *reply = gw_resp_ask(&store->commands, OPEN_MS, "INFO", "memory", NULL);
    const char *policy = reply && reply->str ? strstr(reply->str, "maxmemory_policy:") : NULL;
    const char *bound = reply && reply->str ? strstr(reply->str, "maxmemory:") : NULL;
    if (policy && bound && strtoull(bound + 10, NULL, 10) && strncmp(policy + 17, "noeviction", 10) != 0)
        gw_log(GW_LOG_WARN, "engine",
               "%s:%s throws keys away when its memory is full, and messages with them: set its maxmemory-policy to "
               "noeviction",
               store->host, store->port);
    if (reply)
        freeReplyObject(reply);
}

static void store_free(struct gw_engine_store *store)
{
    gw_valkey_asks_fini(store);
    gw_resp_close(&store->commands);
    gw_resp_close(&store->tail);
    SSL_CTX_free(store->server.tls);
    gw_lookup_destroy(store->server.lookup);
    gw_entry_list_clear(&store->packet);
    gw_entry_list_clear(&store->queue);
    gw_entry_list_clear(&store->sent);
    gw_entry_list_clear(&store->memory);
    char *const texts[] = {store->host,          store->port,           store->keys.log,
                           store->keys.channels, store->keys.meta,      store->keys.lease,
                           store->keys.epoch,    store->keys.histories, store->keys.shared};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        free(texts[i]);
    free(store->known);
    pthread_cond_destroy(&store->moved);
    pthread_mutex_destroy(&store->lock);
    pthread_mutex_destroy(&store->line);
    if (store->wake_fd >= 0)
        close(store->wake_fd);
    free(store);
}

static struct gw_engine_store *store_make(const struct gw_valkey_options *own)
{
    struct gw_engine_store *store = gw_calloc(1, sizeof *store);
    char random[GW_EPOCH_MAX + 1];
    gw_epoch_make(random);
    snprintf(store->who, sizeof store->who, "%.128s:%s", own->node, random);
    gw_cond_init(&store->moved);
    pthread_mutex_init(&store->lock, NULL);
    pthread_mutex_init(&store->line, NULL);
    store->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    gw_resp_init(&store->tail);
    gw_resp_init(&store->commands);
    gw_valkey_asks_init(store);
    store_keys(&store->keys, own->prefix);
    store->node = own->node;
    store->server.username = own->username;
    store->server.password = own->password ? own->password : own->file_password;
    store->lease_ms = own->lease_ms;
    store->log_count = own->log_count;
    store->log_bytes = own->log_bytes;
    store->channels = own->channels;
    store->known = gw_calloc(GW_VALKEY_MIDS, sizeof *store->known);
    store->taken = store->safe = 1;
    return store;
}

/* The certificates are read once: others need a restart. NULL: it is good. */
static const char *store_use_tls(struct gw_engine_store *store, const struct gw_valkey_options *own)
{
    store->peer = (struct gw_tls_peer){
        .who = "the engine",
        .host = store->host,
        .key = "engine.valkey.tls",
        .url_key = "engine.valkey.url",
        .plain = "redis://",
        .chain = "redis: tls-cert-file",
        .ca_file = own->ca_file,
        .cert_file = own->cert_file,
        .key_file = own->key_file,
        .verify_hostname = own->verify_hostname,
    };
    store->tls_reason.peer = store->server.peer = &store->peer;
    store->server.tls = gw_tls_peer_context(&store->tls_reason);
    return store->server.tls ? NULL : store->tls_reason.text;
}

static enum gw_err valkey_open(const void *options, struct gw_engine_found *found, struct gw_engine_store **out,
                               struct gw_buf *error)
{
    const struct gw_valkey_options *own = options;
    struct gw_engine_store *store = store_make(own);
    *found = (struct gw_engine_found){0};
    bool tls = false;
    const char *wrong = gw_resp_parse_url(own->url, &store->host, &store->port, &store->server.database, &tls);
    store->server.host = store->host;
    store->server.port = store->port;
    if (!wrong)
        store->server.lookup = gw_lookup_create("engine", "engine.valkey.url", store->host, NULL, NULL);
    if (!wrong && tls)
        wrong = store_use_tls(store, own);
    int64_t until = gw_monotonic_ms() + OPEN_MS;
    bool good = false;
    while (!wrong && !good) {
        good = gw_resp_open(&store->commands, &store->server, OPEN_MS) && store_find(store, found);
        if (good)
            break;
        if (gw_monotonic_ms() >= until)
            wrong = store->commands.error;
        GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "engine", "waiting for %s:%s: %s", store->host, store->port,
                             store->commands.error);
        store_pause();
    }
    if (!good) {
        gw_buf_printf(error, "engine.valkey.url: %s: %s", own->url, wrong);
        store_free(store);
        return GW_ERR_INTERNAL;
    }
    store_check_policy(store);
    memcpy(store->epoch, found->epoch, sizeof store->epoch);
    *out = store;
    return GW_OK;
}

/* Ends the threads that have been started. */
static void store_stop(struct gw_engine_store *store, bool tail, bool lead)
{
    pthread_mutex_lock(&store->lock);
    store->closing = true;
    pthread_cond_broadcast(&store->moved);
    pthread_mutex_unlock(&store->lock);
    gw_valkey_wake(store);
    gw_lookup_interrupt(store->server.lookup);
    gw_resp_interrupt(&store->tail);
    gw_valkey_asks_stop(store);
    if (lead)
        pthread_join(store->lead_thread, NULL);
    if (tail)
        pthread_join(store->tail_thread, NULL);
}

static enum gw_err valkey_start(struct gw_engine_store *store, const struct gw_engine_sink *sink,
                                struct gw_buf *error)
{
    store->sink = *sink;
    gw_resp_close(&store->commands); /* the thread makes its own: also with what it must know of the server */
    bool tail = !pthread_create(&store->tail_thread, NULL, gw_valkey_tail_run, store);
    bool lead = tail && !pthread_create(&store->lead_thread, NULL, gw_valkey_lead_run, store);
    if (!lead || !gw_valkey_asks_start(store)) {
        gw_buf_adds(error, "can't start a thread of the engine");
        store_stop(store, tail, lead);
        return GW_ERR_INTERNAL;
    }
    pthread_setname_np(store->tail_thread, "engine-tail");
    pthread_setname_np(store->lead_thread, "engine");
    store->started = true;
    return GW_OK;
}

static void valkey_close(struct gw_engine_store *store, bool in_order, uint64_t forgotten)
{
    (void)in_order;
    (void)forgotten;
    if (store->started)
        store_stop(store, true, true);
    store_free(store);
}

static struct gw_engine_stats valkey_stats(struct gw_engine_store *store)
{
    pthread_mutex_lock(&store->lock);
    struct gw_engine_stats stats = {
        .leads = store->term != 0,
        .differs = store->leader_digest && store->digest && store->leader_digest != store->digest,
        .term = store->read.term,
        .entries = store->memory.count,
        .waiting = store->queue.bytes + store->sent.bytes,
    };
    pthread_mutex_unlock(&store->lock);
    stats.up = atomic_load(&store->up);
    stats.appended = atomic_load(&store->appended);
    stats.append_ns = atomic_load(&store->append_ns);
    stats.mended = atomic_load(&store->mended);
    stats.fenced = atomic_load(&store->fenced);
    stats.lost = atomic_load(&store->lost);
    stats.redelivered = atomic_load(&store->redelivered);
    stats.takeovers = atomic_load(&store->takeovers);
    return stats;
}

const struct gw_engine gw_engine_valkey = {
    .name = "valkey",
    .options = &gw_valkey_options,
    .open = valkey_open,
    .load = gw_valkey_load,
    .start = valkey_start,
    .append = gw_valkey_append,
    .close = valkey_close,
    .shared = &gw_valkey_shared,
    .stats = valkey_stats,
};
