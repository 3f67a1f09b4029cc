/* valkey_term.c: how a term begins and ends: the lease, the fence, and giving up. Thread: the one that sends. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cond.h"
#include "engine/valkey_private.h"
#include "engine/valkey_scripts.h"
#include "gateway/clock.h"
#include "gateway/log.h"
#include "gateway/random.h"

#define RETRY_MS 200
#define AGAIN_MS 5000
/* A leader's clock may be so far from the server's: numbers begin by it, and a term later they must be higher. */
#define CLOCK_MS 500
/* Bits of a number that count messages within a second of the clock. */
#define SECOND_BITS 21

static redisReply *lead_ask(struct gw_valkey_lead *lead, const char *command, const char *a, const char *b)
{
    struct gw_engine_store *store = lead->store;
    return gw_resp_ask(&store->commands, store->lease_ms / 2, command, a, b, NULL);
}

/* Waits until the tail has read so far. */
static bool lead_await(struct gw_engine_store *store, struct gw_entry_id id, int64_t timeout_ms)
{
    int64_t until_ms = gw_monotonic_ms() + timeout_ms;
    bool in_time = true;
    pthread_mutex_lock(&store->lock);
    while (gw_entry_id_compare(store->read, id) < 0 && in_time && !store->closing)
        in_time = gw_cond_wait_until(&store->moved, &store->lock, until_ms);
    bool there = gw_entry_id_compare(store->read, id) >= 0;
    pthread_mutex_unlock(&store->lock);
    return there;
}

/* --- the server ------------------------------------------------------------------------------------------------- */

bool gw_valkey_connect(struct gw_valkey_lead *lead)
{
    struct gw_engine_store *store = lead->store;
    if (!gw_resp_open(&store->commands, &store->server, store->lease_ms / 2))
        return false;
    redisReply *reply = lead_ask(lead, "INFO", "server", NULL);
    const char *run = reply && reply->str ? strstr(reply->str, "run_id:") : NULL;
    lead->server_run[0] = '\0';
    if (run)
        sscanf(run, "run_id:%60[0-9a-zA-Z]", lead->server_run);
    if (reply)
        freeReplyObject(reply);
    reply = lead_ask(lead, "SCRIPT", "LOAD", gw_script_append);
    if (reply && reply->type == REDIS_REPLY_STRING)
        snprintf(store->append_sha, sizeof store->append_sha, "%s", reply->str);
    if (reply)
        freeReplyObject(reply);
    return reply != NULL;
}

/* Seconds of the server's clock, by which numbers begin; 0: ours is too far from it, or it does not tell. */
static int64_t lead_clock(struct gw_valkey_lead *lead)
{
    int64_t before = gw_wall_ms();
    redisReply *reply = lead_ask(lead, "TIME", NULL, NULL);
    int64_t seconds = 0;
    if (reply && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2) {
        int64_t theirs = strtoll(gw_resp_text(reply->element[0]), NULL, 10) * 1000 +
                         strtoll(gw_resp_text(reply->element[1]), NULL, 10) / 1000;
        int64_t after = gw_wall_ms();
        if (theirs < before - CLOCK_MS || theirs > after + CLOCK_MS)
            GW_LOG_ONCE_A_SECOND(GW_LOG_ERROR, "engine",
                                 "this machine's clock is %lld ms off the engine's: it can't take messages in; set "
                                 "the clock (NTP)",
                                 (long long)(before - theirs));
        else
            seconds = theirs / 1000;
    }
    if (reply)
        freeReplyObject(reply);
    return seconds;
}

/* --- taking over ------------------------------------------------------------------------------------------------ */

/* A master that has become a replica: its name may be another server's by now, also for who reads. */
static void lead_look_again(struct gw_valkey_lead *lead, const char *why)
{
    if (!strstr(why, "READONLY") || gw_monotonic_ms() < lead->again_ms)
        return;
    lead->again_ms = gw_monotonic_ms() + AGAIN_MS;
    gw_resp_close(&lead->store->commands);
    gw_resp_interrupt(&lead->store->tail);
}

/* Everything below `term` is over: what it had queued was numbered by nobody. {line} is held. */
void gw_valkey_depose(struct gw_valkey_lead *lead, const char *why)
{
    struct gw_engine_store *store = lead->store;
    pthread_mutex_lock(&store->lock);
    bool led = store->term != 0;
    store->term = 0;
    gw_entry_list_clear(&store->queue);
    pthread_mutex_unlock(&store->lock);
    store->pipe = (struct gw_valkey_pipe){0};
    gw_resp_close(&store->commands); /* replies may be on their way */
    lead->free_ms = 0;
    if (!led)
        return;
    store->sink.lead(store->sink.context, 0);
    gw_log(GW_LOG_WARN, "engine", "this node takes no messages in any more: %s", why);
    if (gw_valkey_is_refusal(why))
        gw_valkey_stuck(store, why);
    lead_look_again(lead, why);
}

static bool lead_fence(struct gw_valkey_lead *lead, bool lost, int64_t seconds, struct gw_entry_id *fence)
{
    struct gw_engine_store *store = lead->store;
    struct gw_resp_args args = {0};
    char base[24], term[24], size[16], wall[24], digest[24];
    pthread_mutex_lock(&store->lock);
    uint64_t known = store->read.term, head = store->read.seq;
    snprintf(digest, sizeof digest, "%" PRIx64, store->digest);
    pthread_mutex_unlock(&store->lock);
    uint64_t least = (uint64_t)seconds << SECOND_BITS;
    snprintf(base, sizeof base, "%" PRIu64, least > head ? least : head);
    snprintf(term, sizeof term, "%" PRIu64, known);
    snprintf(size, sizeof size, "%u", store->log_count);
    snprintf(wall, sizeof wall, "%lld", (long long)gw_wall_ms());
    const char *const words[] = {"EVAL",
                                 gw_script_fence,
                                 "5",
                                 store->keys.log,
                                 store->keys.meta,
                                 store->keys.lease,
                                 store->keys.epoch,
                                 store->keys.channels,
                                 store->who,
                                 lead->server_run,
                                 base,
                                 term,
                                 lost ? "1" : "0",
                                 digest,
                                 store->epoch,
                                 size,
                                 wall};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        gw_resp_arg(&args, words[i], strlen(words[i]));
    redisReply *reply = gw_resp_ask_args(&store->commands, store->lease_ms / 2, &args);
    gw_resp_args_fini(&args);
    bool good = reply && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2;
    if (good) {
        fence->term = (uint64_t)reply->element[0]->integer;
        fence->seq = strtoull(gw_resp_text(reply->element[1]), NULL, 10);
    }
    if (reply)
        freeReplyObject(reply);
    return good;
}

/* The lease is ours. */
static bool lead_begin(struct gw_valkey_lead *lead, int64_t leased_ms, const char **why)
{
    struct gw_engine_store *store = lead->store;
    struct gw_entry_id top, fence;
    int64_t seconds = lead_clock(lead);
    *why = "the clock";
    if (!seconds || !gw_valkey_top(store, &store->commands, &top))
        return false;
    *why = "the log is not read so far";
    if (!lead_await(store, top, store->lease_ms / 3))
        return false;
    pthread_mutex_lock(&store->lock);
    bool ours = !strcmp(store->leader, store->who),
         other_run = *store->run && strcmp(store->run, lead->server_run) != 0;
    bool cut = gw_entry_id_compare(top, store->read) < 0;
    if (!ours)
        gw_entry_list_clear(&store->sent); /* another term has come since: they are not in the log, or read */
    pthread_mutex_unlock(&store->lock);
    bool lost = (other_run || cut) && !ours;
    *why = "the log could not be mended";
    if (!gw_valkey_mend(store, top))
        return false;
    *why = "the lease was too short for it";
    if (!lead_fence(lead, lost, seconds, &fence) || !lead_await(store, fence, store->lease_ms / 3))
        return false;
    pthread_mutex_lock(&store->line);
    store->pipe = (struct gw_valkey_pipe){.last = fence, .renewed_ms = leased_ms, .asked_ms = leased_ms};
    pthread_mutex_unlock(&store->line);
    pthread_mutex_lock(&store->lock);
    gw_entry_list_clear(&store->sent); /* all of them are in the log, and read */
    store->safe = store->taken;
    store->seq = fence.seq;
    store->term = fence.term;
    store->busy = store->much = false;
    pthread_mutex_unlock(&store->lock);
    store->told[0] = '\0';
    atomic_fetch_add(&store->takeovers, 1);
    gw_log(GW_LOG_INFO, "engine", "this node takes messages in now, term %" PRIu64 "%s", fence.term,
           lost ? "; what its predecessor had not shared is lost, and clients are told of a gap" : "");
    store->sink.lead(store->sink.context, fence.term);
    return true;
}

/* Has the server lost what we know, or may it have? Then the process that sent it asks first: it can mend it. */
static bool lead_waits(struct gw_valkey_lead *lead)
{
    struct gw_engine_store *store = lead->store;
    struct gw_entry_id top;
    if (!gw_valkey_top(store, &store->commands, &top))
        return true;
    pthread_mutex_lock(&store->lock);
    bool ours = !strcmp(store->leader, store->who);
    bool changed =
        (*store->run && strcmp(store->run, lead->server_run) != 0) || gw_entry_id_compare(top, store->read) < 0;
    bool nothing = *store->leader && !top.term && !store->read.term; /* there was a log, and we have none of it */
    pthread_mutex_unlock(&store->lock);
    int64_t wait = nothing ? 2 * store->lease_ms : changed ? store->lease_ms : 0;
    return !ours && gw_monotonic_ms() - lead->free_ms < wait;
}

static void lead_release(struct gw_valkey_lead *lead)
{
    struct gw_engine_store *store = lead->store;
    redisReply *reply = gw_resp_ask(&store->commands, store->lease_ms / 2, "EVAL", gw_script_renew, "1",
                                    store->keys.lease, store->who, "1", NULL);
    if (reply)
        freeReplyObject(reply);
}

/* A question came to nothing: how long to wait until the next. */
static int64_t lead_failed(struct gw_valkey_lead *lead)
{
    struct gw_engine_store *store = lead->store;
    if (!gw_resp_is_open(&store->commands) || !gw_valkey_is_refusal(store->commands.error))
        return RETRY_MS;
    gw_valkey_stuck(store, store->commands.error);
    lead_look_again(lead, store->commands.error);
    return RETRY_MS;
}

/* How long to wait until the next try. */
int64_t gw_valkey_try(struct gw_valkey_lead *lead)
{
    struct gw_engine_store *store = lead->store;
    char lease[24];
    uint8_t random;
    const char *why = "";
    gw_random(&random, sizeof random);
    redisReply *reply = lead_ask(lead, "PTTL", store->keys.lease, NULL);
    if (!reply)
        return lead_failed(lead);
    int64_t left = reply->integer;
    freeReplyObject(reply);
    if (left > 0) {
        lead->free_ms = 0;
        if (!atomic_load(&store->stuck))
            store->told[0] = '\0';
        return left + random * 100 / 255;
    }
    if (!lead->free_ms)
        lead->free_ms = gw_monotonic_ms();
    if (!atomic_load(&store->stuck) && gw_monotonic_ms() - lead->free_ms > 2 * store->lease_ms)
        gw_valkey_stuck(store, "nobody has taken over for twice the lease");
    if (!atomic_load(&store->up) || lead_waits(lead))
        return RETRY_MS / 4;
    int64_t leased_ms = gw_monotonic_ms();
    snprintf(lease, sizeof lease, "%lld", (long long)store->lease_ms);
    reply = gw_resp_ask(&store->commands, store->lease_ms / 2, "SET", store->keys.lease, store->who, "NX", "PX",
                        lease, NULL);
    if (!reply)
        return lead_failed(lead);
    bool ours = reply->type == REDIS_REPLY_STATUS;
    freeReplyObject(reply);
    if (!ours)
        return RETRY_MS / 4; /* another node was faster */
    if (lead_begin(lead, leased_ms, &why))
        return 0;
    GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "engine", "this node could not take over: %s %s", why, store->commands.error);
    lead_failed(lead);
    if (gw_resp_is_open(&store->commands))
        lead_release(lead);
    return RETRY_MS;
}
