/* valkey_send.c: batches for the log on their way, and the mending of a log that has lost its end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digits.h"
#include "engine/valkey_private.h"
#include "engine/valkey_scripts.h"
#include "gateway/alloc.h"
#include "gateway/clock.h"
#include "gateway/log.h"

#define BATCH_COUNT 128
#define BATCH_BYTES (64 * 1024)

struct batch_texts {
    char id[GW_ENTRY_ID_SIZE], keep[16], count[8]; /* a uint32_t and a letter; a uint8_t */
};

/* The arguments of one call of gw_script_append, and the texts that they refer to. */
struct batch {
    struct gw_resp_args args;
    char size[16], channels[16], last[GW_ENTRY_ID_SIZE];
    struct batch_texts *texts; /* of `allocated`: one for each entry */
    size_t used, allocated;
};

static void batch_fini(struct batch *batch)
{
    gw_resp_args_fini(&batch->args);
    free(batch->texts);
}

/* Room for so many entries; before the first is added. */
static void batch_reserve(struct batch *batch, size_t count)
{
    if (count <= batch->allocated)
        return;
    batch->texts = gw_reallocarray(batch->texts, count, sizeof *batch->texts);
    batch->allocated = count;
}

static void batch_word(struct batch *batch, const char *word)
{
    gw_resp_arg(&batch->args, word, strlen(word));
}

/* `last`: the entry that must be the newest of the log; NULL: to mend it. */
static void batch_begin(struct batch *batch, const struct gw_engine_store *store, const struct gw_entry_id *last)
{
    batch->args.count = 0;
    batch->used = 0;
    *gw_put_digits(batch->size, store->log_count) = '\0';
    *gw_put_digits(batch->channels, store->channels) = '\0';
    batch->last[0] = '\0';
    if (last)
        gw_entry_id_format(batch->last, *last);
    batch_word(batch, "EVALSHA");
    batch_word(batch, store->append_sha);
    batch_word(batch, "3");
    batch_word(batch, store->keys.log);
    batch_word(batch, store->keys.channels);
    batch_word(batch, store->keys.meta);
    batch_word(batch, store->keys.histories);
    batch_word(batch, batch->size);
    batch_word(batch, batch->channels);
    batch_word(batch, batch->last);
}

static void batch_add(struct batch *batch, const struct gw_entry *entry)
{
    size_t at = batch->used++;
    gw_entry_id_format(batch->texts[at].id, entry->id);
    char *keep = batch->texts[at].keep;
    if (entry->state)
        *keep++ = 's';
    else if (entry->message) /* one more than nothing: the last value */
        keep = gw_put_digits(keep, entry->keep ? entry->keep : 1U);
    if (entry->message && !entry->state && entry->clear)
        *keep++ = 'c';
    *keep = '\0';
    *gw_put_digits(batch->texts[at].count, entry->count) = '\0';
    batch_word(batch, batch->texts[at].id);
    batch_word(batch, batch->texts[at].keep);
    batch_word(batch, batch->texts[at].count);
    const char *field = entry->bytes;
    for (unsigned i = 0; i < entry->count; i++) {
        gw_resp_arg(&batch->args, field, entry->len[i]);
        field += entry->len[i] + 1;
    }
}

/* --- sending ---------------------------------------------------------------------------------------------------- */

static void pipe_push(struct gw_valkey_pipe *pipe, bool renewal, uint64_t ticket, unsigned count, int64_t sent_ns)
{
    unsigned at = (pipe->first + pipe->count++) % GW_VALKEY_FLIGHTS;
    pipe->flights[at] = (struct gw_valkey_flight){renewal, ticket, count, sent_ns};
}

/* How many entries of the queue go together: a packet is never divided, however many channels it has. {lock} is held.
 */
static size_t batch_size(const struct gw_entry_list *queue)
{
    size_t bytes = 0, count = 0;
    bool whole = true;
    for (const struct gw_entry *entry = queue->oldest;
         entry && (!whole || (bytes < BATCH_BYTES && count < BATCH_COUNT)); entry = entry->next) {
        bytes += gw_entry_size(entry);
        whole = entry->last;
        count++;
    }
    return count;
}

bool gw_valkey_may_send(const struct gw_engine_store *store, const struct gw_valkey_pipe *pipe)
{
    return store->queue.count && pipe->count < GW_VALKEY_BATCHES &&
           (!pipe->count || store->queue.count >= GW_VALKEY_MUCH);
}

bool gw_valkey_send_batch(struct gw_engine_store *store, struct gw_valkey_pipe *pipe)
{
    struct batch batch = {0};
    uint64_t ticket = 0;
    unsigned messages = 0;
    int64_t now = gw_monotonic_ns();
    batch_begin(&batch, store, &pipe->last);
    pthread_mutex_lock(&store->lock);
    if (gw_valkey_may_send(store, pipe))
        batch_reserve(&batch, batch_size(&store->queue));
    while (batch.used < batch.allocated) {
        struct gw_entry *entry = gw_entry_list_take(&store->queue);
        gw_entry_list_add(&store->sent, entry);
        batch_add(&batch, entry);
        ticket = entry->ticket;
        messages += entry->message;
        pipe->last = entry->id;
    }
    if (batch.used) {
        store->newest = pipe->last;
        store->newest_ns = now;
    }
    pthread_mutex_unlock(&store->lock);
    bool good = true;
    if (batch.used) {
        /* Entries in `sent` are freed by the other thread only once the server has them. */
        good = gw_resp_send(&store->commands, &batch.args, store->lease_ms / 2);
        pipe_push(pipe, false, ticket, messages, now);
    }
    batch_fini(&batch);
    return good;
}

bool gw_valkey_send_renewal(struct gw_engine_store *store, struct gw_valkey_pipe *pipe)
{
    struct gw_resp_args args = {0};
    char lease[24];
    snprintf(lease, sizeof lease, "%lld", (long long)store->lease_ms);
    const struct gw_valkey_keys *keys = &store->keys;
    const char *const words[] = {"EVAL",     gw_script_renew, "5",        keys->lease, keys->epoch, keys->log,
                                 keys->meta, keys->channels,  store->who, lease};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        gw_resp_arg(&args, words[i], strlen(words[i]));
    bool good = gw_resp_send(&store->commands, &args, store->lease_ms / 2);
    gw_resp_args_fini(&args);
    pipe_push(pipe, true, 0, 0, gw_monotonic_ns());
    pipe->watched = true;
    pipe->asked_ms = gw_monotonic_ms();
    return good;
}

static bool pipe_take(struct gw_engine_store *store, struct gw_valkey_pipe *pipe, const redisReply *reply,
                      const char **why)
{
    const struct gw_valkey_flight flight = pipe->flights[pipe->first];
    pipe->first = (pipe->first + 1) % GW_VALKEY_FLIGHTS;
    pipe->count--;
    if (reply->type == REDIS_REPLY_ERROR) {
        bool fenced = !strncmp(reply->str, "FENCED", 6);
        if (fenced)
            atomic_fetch_add(&store->fenced, 1);
        snprintf(store->commands.error, sizeof store->commands.error, "%s", reply->str);
        *why = store->commands.error;
        return false;
    }
    if (flight.renewal) {
        pipe->renewed_ms = flight.sent_ns / 1000000;
        if (reply->integer != 1)
            *why = reply->integer == 2 ? "CUT the server has thrown keys away" : "the lease is another node's";
        return reply->integer == 1;
    }
    atomic_fetch_add(&store->appended, flight.count);
    pthread_mutex_lock(&store->lock);
    bool news = gw_valkey_is_safe(store, flight.ticket);
    pthread_mutex_unlock(&store->lock);
    if (news) { /* the tail has not read it back yet */
        atomic_store(&store->append_ns, gw_monotonic_ns() - flight.sent_ns);
        store->sink.safe(store->sink.context);
    }
    return true;
}

bool gw_valkey_is_safe(struct gw_engine_store *store, uint64_t ticket)
{
    bool news = ticket > store->safe;
    if (news)
        store->safe = ticket;
    return news;
}

bool gw_valkey_take_replies(struct gw_engine_store *store, struct gw_valkey_pipe *pipe, const char **why)
{
    bool good = true;
    while (good && pipe->count) {
        redisReply *reply = gw_resp_read(&store->commands, 0);
        if (!reply)
            break;
        good = pipe_take(store, pipe, reply, why);
        freeReplyObject(reply);
    }
    if (good && !gw_resp_is_open(&store->commands)) {
        *why = store->commands.error;
        return false;
    }
    return good;
}

/* Sends what waits; false: it is not for this thread. {line} is held. */
static bool flush_directly(struct gw_engine_store *store)
{
    struct gw_valkey_pipe *pipe = &store->pipe;
    const char *why = "";
    pthread_mutex_lock(&store->lock);
    bool leads = store->term && store->joined == store->term, little = store->queue.bytes <= GW_VALKEY_DIRECT_BYTES;
    pthread_mutex_unlock(&store->lock);
    if (!leads || pipe->failed || pipe->watched)
        return false;
    bool good = gw_valkey_take_replies(store, pipe, &why);
    bool idle = good && little && !pipe->count;
    if (idle) {
        good = gw_valkey_send_batch(store, pipe);
        if (!good)
            why = store->commands.error;
    }
    if (!good)
        pipe->failed = why;
    return idle && good;
}

void gw_valkey_flush(struct gw_engine_store *store)
{
    pthread_mutex_lock(&store->lock);
    bool waits = store->queue.count && !store->busy;
    pthread_mutex_unlock(&store->lock);
    if (!waits)
        return;
    bool done = false;
    if (!pthread_mutex_trylock(&store->line)) {
        done = flush_directly(store);
        pthread_mutex_unlock(&store->line);
    }
    pthread_mutex_lock(&store->lock);
    bool wake = (!done || store->queue.count) && !store->busy;
    store->busy |= wake;
    pthread_mutex_unlock(&store->lock);
    if (wake)
        gw_valkey_wake(store);
}

/* --- mending ---------------------------------------------------------------------------------------------------- */

bool gw_valkey_top(struct gw_engine_store *store, struct gw_resp *resp, struct gw_entry_id *top)
{
    *top = (struct gw_entry_id){0};
    redisReply *reply =
        gw_resp_ask(resp, store->lease_ms / 2, "XREVRANGE", store->keys.log, "+", "-", "COUNT", "1", NULL);
    if (!reply)
        return false;
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 1 && reply->element[0]->elements == 2)
        gw_entry_id_parse(reply->element[0]->element[0]->str, top);
    freeReplyObject(reply);
    return true;
}

/* Copies for the batch what is above `after`: the lists belong to the other thread as well. */
static size_t mend_collect(struct gw_engine_store *store, struct gw_entry_id after, struct gw_entry **out)
{
    size_t count = 0;
    pthread_mutex_lock(&store->lock);
    const struct gw_entry_list *const lists[] = {&store->memory, &store->sent};
    for (size_t i = 0; i < 2; i++) {
        for (const struct gw_entry *entry = lists[i]->oldest; entry && count < BATCH_COUNT; entry = entry->next) {
            if (gw_entry_id_compare(entry->id, after) <= 0)
                continue;
            out[count] = malloc(gw_entry_size(entry));
            if (!out[count])
                break;
            memcpy(out[count++], entry, gw_entry_size(entry));
        }
    }
    pthread_mutex_unlock(&store->lock);
    return count;
}

static bool mend_renew(struct gw_engine_store *store, int64_t *at_ms)
{
    char lease[24];
    int64_t now = gw_monotonic_ms();
    if (now - *at_ms < store->lease_ms / 4)
        return true;
    *at_ms = now;
    snprintf(lease, sizeof lease, "%lld", (long long)store->lease_ms);
    redisReply *reply = gw_resp_ask(&store->commands, store->lease_ms / 2, "EVAL", gw_script_renew, "1",
                                    store->keys.lease, store->who, lease, NULL);
    bool good = reply && reply->integer == 1;
    if (reply)
        freeReplyObject(reply);
    return good;
}

bool gw_valkey_mend(struct gw_engine_store *store, struct gw_entry_id top)
{
    struct gw_entry *entries[BATCH_COUNT];
    struct batch batch = {0};
    bool good = true, first = top.term == 0;
    int64_t renewed_ms = gw_monotonic_ms();
    size_t count, mended = 0;
    while (good && (count = mend_collect(store, top, entries))) {
        if (first) { /* the histories begin here: whatever was before is gone for those who read them */
            char number[24];
            snprintf(number, sizeof number, "%llu", (unsigned long long)(entries[0]->id.seq - 1));
            redisReply *reply = gw_resp_ask(&store->commands, store->lease_ms / 2, "HSET", store->keys.meta,
                                            "forgotten", number, "whole", "1", NULL);
            if (reply)
                freeReplyObject(reply);
            reply =
                gw_resp_ask(&store->commands, store->lease_ms / 2, "ZADD", store->keys.channels, "+inf", "", NULL);
            if (reply)
                freeReplyObject(reply);
            first = false;
        }
        batch_begin(&batch, store, NULL);
        batch_reserve(&batch, count);
        for (size_t i = 0; i < count; i++)
            batch_add(&batch, entries[i]);
        redisReply *reply = gw_resp_ask_args(&store->commands, store->lease_ms / 2, &batch.args);
        good = reply != NULL && mend_renew(store, &renewed_ms);
        if (reply)
            freeReplyObject(reply);
        top = entries[count - 1]->id;
        mended += count;
        for (size_t i = 0; i < count; i++)
            free(entries[i]);
    }
    batch_fini(&batch);
    if (mended)
        gw_log(GW_LOG_WARN, "engine", "the engine had lost entries of the log: %zu added again from memory%s", mended,
               good ? "" : "; it is not finished");
    atomic_fetch_add(&store->mended, mended);
    return good;
}
