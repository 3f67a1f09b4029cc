/* valkey_tail.c: the thread that reads the log, and hands what it finds to the gateway: also what this process itself
 * has sent. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cond.h"
#include "engine/valkey_private.h"
#include "gateway/clock.h"
#include "gateway/log.h"

#define BLOCK_MS   1000
#define BLOCK_TEXT "1000"
#define RETRY_MS   200
#define READ_MAX   "500"

struct tail {
    struct gw_engine_store *store;
    bool told_up, told; /* what was told last, and whether anything was */
    bool told_engine;
    bool safe;     /* more of our packets are: the sink has to hear of it */
    int64_t since; /* when the connection was made, or lost */
};

/* --- what is known by the log ----------------------------------------------------------------------------------- */

static void note_control(struct gw_engine_store *store, const struct gw_entry *entry)
{
    struct gw_slice kind = gw_entry_field(entry, "k"), state = gw_entry_field(entry, "s");
    if (!strcmp(kind.data, "fence")) {
        struct gw_slice who = gw_entry_field(entry, "n"), run = gw_entry_field(entry, "r");
        snprintf(store->leader, sizeof store->leader, "%s", who.data ? who.data : "");
        snprintf(store->run, sizeof store->run, "%s", run.data ? run.data : "");
        struct gw_slice digest = gw_entry_field(entry, "x");
        store->leader_digest = digest.data ? strtoull(digest.data, NULL, 16) : 0;
        atomic_store(&store->stuck, false);
    }
    if (!strcmp(kind.data, "upstream") && state.data) {
        store->cluster_up = state.data[0] == '1';
        store->cluster_since = strtoll(state.data + 1, NULL, 10);
    } else {
        if (store->cluster_up)
            store->cluster_since = gw_wall_ms();
        store->cluster_up = false;
    }
}

void gw_valkey_note(struct gw_engine_store *store, struct gw_entry *entry)
{
    if (!entry->message)
        note_control(store, entry);
    if (entry->mid)
        store->known[entry->mid] = (struct gw_valkey_known){entry->hash, ++store->known_count};
    store->read = entry->id;
    gw_entry_list_add(&store->memory, entry);
    while (store->memory.count > store->log_count || store->memory.bytes > store->log_bytes)
        free(gw_entry_list_take(&store->memory));
}

void gw_valkey_compare(struct gw_engine_store *store)
{
    char who[GW_VALKEY_WHO_MAX];
    pthread_mutex_lock(&store->lock);
    bool differs = store->leader_digest && store->digest && store->leader_digest != store->digest;
    snprintf(who, sizeof who, "%.*s", (int)strcspn(store->leader, ":"), store->leader);
    pthread_mutex_unlock(&store->lock);
    if (differs)
        gw_log(GW_LOG_WARN, "engine",
               "the routes here are not those of '%s', which takes messages in: clients get other channels or "
               "histories here (the same routes on each gateway expected)",
               who);
}

/* --- telling ---------------------------------------------------------------------------------------------------- */

static void tail_tell(struct tail *tail)
{
    struct gw_engine_store *store = tail->store;
    pthread_mutex_lock(&store->lock);
    bool reads = atomic_load(&store->up), stuck = atomic_load(&store->stuck);
    bool engine = reads && !stuck, up = engine && store->cluster_up;
    int64_t since = !reads ? tail->since : stuck ? store->stuck_since : store->cluster_since;
    pthread_mutex_unlock(&store->lock);
    if (tail->told && tail->told_up == up && (up || tail->told_engine == engine))
        return;
    tail->told = true;
    tail->told_up = up;
    tail->told_engine = engine;
    store->sink.upstream(store->sink.context, up, since, !engine);
}

bool gw_valkey_is_refusal(const char *error)
{
    static const char *const ours[] = {"FENCED", "CUT", "NOLEASE"};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (!strncmp(error, ours[i], strlen(ours[i])))
            return false;
    return strspn(error, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") >= 2;
}

bool gw_valkey_is_news(struct gw_engine_store *store, const char *why)
{
    size_t len = strnlen(why, sizeof store->told - 1);
    bool news = strncmp(store->told, why, len) != 0 || store->told[len];
    memcpy(store->told, why, len);
    store->told[len] = '\0';
    return news;
}

void gw_valkey_stuck(struct gw_engine_store *store, const char *why)
{
    pthread_mutex_lock(&store->lock);
    if (!atomic_exchange(&store->stuck, true))
        store->stuck_since = gw_wall_ms();
    pthread_mutex_unlock(&store->lock);
    if (gw_valkey_is_news(store, why))
        gw_log(GW_LOG_ERROR, "engine", "no gateway can take messages in: %s:%s: %s; the broker keeps them",
               store->host, store->port, why);
}

static void tail_lost(struct gw_engine_store *store, uint64_t to)
{
    atomic_fetch_add(&store->lost, 1);
    gw_log(GW_LOG_WARN, "engine", "messages up to number %llu may be missing here: clients are told of a gap",
           (unsigned long long)to);
    store->sink.lost(store->sink.context, to);
}

/* Is there a hole before this entry? Within a term each number is one above the one before it, and a fence says
 * behind what it was written. */
static bool tail_is_hole(const struct gw_engine_store *store, const struct gw_entry *entry)
{
    struct gw_entry_id before;
    if (entry->id.term == store->read.term)
        return entry->id.seq != store->read.seq + 1;
    struct gw_slice behind = gw_entry_field(entry, "b"), lost = gw_entry_field(entry, "l");
    if (entry->message || !gw_entry_id_parse(behind.data, &before))
        return true;
    return (lost.len && lost.data[0] == '1') || gw_entry_id_compare(before, store->read) != 0;
}

/* Takes the entry over. */
static void tail_handle(struct tail *tail, struct gw_entry *entry)
{
    struct gw_engine_store *store = tail->store;
    struct gw_message_spec spec;
    if (gw_entry_id_compare(entry->id, store->read) <= 0) {
        free(entry);
        return;
    }
    if (tail_is_hole(store, entry))
        tail_lost(store, entry->message ? entry->id.seq - 1 : entry->id.seq);
    if (gw_entry_spec(entry, &spec)) {
        spec.epoch = store->epoch;
        spec.born_ns = gw_monotonic_ns();
        store->sink.message(store->sink.context, &spec);
    }
    bool control = !entry->message, resigned = control && !strcmp(gw_entry_field(entry, "k").data, "resign");
    bool fence = control && !strcmp(gw_entry_field(entry, "k").data, "fence");
    struct gw_entry_id id = entry->id;
    pthread_mutex_lock(&store->lock);
    gw_valkey_note(store, entry);
    while (store->sent.oldest && gw_entry_id_compare(store->sent.oldest->id, id) <= 0) {
        /* The log has the whole packet: a batch goes in at once, and no packet is divided. */
        if (store->sent.oldest->id.term == store->term && gw_valkey_is_safe(store, store->sent.oldest->ticket))
            tail->safe = true;
        free(gw_entry_list_take(&store->sent));
    }
    if (tail->safe && !gw_entry_id_compare(store->newest, id))
        atomic_store(&store->append_ns, gw_monotonic_ns() - store->newest_ns);
    store->resigned |= resigned;
    pthread_mutex_unlock(&store->lock);
    if (fence)
        gw_valkey_compare(store);
    if (control)
        tail_tell(tail);
    if (resigned)
        gw_valkey_wake(store);
}

/* --- reading ---------------------------------------------------------------------------------------------------- */

/* One stream with entries, as XREAD returns it: [[name, [entry, ...]]]. */
static bool tail_is_stream(const redisReply *reply)
{
    const redisReply *stream = reply->type == REDIS_REPLY_ARRAY && reply->elements == 1 ? reply->element[0] : NULL;
    return stream && stream->type == REDIS_REPLY_ARRAY && stream->elements == 2 &&
           stream->element[1]->type == REDIS_REPLY_ARRAY && stream->element[1]->elements;
}

static void tail_take(struct tail *tail, const redisReply *reply)
{
    struct gw_engine_store *store = tail->store;
    const redisReply *list = reply->element[0]->element[1];
    for (size_t i = 0; i < list->elements && !atomic_load(&store->closing); i++) {
        struct gw_entry *entry = gw_entry_of_reply(list->element[i]);
        if (entry)
            tail_handle(tail, entry);
        else
            GW_LOG_ONCE_A_SECOND(GW_LOG_ERROR, "engine", "an entry of the log is not ours: left out");
    }
    pthread_mutex_lock(&store->lock);
    pthread_cond_broadcast(&store->moved);
    bool starved = store->starved;
    store->starved = false;
    pthread_mutex_unlock(&store->lock);
    if (starved || tail->safe) /* what was read back makes room */
        store->sink.safe(store->sink.context);
    tail->safe = false;
}

/* Numbers may have begun anew while we were away: somebody found the server empty, and had no memory. */
static bool tail_check_epoch(struct tail *tail)
{
    struct gw_engine_store *store = tail->store;
    redisReply *reply = gw_resp_ask(&store->tail, store->lease_ms, "GET", store->keys.epoch, NULL);
    if (!reply)
        return false;
    if (reply->type == REDIS_REPLY_STRING && reply->len <= GW_ENGINE_EPOCH_MAX && strcmp(reply->str, store->epoch)) {
        gw_log(GW_LOG_WARN, "engine", "the numbers have begun anew (the engine was found empty): clients are told");
        pthread_mutex_lock(&store->lock);
        snprintf(store->epoch, sizeof store->epoch, "%s", reply->str);
        store->read = (struct gw_entry_id){0};
        gw_entry_list_clear(&store->memory);
        memset(store->known, 0, GW_VALKEY_MIDS * sizeof *store->known);
        pthread_mutex_unlock(&store->lock);
        store->sink.epoch(store->sink.context, store->epoch);
    }
    freeReplyObject(reply);
    return true;
}

static void tail_rest(struct gw_engine_store *store)
{
    int64_t until_ms = gw_monotonic_ms() + RETRY_MS;
    pthread_mutex_lock(&store->lock);
    while (!store->closing && gw_cond_wait_until(&store->moved, &store->lock, until_ms))
        continue;
    pthread_mutex_unlock(&store->lock);
}

static bool tail_read(struct tail *tail)
{
    struct gw_engine_store *store = tail->store;
    char id[GW_ENTRY_ID_SIZE];
    int64_t asked_ms = gw_monotonic_ms();
    gw_entry_id_format(id, store->read);
    redisReply *reply = gw_resp_ask(&store->tail, BLOCK_MS + store->lease_ms, "XREAD", "COUNT", READ_MAX, "BLOCK",
                                    BLOCK_TEXT, "STREAMS", store->keys.log, id, NULL);
    if (!reply)
        return false;
    bool stream = tail_is_stream(reply), good = stream || reply->type == REDIS_REPLY_NIL;
    if (stream)
        tail_take(tail, reply);
    else if (!good)
        snprintf(store->tail.error, sizeof store->tail.error, "its reply to XREAD is not understood");
    else if (gw_monotonic_ms() - asked_ms < BLOCK_MS / 2)
        tail_rest(store); /* something in between does not wait for us */
    freeReplyObject(reply);
    return good;
}

static void tail_set_up(struct tail *tail, bool up)
{
    struct gw_engine_store *store = tail->store;
    if (atomic_exchange(&store->up, up) != up) {
        tail->since = gw_wall_ms();
        if (up)
            gw_log(GW_LOG_INFO, "engine", "connected to %s:%s", store->host, store->port);
        else if (!atomic_load(&store->closing))
            gw_log(GW_LOG_WARN, "engine", "the connection to %s:%s is lost: %s", store->host, store->port,
                   store->tail.error);
    }
    tail_tell(tail);
}

void *gw_valkey_tail_run(void *context)
{
    struct gw_engine_store *store = context;
    struct tail tail = {.store = store, .since = gw_wall_ms()};
    while (!atomic_load(&store->closing)) {
        bool open = gw_resp_is_open(&store->tail);
        if (!open)
            open = gw_resp_open(&store->tail, &store->server, store->lease_ms) && tail_check_epoch(&tail);
        if (open) {
            tail_set_up(&tail, true);
            open = tail_read(&tail);
        }
        if (!open) {
            tail_set_up(&tail, false);
            gw_resp_close(&store->tail);
            tail_rest(store);
        }
    }
    gw_resp_close(&store->tail);
    return NULL;
}
