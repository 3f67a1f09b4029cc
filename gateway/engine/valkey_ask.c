/* valkey_ask.c: what clients leave at the server and take back: a thread with a connection of its own, made with the
 * first question, so that neither the log nor the lease ever waits for one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/valkey_private.h"
#include "engine/valkey_scripts.h"
#include "gateway/alloc.h"
#include "gateway/clock.h"
#include "gateway/log.h"

/* Questions that may wait, and bytes of what they put; beyond that they are refused. */
#define ASKS_MAX   65536 /* a gateway that stops leaves all its sessions at once */
#define ASKS_BYTES (32 * 1024 * 1024)
/* On their way at once. */
#define ASKS_AT_ONCE 128
/* So long a question waits for its turn, and as long for its answer. */
#define ASK_MS 1000
/* So long after a connection could not be made, nobody waits for another try. */
#define AWAY_MS 200

static void asks_refuse(struct gw_engine_ask *ask)
{
    while (ask) {
        struct gw_engine_ask *next = ask->next;
        ask->done(ask, GW_ERR_OVERLOADED);
        ask = next;
    }
}

void gw_valkey_ask(struct gw_engine_store *store, struct gw_engine_ask *ask)
{
    struct gw_valkey_asks *asks = &store->asks;
    size_t bytes = ask->text ? ask->len : 0;
    ask->next = NULL;
    ask->send_by = gw_monotonic_ms() + ASK_MS;
    pthread_mutex_lock(&asks->lock);
    bool full = asks->count >= ASKS_MAX || asks->bytes + bytes > ASKS_BYTES;
    bool running = asks->running, taken = running && !full;
    if (taken) {
        asks->bytes += bytes;
        *asks->end = ask;
        asks->end = &ask->next;
        if (!asks->count++)
            pthread_cond_signal(&asks->work);
    }
    pthread_mutex_unlock(&asks->lock);
    if (running && full)
        GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "engine",
                             "a question of a client is refused: too many wait for the engine");
    if (!taken)
        ask->done(ask, GW_ERR_OVERLOADED);
}

/* --- the server ------------------------------------------------------------------------------------------------- */

static bool ask_send(struct gw_engine_store *store, const struct gw_engine_ask *ask, int64_t left_ms)
{
    struct gw_resp_args args = {0};
    char ttl[24], key[GW_ENGINE_KEY_MAX + 1 + 160];
    int key_len = snprintf(key, sizeof key, "%s%s", store->keys.shared, ask->key);
    size_t claim_len = strlen(ask->claim);
    snprintf(ttl, sizeof ttl, "%lld", (long long)(ask->ttl_ms > 0 ? ask->ttl_ms : 1));
    if (ask->text && claim_len) {
        gw_resp_arg(&args, "EVAL", 4);
        gw_resp_arg(&args, gw_script_put_claimed, strlen(gw_script_put_claimed));
        gw_resp_arg(&args, "1", 1);
        gw_resp_arg(&args, key, (size_t)key_len);
        gw_resp_arg(&args, ask->claim, claim_len);
        gw_resp_arg(&args, ask->text, ask->len);
        gw_resp_arg(&args, ttl, strlen(ttl));
    } else if (ask->text || claim_len) {
        gw_resp_arg(&args, "SET", 3);
        gw_resp_arg(&args, key, (size_t)key_len);
        gw_resp_arg(&args, ask->text ? ask->text : ask->claim, ask->text ? ask->len : claim_len);
        gw_resp_arg(&args, "PX", 2);
        gw_resp_arg(&args, ttl, strlen(ttl));
        if (!ask->text)
            gw_resp_arg(&args, "GET", 3);
    } else {
        gw_resp_arg(&args, "GETDEL", 6);
        gw_resp_arg(&args, key, (size_t)key_len);
    }
    bool good = gw_resp_send(&store->asks.resp, &args, left_ms);
    gw_resp_args_fini(&args);
    return good;
}

static enum gw_err ask_take(struct gw_engine_ask *ask, const redisReply *reply)
{
    if (!reply || reply->type == REDIS_REPLY_ERROR) {
        if (reply)
            GW_LOG_ONCE_A_SECOND(GW_LOG_ERROR, "engine", "it refused what a client has to leave there: %s",
                                 reply->str);
        return GW_ERR_OVERLOADED;
    }
    if (ask->text)
        return reply->type == REDIS_REPLY_INTEGER && !reply->integer ? GW_ERR_NOT_FOUND : GW_OK;
    if (reply->type != REDIS_REPLY_STRING)
        return GW_ERR_NOT_FOUND;
    ask->len = (size_t)reply->len;
    ask->text = gw_strndup(reply->str, ask->len);
    return GW_OK;
}

static bool asks_connect(struct gw_engine_store *store)
{
    struct gw_valkey_asks *asks = &store->asks;
    redisReply *stray = gw_resp_is_open(&asks->resp) ? gw_resp_read(&asks->resp, 0) : NULL;
    if (stray) { /* nobody asked */
        freeReplyObject(stray);
        gw_resp_close(&asks->resp);
    }
    if (gw_resp_is_open(&asks->resp)) /* a server that went meanwhile has been noticed just now */
        return true;
    if (gw_monotonic_ms() < asks->away_until_ms)
        return false;
    if (gw_resp_open(&asks->resp, &store->server, ASK_MS / 2))
        return true;
    asks->away_until_ms = gw_monotonic_ms() + AWAY_MS;
    return false;
}

static int64_t asks_left(int64_t until)
{
    int64_t left = until - gw_monotonic_ms();
    return left > 0 ? left : 0;
}

/* Refuses those whose turn came too late: behind a slow engine a client would wait for all before it. */
static struct gw_engine_ask *asks_in_time(struct gw_engine_ask *first)
{
    struct gw_engine_ask *late = NULL, **end = &first;
    int64_t now = gw_monotonic_ms();
    while (*end) {
        struct gw_engine_ask *ask = *end;
        if (ask->send_by >= now) {
            end = &ask->next;
            continue;
        }
        *end = ask->next;
        ask->next = late;
        late = ask;
    }
    asks_refuse(late);
    return first;
}

/* Sends a list of questions in one go, and hands the answers out. */
static void asks_serve(struct gw_engine_store *store, struct gw_engine_ask *first)
{
    struct gw_valkey_asks *asks = &store->asks;
    first = asks_in_time(first);
    if (!first)
        return;
    bool good = asks_connect(store);
    int64_t until = gw_monotonic_ms() + ASK_MS;
    for (struct gw_engine_ask *ask = first; ask && good; ask = ask->next)
        good = ask_send(store, ask, asks_left(until));
    while (first && good) {
        struct gw_engine_ask *ask = first;
        redisReply *reply = gw_resp_read(&asks->resp, asks_left(until));
        good = reply != NULL;
        if (!good)
            break;
        first = ask->next;
        ask->done(ask, ask_take(ask, reply));
        freeReplyObject(reply);
    }
    if (!good)
        gw_resp_close(&asks->resp); /* what comes late would be taken for another's */
    asks_refuse(first);
}

/* --- the thread ------------------------------------------------------------------------------------------------- */

/* Takes up to ASKS_AT_ONCE off the front. {lock} is held. */
static struct gw_engine_ask *asks_take(struct gw_valkey_asks *asks)
{
    struct gw_engine_ask *first = asks->first, **end = &asks->first;
    unsigned count = 0;
    for (; *end && count < ASKS_AT_ONCE; count++) {
        asks->bytes -= (*end)->text ? (*end)->len : 0;
        end = &(*end)->next;
    }
    asks->first = *end;
    *end = NULL;
    asks->count -= count;
    if (!asks->first)
        asks->end = &asks->first;
    return count ? first : NULL;
}

static void *asks_run(void *context)
{
    struct gw_engine_store *store = context;
    struct gw_valkey_asks *asks = &store->asks;
    pthread_mutex_lock(&asks->lock);
    while (asks->running || (asks->first && gw_monotonic_ms() < asks->stop_by_ms)) {
        struct gw_engine_ask *list = asks_take(asks);
        if (!list) {
            pthread_cond_wait(&asks->work, &asks->lock);
            continue;
        }
        pthread_mutex_unlock(&asks->lock);
        asks_serve(store, list);
        pthread_mutex_lock(&asks->lock);
    }
    struct gw_engine_ask *rest = asks->first;
    asks->first = NULL;
    pthread_mutex_unlock(&asks->lock);
    asks_refuse(rest);
    gw_resp_close(&asks->resp);
    return NULL;
}

void gw_valkey_asks_init(struct gw_engine_store *store)
{
    struct gw_valkey_asks *asks = &store->asks;
    pthread_mutex_init(&asks->lock, NULL);
    pthread_cond_init(&asks->work, NULL);
    asks->end = &asks->first;
    gw_resp_init(&asks->resp);
}

bool gw_valkey_asks_start(struct gw_engine_store *store)
{
    store->asks.running = true;
    if (pthread_create(&store->asks.thread, NULL, asks_run, store)) {
        store->asks.running = false;
        return false;
    }
    pthread_setname_np(store->asks.thread, "engine-asks");
    return true;
}

void gw_valkey_asks_stop(struct gw_engine_store *store)
{
    struct gw_valkey_asks *asks = &store->asks;
    pthread_mutex_lock(&asks->lock);
    bool running = asks->running;
    asks->running = false;
    asks->stop_by_ms = gw_monotonic_ms() + ASK_MS;
    pthread_cond_signal(&asks->work);
    pthread_mutex_unlock(&asks->lock);
    if (running)
        pthread_join(asks->thread, NULL);
}

void gw_valkey_asks_fini(struct gw_engine_store *store)
{
    gw_resp_close(&store->asks.resp);
    pthread_cond_destroy(&store->asks.work);
    pthread_mutex_destroy(&store->asks.lock);
}
