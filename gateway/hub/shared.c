/* shared.c: questions to the engine on behalf of clients, whose answers come back as letters. */
#include "gateway/shared.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "gateway/alloc.h"
#include "gateway/auth.h"
#include "gateway/container.h"
#include "gateway/engine.h"
#include "gateway/log.h"
#include "gateway/mail.h"
#include "hub/hub_private.h"

/* Two have it: the worker that asked, until it has heard or forgets it, and the letter. A letter may be dropped long
 * before a worker that ends gets to its connections, and also on the thread of the engine. */
struct gw_shared_wait {
    struct gw_engine_ask ask; /* first member */
    struct gw_letter letter;
    struct gw_mail mail;
    const struct gw_engine_shared *sharing;
    struct gw_engine_store *store;
    unsigned worker;
    enum gw_err err;     /* of the answer; GW_ERR_OVERLOADED before */
    gw_shared_done done; /* the worker's; NULL: nobody waits any more */
    void *context;
    bool put, nobody; /* what it is; nobody ever waited */
    int64_t back_ms;  /* by gw_shared_return(); 0: not */
    atomic_uint refs;
};

bool gw_hub_shares(const struct gw_hub *hub)
{
    return hub->sharing != NULL;
}

/* Thread: any. */
static void wait_unref(struct gw_shared_wait *wait)
{
    if (atomic_fetch_sub(&wait->refs, 1) != 1)
        return;
    if (wait->back_ms > 0 && wait->err == GW_OK && wait->ask.text) { /* for the next question */
        wait->ask.ttl_ms = wait->back_ms;
        wait->back_ms = 0;
        wait->put = wait->nobody = true;
        wait->err = GW_ERR_OVERLOADED;
        atomic_store(&wait->refs, 1);
        wait->sharing->ask(wait->store, &wait->ask);
        return;
    }
    free(wait->ask.text);
    free(wait);
}

static void shared_drop(struct gw_letter *letter)
{
    wait_unref(GW_CONTAINER_OF(letter, struct gw_shared_wait, letter));
}

static void shared_deliver(struct gw_letter *letter, struct gw_hub *hub)
{
    (void)hub;
    struct gw_shared_wait *wait = GW_CONTAINER_OF(letter, struct gw_shared_wait, letter);
    gw_shared_done done = wait->done;
    wait->done = NULL;
    if (done) {
        done(wait->context, wait->err, wait->ask.text, wait->ask.len);
        wait_unref(wait);
    }
    shared_drop(letter);
}

/* Thread: any. */
static void shared_answered(struct gw_engine_ask *ask, enum gw_err err)
{
    struct gw_shared_wait *wait = (struct gw_shared_wait *)ask;
    bool unheard = err == GW_ERR_OVERLOADED && wait->nobody;
    if (unheard && wait->put)
        GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "engine",
                             "a session is not left for other gateways: the engine is away or too slow");
    else if (unheard)
        GW_LOG_ONCE_A_SECOND(
            GW_LOG_WARN, "engine",
            "a session that is over may still be found by other gateways: the engine is away or too slow");
    wait->err = err;
    wait->mail.send(wait->mail.context, wait->worker, &wait->letter);
}

static struct gw_shared_wait *shared_ask(struct gw_hub *hub, const char *key, const char *claim, char *text,
                                         size_t len, int64_t ttl_ms, gw_shared_done done, void *context)
{
    GW_ASSERT_LOOP(hub);
    struct gw_shared_wait *wait = gw_calloc(1, sizeof *wait);
    *wait = (struct gw_shared_wait){
        .ask = {.text = text, .len = len, .ttl_ms = ttl_ms, .done = shared_answered},
        .letter = {.deliver = shared_deliver, .drop = shared_drop},
        .mail = hub->mail,
        .sharing = hub->sharing,
        .store = hub->sharing_store,
        .worker = hub->worker,
        .err = GW_ERR_OVERLOADED,
        .done = done,
        .context = context,
        .put = text != NULL,
        .nobody = !done,
    };
    atomic_init(&wait->refs, done ? 2 : 1);
    snprintf(wait->ask.key, sizeof wait->ask.key, "%s", key);
    snprintf(wait->ask.claim, sizeof wait->ask.claim, "%s", claim);
    hub->sharing->ask(hub->sharing_store, &wait->ask);
    return done ? wait : NULL; /* the other one may be free already */
}

struct gw_shared_wait *gw_shared_put(struct gw_hub *hub, const char *key, const char *text, size_t len,
                                     int64_t ttl_ms, gw_shared_done done, void *context)
{
    return shared_ask(hub, key, "", gw_strndup(text, len), len, ttl_ms, done, context);
}

struct gw_shared_wait *gw_shared_take(struct gw_hub *hub, const char *key, gw_shared_done done, void *context)
{
    return shared_ask(hub, key, "", NULL, 0, 0, done, context);
}

struct gw_shared_wait *gw_shared_claim(struct gw_hub *hub, const char *key, const char *claim, int64_t ttl_ms,
                                       gw_shared_done done, void *context)
{
    return shared_ask(hub, key, claim, NULL, 0, ttl_ms, done, context);
}

void gw_shared_put_claimed(struct gw_hub *hub, const char *key, const char *claim, const char *text, size_t len,
                           int64_t ttl_ms)
{
    shared_ask(hub, key, claim, gw_strndup(text, len), len, ttl_ms, NULL, NULL);
}

void gw_shared_forget(struct gw_shared_wait *wait)
{
    if (!wait)
        return;
    wait->done = NULL;
    wait_unref(wait);
}

void gw_shared_return(struct gw_shared_wait *wait, int64_t ttl_ms)
{
    if (wait)
        wait->back_ms = ttl_ms;
    gw_shared_forget(wait);
}

void gw_shared_add_text(struct gw_buf *out, const char *text, size_t len)
{
    gw_buf_printf(out, "%zu:", len);
    gw_buf_add(out, text, len);
    gw_buf_addc(out, ' ');
}

bool gw_shared_text(const char **at, const char *end, struct gw_slice *text)
{
    int skip = 0;
    if (*at >= end || sscanf(*at, "%zu:%n", &text->len, &skip) != 1 || !skip ||
        text->len >= (size_t)(end - *at - skip))
        return false;
    text->data = *at + skip;
    *at += (size_t)skip + text->len + 1;
    return true;
}

/* --- tickets ---------------------------------------------------------------------------------------------------- */

struct gw_shared_wait *gw_hub_ask_ticket(struct gw_hub *hub, struct gw_slice ticket, gw_shared_done done,
                                         void *context)
{
    char key[GW_TICKET_KEY_SIZE];
    if (!hub->sharing || !hub->auth || !gw_auth_ticket_key(ticket.data, ticket.len, key))
        return NULL;
    return gw_shared_take(hub, key, done, context);
}

enum gw_err gw_hub_redeem(struct gw_hub *hub, struct gw_slice ticket, const struct gw_shared_answer *taken,
                          struct gw_identity **out, const char **why)
{
    bool away = taken && taken->err == GW_ERR_OVERLOADED;
    *out = NULL;
    *why = away ? "the engine, which keeps the tickets of all gateways, can't be reached"
                : "the ticket is unknown, used or too old";
    if (!taken && !hub->sharing)
        return gw_auth_redeem(hub->auth, ticket.data, ticket.len, hub->wall_ms, out);
    if (taken && taken->err == GW_OK)
        return gw_auth_redeem_text(hub->auth, ticket.data, ticket.len, taken->text, taken->len, hub->wall_ms, out);
    return away ? GW_ERR_OVERLOADED : GW_ERR_UNAUTHORIZED;
}
