#include "auth/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>
#include <rhonabwy.h>

#include "auth/verify.h"
#include "gateway/alloc.h"
#include "gateway/log.h"

/* Keys tried for one token: verifying costs, and the token picked the number. */
#define KEYS_TRIED 16

struct gw_keys {
    atomic_uint refs;
    struct gw_key keys[GW_KEYS_MAX];
    size_t count;
};

struct gw_keys *gw_keys_create(void)
{
    struct gw_keys *keys = gw_calloc(1, sizeof *keys);
    atomic_init(&keys->refs, 1);
    return keys;
}

struct gw_keys *gw_keys_ref(struct gw_keys *keys)
{
    if (keys)
        atomic_fetch_add_explicit(&keys->refs, 1, memory_order_relaxed);
    return keys;
}

void gw_keys_unref(struct gw_keys *keys)
{
    if (!keys || atomic_fetch_sub_explicit(&keys->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < keys->count; i++)
        gw_key_fini(&keys->keys[i]);
    free(keys);
}

/* False if the set is full. Takes the key's insides. */
static bool keys_append(struct gw_keys *keys, struct gw_key *key)
{
    if (keys->count == GW_KEYS_MAX) {
        gw_key_fini(key);
        return false;
    }
    keys->keys[keys->count++] = *key;
    return true;
}

bool gw_keys_add_pem(struct gw_keys *keys, const char *text, size_t len, struct gw_buf *problem)
{
    static const char expected[] = "(a PEM public key or certificate: RSA, EC or Ed25519, expected)";
    if (memmem(text, len, "PRIVATE KEY-----", 16)) {
        gw_buf_printf(problem, "it holds a private key, which the gateway must not have %s", expected);
        return false;
    }
    bool certificate = memmem(text, len, "-----BEGIN CERTIFICATE-----", 27) != NULL;
    jwk_t *jwk = NULL;
    struct gw_key key = {.kid = NULL};
    const char *why = "it can't be read";
    bool good = r_jwk_init(&jwk) == RHN_OK &&
                r_jwk_import_from_pem_der(jwk, certificate ? R_X509_TYPE_CERTIFICATE : R_X509_TYPE_PUBKEY,
                                          R_FORMAT_PEM, (const unsigned char *)text, len) == RHN_OK &&
                gw_key_from_jwk(jwk, &key, &why);
    r_jwk_free(jwk);
    if (!good) {
        gw_buf_printf(problem, "%s %s", why, expected);
        return false;
    }
    free(key.kid); /* the library makes one up; a file has none */
    key.kid = NULL;
    return keys_append(keys, &key);
}

bool gw_keys_add_secret(struct gw_keys *keys, const char *bytes, size_t len, struct gw_buf *problem)
{
    if (memmem(bytes, len, "-----BEGIN ", 11)) { /* RFC 8725 section 2.1 */
        gw_buf_adds(
            problem,
            "it is PEM, and everybody knows a public key (a random secret expected; key_file is for public keys)");
        return false;
    }
    while (len && (bytes[len - 1] == '\n' || bytes[len - 1] == '\r'))
        len--;
    if (len < GW_SECRET_MIN) {
        gw_buf_printf(problem, "it has %zu bytes (%d or more, random, expected)", len, GW_SECRET_MIN);
        return false;
    }
    struct gw_key key = gw_key_from_secret(bytes, len);
    return keys_append(keys, &key);
}

bool gw_keys_add_jwks(struct gw_keys *keys, const char *text, size_t len, bool remote, struct gw_buf *problem)
{
    json_error_t error;
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error), *list = json_object_get(root, "keys"), *jwk;
    if (!json_is_array(list)) {
        gw_buf_adds(problem, root ? "it has no list \"keys\"" : "it is no JSON");
        gw_buf_adds(problem, " (a JSON Web Key Set, RFC 7517, expected)");
        json_decref(root);
        return false;
    }
    size_t i, added = 0, skipped = 0;
    const char *why = "the list is empty";
    json_array_foreach(list, i, jwk)
    {
        struct gw_key key = {.kid = NULL};
        bool good = gw_key_from_jwk(jwk, &key, &why);
        if (good && remote && key.secret) { /* all who can fetch it could sign */
            gw_key_fini(&key);
            why = "a secret (kty oct) can't be had over the network";
            good = false;
        }
        if (good && keys_append(keys, &key))
            added++;
        else
            skipped++;
    }
    if (skipped && added)
        gw_log(GW_LOG_DEBUG, "auth", "%zu of %zu keys of a set can't be used; the last: %s", skipped, added + skipped,
               why);
    if (!added)
        gw_buf_printf(problem,
                      "none of its keys can be used: %s (RSA of %d bits or more, EC, Ed25519 or oct keys for "
                      "signatures expected)",
                      why, GW_RSA_BITS_MIN);
    json_decref(root);
    return added > 0;
}

bool gw_keys_read_file(const char *path, struct gw_buf *out, struct gw_buf *problem)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hold us */
    ssize_t got = -1;
    while (fd >= 0 && out->len <= GW_KEYS_FILE_MAX) {
        got = read(fd, gw_buf_reserve(out, 4096), 4096);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        out->len += (size_t)got;
        out->data[out->len] = '\0';
    }
    int saved = errno;
    if (fd >= 0)
        close(fd);
    if (got < 0)
        gw_buf_printf(problem, "%s can't be read: %s (a readable file expected)", path, strerror(saved));
    else if (out->len > GW_KEYS_FILE_MAX)
        gw_buf_printf(problem, "%s is too large (%d bytes at most expected)", path, GW_KEYS_FILE_MAX);
    return got == 0;
}

gw_algs gw_keys_algs(const struct gw_keys *keys)
{
    gw_algs algs = 0;
    for (size_t i = 0; i < keys->count; i++)
        algs |= keys->keys[i].algs;
    return algs;
}

bool gw_keys_has(const struct gw_keys *keys, const char *kid)
{
    for (size_t i = 0; keys && i < keys->count; i++) {
        if (keys->keys[i].kid && !strcmp(keys->keys[i].kid, kid))
            return true;
    }
    return false;
}

enum gw_verdict gw_keys_verify(const struct gw_keys *keys, const struct gw_jws *jws)
{
    bool named = jws->kid && gw_keys_has(keys, jws->kid);
    size_t tried = 0;
    for (size_t i = 0; keys && i < keys->count && tried < KEYS_TRIED; i++) {
        const struct gw_key *key = &keys->keys[i];
        if (!(key->algs & jws->alg))
            continue;
        if (jws->kid && (named ? !key->kid || strcmp(key->kid, jws->kid) != 0 : key->kid != NULL))
            continue;
        tried++;
        if (gw_key_verify(key, jws))
            return GW_SIGNATURE_GOOD;
    }
    return tried ? GW_SIGNATURE_BAD : GW_SIGNATURE_NO_KEY;
}
