/* valkey_lead.c: the thread that sends: standby, leading, and the end. Terms: valkey_term.c. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cond.h"
#include "engine/valkey_private.h"
#include "engine/valkey_scripts.h"
#include "gateway/clock.h"
#include "gateway/log.h"
#include "gateway/random.h"

#define RETRY_MS 200
/* At the end of the process, for what is still on its way. */
#define STOP_MS 1000
/* How often the leader looks for replies that nobody waits for: the tail has read those entries back, unless they
 * were refused. */
#define LOOK_MS 100

void gw_valkey_wake(struct gw_engine_store *store)
{
    uint64_t one = 1;
    ssize_t written = write(store->wake_fd, &one, sizeof one);
    (void)written; /* it only fails when it is full, and then the thread is awake anyway */
}

/* False: something woke us, and it was not the socket. */
static bool lead_rest(struct gw_engine_store *store, int64_t timeout_ms, bool socket)
{
    struct pollfd wait[2] = {{.fd = store->wake_fd, .events = POLLIN},
                             {.fd = socket ? atomic_load(&store->commands.fd) : -1, .events = POLLIN}};
    int ready = poll(wait, 2, timeout_ms > 0 ? (int)timeout_ms : 0);
    if (ready > 0 && wait[0].revents) {
        uint64_t count;
        ssize_t got = read(store->wake_fd, &count, sizeof count);
        (void)got;
    }
    return ready <= 0 || wait[1].revents;
}

static bool lead_closing(const struct gw_valkey_lead *lead)
{
    return atomic_load(&lead->store->closing);
}

/* --- the loop --------------------------------------------------------------------------------------------------- */

static void lead_standby(struct gw_valkey_lead *lead)
{
    struct gw_engine_store *store = lead->store;
    if (!gw_resp_is_open(&store->commands) && !gw_valkey_connect(lead)) {
        if (gw_valkey_is_news(store, store->commands.error))
            gw_log(GW_LOG_WARN, "engine", "no connection to %s:%s: %s", store->host, store->port,
                   store->commands.error);
        gw_resp_close(&store->commands);
        lead->free_ms = 0;
        lead_rest(store, RETRY_MS, false);
        return;
    }
    int64_t wait = gw_valkey_try(lead);
    pthread_mutex_lock(&store->lock);
    bool leads = store->term != 0, resigned = store->resigned;
    store->resigned = false;
    pthread_mutex_unlock(&store->lock);
    if (!leads && wait > 0 && !resigned)
        lead_rest(store, wait < store->lease_ms ? wait : store->lease_ms, false);
}

/* Sends what is due and takes what has come. False: we lead no more. {line} is held. */
static bool lead_work(struct gw_valkey_lead *lead, const char **why)
{
    struct gw_engine_store *store = lead->store;
    struct gw_valkey_pipe *pipe = &store->pipe;
    if (pipe->failed) {
        *why = pipe->failed;
        return false;
    }
    /* What the MQTT thread has sent is answered meanwhile, and in front of what we send. */
    if ((lead->readable || !pipe->watched) && !gw_valkey_take_replies(store, pipe, why))
        return false;
    bool good = true;
    /* The tail notices at once that a server is gone; a renewal then shows whether it is so for us. */
    int64_t pause = atomic_load(&store->up) ? store->lease_ms / 4 : LOOK_MS;
    if (gw_monotonic_ms() - pipe->asked_ms >= pause && pipe->count < GW_VALKEY_FLIGHTS)
        good = gw_valkey_send_renewal(store, pipe);
    if (!good || !gw_valkey_send_batch(store, pipe)) {
        *why = store->commands.error;
        return false;
    }
    if (gw_monotonic_ms() - pipe->renewed_ms < store->lease_ms * 7 / 8)
        return true;
    *why = "the engine does not answer";
    return false;
}

static void lead_turn(struct gw_valkey_lead *lead)
{
    struct gw_engine_store *store = lead->store;
    struct gw_valkey_pipe *pipe = &store->pipe;
    const char *why = "";
    pthread_mutex_lock(&store->line);
    if (!lead_work(lead, &why)) {
        gw_valkey_depose(lead, why);
        pthread_mutex_unlock(&store->line);
        return;
    }
    pthread_mutex_lock(&store->lock);
    bool more = gw_valkey_may_send(store, pipe), watch = pipe->count && (pipe->watched || store->queue.count);
    store->busy = more || watch; /* a reply wakes us */
    store->much = more || pipe->count >= GW_VALKEY_BATCHES;
    pthread_mutex_unlock(&store->lock);
    pipe->watched = watch;
    pthread_mutex_unlock(&store->line);
    int64_t rest = store->lease_ms / 8;
    lead->readable = more ? false : lead_rest(store, rest < LOOK_MS ? rest : LOOK_MS, watch);
}

/* The end of the process: what was taken is shared, and the lease is free for the next. */
static void lead_resign(struct gw_valkey_lead *lead)
{
    struct gw_engine_store *store = lead->store;
    const char *why = "";
    int64_t until = gw_monotonic_ms() + STOP_MS;
    bool good = !store->pipe.failed, left = true;
    while (good && left && gw_monotonic_ms() < until) {
        good = gw_valkey_send_batch(store, &store->pipe) && gw_valkey_take_replies(store, &store->pipe, &why);
        pthread_mutex_lock(&store->lock);
        left = store->queue.oldest || store->pipe.count;
        pthread_mutex_unlock(&store->lock);
        if (good && left)
            lead_rest(store, 10, true);
    }
    if (!good || left)
        return;
    char id[GW_ENTRY_ID_SIZE], size[16], wall[24];
    gw_entry_id_format(id, (struct gw_entry_id){store->term, store->seq + 1});
    snprintf(size, sizeof size, "%u", store->log_count);
    snprintf(wall, sizeof wall, "%lld", (long long)gw_wall_ms());
    redisReply *reply = gw_resp_ask(&store->commands, STOP_MS, "EVAL", gw_script_resign, "3", store->keys.log,
                                    store->keys.meta, store->keys.lease, store->who, id, size, wall, NULL);
    if (reply)
        freeReplyObject(reply);
}

void *gw_valkey_lead_run(void *context)
{
    struct gw_engine_store *store = context;
    struct gw_valkey_lead lead = {.store = store};
    while (!lead_closing(&lead)) {
        pthread_mutex_lock(&store->lock);
        bool leads = store->term != 0;
        pthread_mutex_unlock(&store->lock);
        if (leads)
            lead_turn(&lead);
        else
            lead_standby(&lead);
    }
    pthread_mutex_lock(&store->line);
    if (store->term)
        lead_resign(&lead);
    gw_resp_close(&store->commands);
    pthread_mutex_unlock(&store->line);
    return NULL;
}
