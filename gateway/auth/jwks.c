#include "auth/jwks.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "auth/fetch.h"
#include "base/cond.h"
#include "gateway/alloc.h"
#include "gateway/clock.h"
#include "gateway/log.h"

/* Between two readings that unknown keys ask for: made-up tokens can't make us hammer the issuer. */
#define WANTED_MS 10000
/* First and longest wait after a reading that failed; it doubles in between. */
#define RETRY_MIN_MS 1000
#define RETRY_MAX_MS 10000

struct gw_jwks {
    struct gw_config *config;
    const struct gw_cfg_jwt *cfg;
    struct gw_fetch *fetch; /* NULL: no jwks_url */
    pthread_t thread;
    bool started;

    _Atomic uint64_t generation; /* of the two sets below */
    pthread_mutex_t lock;
    pthread_cond_t wake, settled;
    struct gw_keys *file_keys, *url_keys; /* {lock} NULL: none yet */
    int64_t next_ms;                      /* {lock} monotonic: when to read again */
    int64_t wanted_ms;                    /* {lock} the last reading that was asked for; INT64_MIN: none */
    bool stopping, read;                  /* {lock} read: jwks_url has been asked */
};

static struct gw_keys *jwks_parse(const struct gw_buf *text, bool remote, struct gw_buf *problem)
{
    struct gw_keys *keys = gw_keys_create();
    if (gw_keys_add_jwks(keys, text->data ? text->data : "", text->len, remote, problem))
        return keys;
    gw_keys_unref(keys);
    return NULL;
}

static struct gw_keys *jwks_read_file(const struct gw_jwks *jwks, struct gw_buf *problem)
{
    struct gw_buf text = {0};
    struct gw_keys *keys =
        gw_keys_read_file(jwks->cfg->jwks_file, &text, problem) ? jwks_parse(&text, false, problem) : NULL;
    gw_buf_fini(&text);
    return keys;
}

static struct gw_keys *jwks_read_url(const struct gw_jwks *jwks, struct gw_buf *problem)
{
    struct gw_buf text = {0};
    struct gw_keys *keys = gw_fetch_run(jwks->fetch, &text, problem) ? jwks_parse(&text, true, problem) : NULL;
    gw_buf_fini(&text);
    return keys;
}

/* The new keys instead of the old ones; without new ones those stay. */
static bool jwks_replace(struct gw_jwks *jwks, struct gw_keys **slot, struct gw_keys *keys, const char *key,
                         struct gw_buf *problem)
{
    if (keys) {
        pthread_mutex_lock(&jwks->lock);
        struct gw_keys *old = *slot;
        *slot = keys;
        atomic_fetch_add(&jwks->generation, 1);
        pthread_mutex_unlock(&jwks->lock);
        gw_keys_unref(old);
    } else if (problem->len) { /* else it was called off */
        GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "auth", "auth.jwt.%s: %s; the keys that were there stay", key,
                             problem->data);
    }
    gw_buf_clear(problem);
    return keys != NULL;
}

/* Reads everything, without the lock. */
static bool jwks_read(struct gw_jwks *jwks)
{
    struct gw_buf problem = {0};
    bool good = true;
    if (jwks->cfg->jwks_file)
        good &= jwks_replace(jwks, &jwks->file_keys, jwks_read_file(jwks, &problem), "jwks_file", &problem);
    if (jwks->fetch)
        good &= jwks_replace(jwks, &jwks->url_keys, jwks_read_url(jwks, &problem), "jwks_url", &problem);
    gw_buf_fini(&problem);
    return good;
}

static void *jwks_main(void *context)
{
    struct gw_jwks *jwks = context;
    int64_t retry_ms = RETRY_MIN_MS;
    pthread_mutex_lock(&jwks->lock);
    while (!jwks->stopping) {
        int64_t next = jwks->next_ms;
        if (gw_monotonic_ms() < next) {
            gw_cond_wait_until(&jwks->wake, &jwks->lock, next);
            continue;
        }
        jwks->next_ms = INT64_MAX; /* unless a token asks in the meantime */
        pthread_mutex_unlock(&jwks->lock);
        bool good = jwks_read(jwks);
        int64_t wait_ms = jwks->cfg->jwks_refresh_ms;
        if (!good && retry_ms < wait_ms)
            wait_ms = retry_ms;
        retry_ms = good ? RETRY_MIN_MS : retry_ms * 2 < RETRY_MAX_MS ? retry_ms * 2 : RETRY_MAX_MS;
        pthread_mutex_lock(&jwks->lock);
        jwks->read = true;
        pthread_cond_broadcast(&jwks->settled);
        if (gw_monotonic_ms() + wait_ms < jwks->next_ms)
            jwks->next_ms = gw_monotonic_ms() + wait_ms;
    }
    pthread_mutex_unlock(&jwks->lock);
    return NULL;
}

bool gw_jwks_start(struct gw_jwks *jwks, struct gw_buf *problem)
{
    sigset_t all, before;
    if (jwks->started)
        return true;
    sigfillset(&all); /* signals are the main thread's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&jwks->thread, NULL, jwks_main, jwks);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
        gw_buf_printf(problem, "auth.jwt: no thread can be started: %s (a free one expected)", strerror(failed));
    jwks->started = !failed;
    return jwks->started;
}

static void jwks_destroy(struct gw_jwks *jwks)
{
    gw_fetch_free(jwks->fetch);
    gw_keys_unref(jwks->file_keys);
    gw_keys_unref(jwks->url_keys);
    pthread_cond_destroy(&jwks->wake);
    pthread_cond_destroy(&jwks->settled);
    pthread_mutex_destroy(&jwks->lock);
    gw_config_unref(jwks->config);
    free(jwks);
}

struct gw_jwks *gw_jwks_create(struct gw_config *config, struct gw_jwks *previous, struct gw_buf *problem)
{
    struct gw_jwks *jwks = gw_calloc(1, sizeof *jwks);
    jwks->config = gw_config_ref(config);
    jwks->cfg = &config->auth.jwt;
    jwks->wanted_ms = INT64_MIN;
    pthread_mutex_init(&jwks->lock, NULL);
    gw_cond_init(&jwks->wake);
    gw_cond_init(&jwks->settled);
    struct gw_buf why = {0};
    if (jwks->cfg->jwks_file && !(jwks->file_keys = jwks_read_file(jwks, &why)))
        gw_buf_printf(problem, "auth.jwt.jwks_file: %s", why.data);
    bool good = !why.len;
    gw_buf_fini(&why);
    if (jwks->cfg->jwks_url) {
        jwks->fetch = gw_fetch_create(jwks->cfg->jwks_url);
        if (previous && previous->fetch && !strcmp(previous->cfg->jwks_url, jwks->cfg->jwks_url)) {
            struct gw_keys *file;
            gw_jwks_get(previous, &file, &jwks->url_keys);
            gw_keys_unref(file);
        }
    } else {
        jwks->read = true;
        jwks->next_ms = gw_monotonic_ms() + jwks->cfg->jwks_refresh_ms; /* the file has just been read */
    }
    if (good)
        return jwks;
    jwks_destroy(jwks);
    return NULL;
}

void gw_jwks_free(struct gw_jwks *jwks)
{
    if (!jwks)
        return;
    pthread_mutex_lock(&jwks->lock);
    jwks->stopping = true;
    pthread_cond_signal(&jwks->wake);
    pthread_mutex_unlock(&jwks->lock);
    if (jwks->fetch)
        gw_fetch_stop(jwks->fetch);
    if (jwks->started)
        pthread_join(jwks->thread, NULL);
    jwks_destroy(jwks);
}

uint64_t gw_jwks_generation(const struct gw_jwks *jwks)
{
    return atomic_load(&jwks->generation);
}

void gw_jwks_get(struct gw_jwks *jwks, struct gw_keys **file, struct gw_keys **url)
{
    pthread_mutex_lock(&jwks->lock);
    *file = gw_keys_ref(jwks->file_keys);
    *url = gw_keys_ref(jwks->url_keys);
    pthread_mutex_unlock(&jwks->lock);
}

void gw_jwks_want(struct gw_jwks *jwks)
{
    int64_t now = gw_monotonic_ms();
    pthread_mutex_lock(&jwks->lock);
    int64_t at =
        jwks->wanted_ms == INT64_MIN || now - jwks->wanted_ms >= WANTED_MS ? now : jwks->wanted_ms + WANTED_MS;
    if (at < jwks->next_ms) {
        jwks->next_ms = at;
        jwks->wanted_ms = at;
        pthread_cond_signal(&jwks->wake);
    }
    pthread_mutex_unlock(&jwks->lock);
}

void gw_jwks_wait(struct gw_jwks *jwks, int64_t ms)
{
    int64_t until = gw_monotonic_ms() + ms;
    pthread_mutex_lock(&jwks->lock);
    while (!jwks->read && gw_monotonic_ms() < until)
        gw_cond_wait_until(&jwks->settled, &jwks->lock, until);
    pthread_mutex_unlock(&jwks->lock);
}
