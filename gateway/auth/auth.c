#include "gateway/auth.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>
#include <gnutls/gnutls.h>
#include <rhonabwy.h>

#include "auth/encode.h"
#include "auth/entitle.h"
#include "auth/intern.h"
#include "auth/jwks.h"
#include "auth/keys.h"
#include "auth/tickets.h"
#include "auth/token.h"
#include "gateway/alloc.h"
#include "gateway/log.h"
#include "gateway/random.h"

#define KEY_PREFIX      "slk_"
#define NAME_MAX_OCTETS 128
/* Tokens whose signature need not be verified again: this many, of this many bytes in all. */
#define VERIFIED_MAX   16384
#define VERIFIED_BYTES (8u << 20)
#define NO_SUBJECT     "token without subject"

struct api_key {
    uint8_t digest[GW_SHA256_SIZE];
    struct gw_identity *identity;
};

struct gw_auth {
    atomic_uint refs;
    struct gw_config *config;
    uint64_t age; /* tells it from those before and after it */
    gw_algs allowed;
    struct gw_keys *fixed;      /* key_file and secret_file; NULL: no jwt */
    struct gw_jwks *jwks;       /* NULL: neither jwks_file nor jwks_url */
    struct gw_intern *verified; /* identities by token and generation of the key sets; NULL: no jwt */
    struct gw_entitle *entitle;
    struct gw_tickets *tickets;
    struct gw_identity *anonymous; /* or NULL */
    struct api_key *api_keys;
};

/* --- starting --------------------------------------------------------------------------------------------------- */

static void auth_libraries(void)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || r_global_init() != RHN_OK) {
        fputs("sluice: libcurl or librhonabwy does not start\n", stderr);
        abort();
    }
}

static bool auth_read_key(struct gw_auth *auth, const char *path, const char *key,
                          bool (*add)(struct gw_keys *, const char *, size_t, struct gw_buf *),
                          struct gw_buf *problem)
{
    struct gw_buf text = {0}, why = {0};
    struct gw_keys *alone = gw_keys_create(); /* to see what this key is for */
    bool good = gw_keys_read_file(path, &text, &why) && add(alone, text.data ? text.data : "", text.len, &why);
    if (!good)
        gw_buf_printf(problem, "auth.jwt.%s: %s", key, why.data);
    else if (!(gw_keys_algs(alone) & auth->allowed))
        gw_buf_printf(problem,
                      "auth.jwt.algorithms: none of them goes with %s (for RSA RS256 and the like, for P-256 ES256, "
                      "for Ed25519 EdDSA, for secrets of 32, 48, 64 bytes HS256, HS384, HS512 expected)",
                      key);
    else
        good = add(auth->fixed, text.data, text.len, &why);
    good = good && !problem->len;
    gw_keys_unref(alone);
    if (text.data)
        explicit_bzero(text.data, text.cap);
    gw_buf_fini(&text);
    gw_buf_fini(&why);
    return good;
}

static void *auth_identity_ref(void *identity)
{
    return gw_identity_ref(identity);
}

static void auth_identity_unref(void *identity)
{
    gw_identity_unref(identity);
}

static bool auth_read_jwt(struct gw_auth *auth, struct gw_auth *previous, struct gw_buf *problem)
{
    const struct gw_cfg_jwt *cfg = &auth->config->auth.jwt;
    for (size_t i = 0; i < cfg->algorithms.count; i++)
        auth->allowed |= gw_alg_parse(cfg->algorithms.items[i], strlen(cfg->algorithms.items[i]));
    if (!cfg->algorithms.count)
        auth->allowed = GW_ALGS_ALL;
    auth->fixed = gw_keys_create();
    auth->verified = gw_intern_create(VERIFIED_MAX, VERIFIED_BYTES, auth_identity_ref, auth_identity_unref);
    if (cfg->key_file && !auth_read_key(auth, cfg->key_file, "key_file", gw_keys_add_pem, problem))
        return false;
    if (cfg->secret_file && !auth_read_key(auth, cfg->secret_file, "secret_file", gw_keys_add_secret, problem))
        return false;
    if (cfg->jwks_file || cfg->jwks_url)
        auth->jwks = gw_jwks_create(auth->config, previous ? previous->jwks : NULL, problem);
    return auth->jwks || !(cfg->jwks_file || cfg->jwks_url);
}

static struct gw_identity *auth_identity(struct gw_auth *auth, enum gw_identity_kind kind, const char *name,
                                         const char *proof, const struct gw_strings *roles)
{
    struct gw_grants *grants = gw_entitle_roles(auth->entitle, roles);
    struct gw_identity *identity = gw_identity_create(kind, name, proof, INT64_MAX, grants);
    gw_grants_unref(grants);
    return identity;
}

static void auth_make_identities(struct gw_auth *auth)
{
    const struct gw_cfg_auth *cfg = &auth->config->auth;
    auth->entitle = gw_entitle_create(auth->config);
    if (cfg->anonymous.count)
        auth->anonymous = auth_identity(auth, GW_ANONYMOUS, "anonymous", NULL, &cfg->anonymous);
    auth->api_keys = gw_calloc(cfg->api_key_count, sizeof *auth->api_keys);
    for (size_t i = 0; i < cfg->api_key_count; i++) {
        gw_unhex_32(cfg->api_keys[i].hash + 7, auth->api_keys[i].digest);
        auth->api_keys[i].identity =
            auth_identity(auth, GW_API_KEY, cfg->api_keys[i].name, cfg->api_keys[i].hash, &cfg->api_keys[i].roles);
    }
}

enum gw_err gw_auth_create(struct gw_config *config, struct gw_auth *previous, struct gw_auth **out,
                           struct gw_buf *problem)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    static _Atomic uint64_t ages;
    *out = NULL;
    if (!config->auth.enabled)
        return GW_OK;
    pthread_once(&once, auth_libraries);
    struct gw_auth *auth = gw_calloc(1, sizeof *auth);
    atomic_init(&auth->refs, 1);
    auth->config = gw_config_ref(config);
    auth->age = atomic_fetch_add(&ages, 1);
    auth->tickets = previous ? gw_tickets_ref(previous->tickets) : gw_tickets_create();
    auth_make_identities(auth);
    if (config->auth.has_jwt && !auth_read_jwt(auth, previous, problem)) {
        gw_auth_unref(auth);
        return GW_ERR_BAD_REQUEST;
    }
    *out = auth;
    return GW_OK;
}

bool gw_auth_start(struct gw_auth *auth, struct gw_buf *problem)
{
    return !auth || !auth->jwks || gw_jwks_start(auth->jwks, problem);
}

void gw_auth_wait(struct gw_auth *auth, int64_t ms)
{
    if (auth && auth->jwks)
        gw_jwks_wait(auth->jwks, ms);
}

struct gw_auth *gw_auth_ref(struct gw_auth *auth)
{
    if (auth)
        atomic_fetch_add_explicit(&auth->refs, 1, memory_order_relaxed);
    return auth;
}

void gw_auth_unref(struct gw_auth *auth)
{
    if (!auth || atomic_fetch_sub_explicit(&auth->refs, 1, memory_order_acq_rel) != 1)
        return;
    gw_jwks_free(auth->jwks);
    gw_keys_unref(auth->fixed);
    gw_intern_free(auth->verified);
    gw_tickets_unref(auth->tickets);
    gw_identity_unref(auth->anonymous);
    for (size_t i = 0; i < auth->config->auth.api_key_count; i++)
        gw_identity_unref(auth->api_keys[i].identity);
    free(auth->api_keys);
    gw_entitle_free(auth->entitle);
    gw_config_unref(auth->config);
    free(auth);
}

/* --- tokens and keys -------------------------------------------------------------------------------------------- */

static enum gw_err auth_key(struct gw_auth *auth, const char *key, size_t len, struct gw_identity **out,
                            const char **why)
{
    uint8_t digest[GW_SHA256_SIZE];
    gw_sha256(key, len, digest);
    /* All of them, always: the time must not tell which came close. */
    for (size_t i = 0; i < auth->config->auth.api_key_count; i++) {
        if (gnutls_memcmp(digest, auth->api_keys[i].digest, sizeof digest) == 0)
            *out = auth->api_keys[i].identity;
    }
    gw_identity_ref(*out);
    if (*out)
        return GW_OK;
    *why = "the API key is not known";
    return GW_ERR_UNAUTHORIZED;
}

static enum gw_err auth_signature(struct gw_auth *auth, const struct gw_jws *jws, const char **why)
{
    struct gw_keys *sets[3] = {gw_keys_ref(auth->fixed), NULL, NULL};
    if (auth->jwks)
        gw_jwks_get(auth->jwks, &sets[1], &sets[2]);
    enum gw_verdict verdict = GW_SIGNATURE_NO_KEY;
    bool named = false;
    for (size_t i = 0; i < 3; i++) {
        enum gw_verdict one = verdict != GW_SIGNATURE_GOOD ? gw_keys_verify(sets[i], jws) : GW_SIGNATURE_GOOD;
        verdict = one != GW_SIGNATURE_NO_KEY ? one : verdict;
        named |= jws->kid && gw_keys_has(sets[i], jws->kid);
        gw_keys_unref(sets[i]);
    }
    if (verdict == GW_SIGNATURE_GOOD)
        return GW_OK;
    if (auth->jwks && !named)
        gw_jwks_want(auth->jwks); /* this token is refused; the next may find its key */
    *why = verdict == GW_SIGNATURE_BAD ? "the token's signature does not fit"
                                       : "the token is signed with a key that is not known";
    return GW_ERR_UNAUTHORIZED;
}

/* The subject goes into the log; UTF-8 is not cut in the middle. */
static char *auth_name(const char *sub)
{
    size_t len = sub ? strlen(sub) : 0;
    if (!len)
        return gw_strdup(NO_SUBJECT);
    if (len > NAME_MAX_OCTETS) {
        for (len = NAME_MAX_OCTETS; (sub[len] & 0xc0) == 0x80; len--)
            ;
    }
    return gw_strndup(sub, len);
}

static struct gw_identity *auth_token_identity(struct gw_auth *auth, const json_t *claims, const char *name,
                                               const char *proof, int64_t expires_ms)
{
    struct gw_grants *grants = gw_entitle_claims(auth->entitle, claims);
    struct gw_identity *identity = gw_identity_create(GW_TOKEN, name, proof, expires_ms, grants);
    gw_grants_unref(grants);
    return identity;
}

static enum gw_err auth_jwt(struct gw_auth *auth, struct gw_token *token, int64_t wall_ms, struct gw_identity **out,
                            const char **why)
{
    struct gw_claims claims;
    enum gw_err err = auth_signature(auth, &token->jws, why);
    if (err == GW_OK)
        err = gw_token_check(&auth->config->auth.jwt, token, wall_ms, &claims, why);
    if (err != GW_OK)
        return err;
    char *name = auth_name(claims.sub);
    *out = auth_token_identity(auth, claims.root, name, token->claims.data, claims.expires_ms);
    free(name);
    json_decref(claims.root);
    return GW_OK;
}

/* A token that was verified with the keys in force now is not verified again, until it expires. Only what was let in
 * is kept, so made-up tokens push nothing out. A reload begins with an empty table. */
static enum gw_err auth_verify(struct gw_auth *auth, struct gw_token *token, const char *text, size_t len,
                               int64_t wall_ms, struct gw_identity **out, const char **why)
{
    char key[GW_TOKEN_MAX + sizeof(uint64_t)];
    uint64_t generation = auth->jwks ? gw_jwks_generation(auth->jwks) : 0;
    memcpy(key, &generation, sizeof generation);
    memcpy(key + sizeof generation, text, len);
    *out = gw_intern_find(auth->verified, key, sizeof generation + len);
    if (*out && wall_ms < (*out)->expires_ms)
        return GW_OK;
    gw_identity_unref(*out);
    *out = NULL;
    enum gw_err err = gw_token_read(token, text, len, auth->allowed, why);
    if (err == GW_OK)
        err = auth_jwt(auth, token, wall_ms, out, why);
    if (err == GW_OK)
        gw_intern_put(auth->verified, key, sizeof generation + len, *out);
    return err;
}

enum gw_err gw_auth_token(struct gw_auth *auth, const char *text, size_t len, int64_t wall_ms,
                          struct gw_identity **out, const char **why)
{
    *out = NULL;
    *why = NULL;
    if (!auth)
        return GW_OK; /* everybody may do everything */
    bool is_key =
        !memchr(text, '.', len) || (len >= strlen(KEY_PREFIX) && !memcmp(text, KEY_PREFIX, strlen(KEY_PREFIX)));
    if (len > GW_TOKEN_MAX || !len) {
        *why = len ? "the token is too long" : "the token is empty";
        return GW_ERR_UNAUTHORIZED;
    }
    struct gw_token token = {.jws = {.kid = NULL}};
    enum gw_err err;
    if (is_key) {
        err = auth_key(auth, text, len, out, why);
    } else if (!auth->fixed) {
        *why = "no tokens are taken here";
        err = GW_ERR_UNAUTHORIZED;
    } else {
        err = auth_verify(auth, &token, text, len, wall_ms, out, why);
    }
    if (err == GW_OK)
        gw_log(GW_LOG_DEBUG, "auth", "let in: %s", (*out)->name);
    else
        GW_LOG_ONCE_A_SECOND(GW_LOG_DEBUG, "auth", "refused: %s (kid %.64s)", *why,
                             token.jws.kid ? token.jws.kid : "none");
    if (!is_key && auth->fixed)
        gw_token_fini(&token);
    return err;
}

struct gw_identity *gw_auth_anonymous(struct gw_auth *auth)
{
    return auth ? gw_identity_ref(auth->anonymous) : NULL;
}

struct gw_identity *gw_auth_again(struct gw_auth *auth, const struct gw_identity *identity)
{
    if (!auth || !identity)
        return NULL;
    if (identity->kind == GW_ANONYMOUS)
        return gw_auth_anonymous(auth);
    if (identity->kind == GW_API_KEY) {
        for (size_t i = 0; i < auth->config->auth.api_key_count; i++) {
            if (!strcmp(auth->config->auth.api_keys[i].hash, identity->proof))
                return gw_identity_ref(auth->api_keys[i].identity);
        }
        return NULL;
    }
    json_error_t error;
    json_t *claims = auth->fixed ? json_loads(identity->proof, JSON_REJECT_DUPLICATES, &error) : NULL;
    struct gw_identity *again =
        claims ? auth_token_identity(auth, claims, identity->name, identity->proof, identity->expires_ms) : NULL;
    json_decref(claims);
    return again;
}

/* --- tickets ---------------------------------------------------------------------------------------------------- */

/* A user's tokens count together, however many he gets; where they don't say whose they are, each counts alone. */
static void auth_owner(const struct gw_identity *identity, struct gw_buf *owner)
{
    bool by_name = !identity->proof || (identity->kind == GW_TOKEN && strcmp(identity->name, NO_SUBJECT) != 0);
    gw_buf_printf(owner, "%d%c%s", (int)identity->kind, by_name ? 'n' : 'p',
                  by_name ? identity->name : identity->proof);
}

enum gw_err gw_auth_ticket(struct gw_auth *auth, struct gw_identity *identity, int64_t wall_ms,
                           char out[GW_TICKET_SIZE])
{
    if (!auth)
        return GW_ERR_UNSUPPORTED; /* nobody needs one */
    if (!identity)
        return GW_ERR_UNAUTHORIZED;
    struct gw_buf owner = {0};
    auth_owner(identity, &owner);
    enum gw_err err =
        gw_tickets_issue(auth->tickets, identity, &owner, auth->age, wall_ms, auth->config->auth.ticket_ttl_ms, out);
    gw_buf_fini(&owner);
    return err;
}

enum gw_err gw_auth_redeem(struct gw_auth *auth, const char *ticket, size_t len, int64_t wall_ms,
                           struct gw_identity **out)
{
    uint64_t age;
    *out = NULL;
    if (!auth)
        return GW_OK;
    enum gw_err err = gw_tickets_redeem(auth->tickets, ticket, len, wall_ms, out, &age);
    if (err == GW_OK && age != auth->age) { /* given out under another configuration */
        struct gw_identity *again = gw_auth_again(auth, *out);
        gw_identity_unref(*out);
        *out = again;
        err = again ? GW_OK : GW_ERR_UNAUTHORIZED;
    }
    if (err == GW_OK && (*out)->expires_ms <= wall_ms) {
        gw_identity_unref(*out);
        *out = NULL;
        err = GW_ERR_EXPIRED;
    }
    return err;
}

void gw_auth_make_key(char key[48], char hash[72])
{
    uint8_t bytes[32], digest[GW_SHA256_SIZE];
    gw_random(bytes, sizeof bytes);
    memcpy(key, KEY_PREFIX, strlen(KEY_PREFIX));
    gw_base64url_32(bytes, key + strlen(KEY_PREFIX));
    gw_sha256(key, strlen(key), digest);
    memcpy(hash, "sha256:", 7);
    gw_hex_32(digest, hash + 7);
    explicit_bzero(bytes, sizeof bytes);
}
