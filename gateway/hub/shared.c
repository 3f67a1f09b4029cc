/* shared.c: questions to the engine on behalf of clients, whose answers come back as letters. */
#include "gateway/shared.h"

#include <stdio.h>
#include <stdlib.h>

#include "gateway/alloc.h"
#include "gateway/engine.h"
#include "gateway/mail.h"
#include "hub/hub_private.h"

struct gw_shared_wait {
    struct gw_engine_ask ask; /* first member */
    struct gw_letter letter;
    struct gw_mail mail;
    unsigned worker;
    enum gw_err err;
    gw_shared_done done; /* the worker's; NULL: nobody waits any more */
    void *context;
};

bool gw_hub_shares(const struct gw_hub *hub)
{
    return hub->sharing != NULL;
}

static struct gw_shared_wait *wait_of(struct gw_letter *letter)
{
    return (struct gw_shared_wait *)((char *)letter - offsetof(struct gw_shared_wait, letter));
}

static void shared_drop(struct gw_letter *letter)
{
    struct gw_shared_wait *wait = wait_of(letter);
    free(wait->ask.text);
    free(wait);
}

static void shared_deliver(struct gw_letter *letter, struct gw_hub *hub)
{
    (void)hub;
    struct gw_shared_wait *wait = wait_of(letter);
    if (wait->done)
        wait->done(wait->context, wait->err, wait->ask.text, wait->ask.len);
    shared_drop(letter);
}

/* Thread: any. */
static void shared_answered(struct gw_engine_ask *ask, enum gw_err err)
{
    struct gw_shared_wait *wait = (struct gw_shared_wait *)ask;
    wait->err = err;
    wait->mail.send(wait->mail.context, wait->worker, &wait->letter);
}

static struct gw_shared_wait *shared_ask(struct gw_hub *hub, const char *key, char *text, size_t len, int64_t ttl_ms,
                                         gw_shared_done done, void *context)
{
    GW_ASSERT_LOOP(hub);
    struct gw_shared_wait *wait = gw_calloc(1, sizeof *wait);
    *wait = (struct gw_shared_wait){
        .ask = {.text = text, .len = len, .ttl_ms = ttl_ms, .done = shared_answered},
        .letter = {.deliver = shared_deliver, .drop = shared_drop},
        .mail = hub->mail,
        .worker = hub->worker,
        .done = done,
        .context = context,
    };
    snprintf(wait->ask.key, sizeof wait->ask.key, "%s", key);
    hub->sharing->ask(hub->sharing_store, &wait->ask);
    return wait;
}

struct gw_shared_wait *gw_shared_put(struct gw_hub *hub, const char *key, const char *text, size_t len,
                                     int64_t ttl_ms, gw_shared_done done, void *context)
{
    return shared_ask(hub, key, gw_strndup(text, len), len, ttl_ms, done, context);
}

struct gw_shared_wait *gw_shared_take(struct gw_hub *hub, const char *key, gw_shared_done done, void *context)
{
    return shared_ask(hub, key, NULL, 0, 0, done, context);
}

void gw_shared_forget(struct gw_shared_wait *wait)
{
    if (wait)
        wait->done = NULL;
}
