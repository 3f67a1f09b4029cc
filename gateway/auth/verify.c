#include "auth/verify.h"

#include <stdlib.h>
#include <string.h>

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <rhonabwy.h>

#include "auth/encode.h"
#include "gateway/alloc.h"

#define RSA_BITS_MAX 8192 /* a signature must not take seconds to verify */
#define SECRET_MAX   4096

enum { HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EDDSA, ALGS };
#define BIT(alg) (1u << (alg))

static const struct {
    const char *name;
    jwa_alg jwa;
    gnutls_mac_algorithm_t mac;
} verify_algs[ALGS] = {
    [HS256] = {"HS256", R_JWA_ALG_HS256, GNUTLS_MAC_SHA256},
    [HS384] = {"HS384", R_JWA_ALG_HS384, GNUTLS_MAC_SHA384},
    [HS512] = {"HS512", R_JWA_ALG_HS512, GNUTLS_MAC_SHA512},
    [RS256] = {"RS256", R_JWA_ALG_RS256, GNUTLS_MAC_UNKNOWN},
    [RS384] = {"RS384", R_JWA_ALG_RS384, GNUTLS_MAC_UNKNOWN},
    [RS512] = {"RS512", R_JWA_ALG_RS512, GNUTLS_MAC_UNKNOWN},
    [PS256] = {"PS256", R_JWA_ALG_PS256, GNUTLS_MAC_UNKNOWN},
    [PS384] = {"PS384", R_JWA_ALG_PS384, GNUTLS_MAC_UNKNOWN},
    [PS512] = {"PS512", R_JWA_ALG_PS512, GNUTLS_MAC_UNKNOWN},
    [ES256] = {"ES256", R_JWA_ALG_ES256, GNUTLS_MAC_UNKNOWN},
    [ES384] = {"ES384", R_JWA_ALG_ES384, GNUTLS_MAC_UNKNOWN},
    [ES512] = {"ES512", R_JWA_ALG_ES512, GNUTLS_MAC_UNKNOWN},
    [EDDSA] = {"EdDSA", R_JWA_ALG_EDDSA, GNUTLS_MAC_UNKNOWN},
};

gw_algs gw_alg_parse(const char *name, size_t len)
{
    for (unsigned i = 0; i < ALGS; i++) {
        if (strlen(verify_algs[i].name) == len && !memcmp(verify_algs[i].name, name, len))
            return BIT(i);
    }
    return 0;
}

/* RFC 7518 section 3.2: a secret is at least as long as the hash. */
static gw_algs verify_secret_algs(size_t len)
{
    return (len >= 32 ? BIT(HS256) : 0u) | (len >= 48 ? BIT(HS384) : 0u) | (len >= 64 ? BIT(HS512) : 0u);
}

struct gw_key gw_key_from_secret(const char *bytes, size_t len)
{
    struct gw_key key = {.algs = verify_secret_algs(len), .secret_len = len};
    key.secret = gw_malloc(len);
    memcpy(key.secret, bytes, len);
    return key;
}

void gw_key_fini(struct gw_key *key)
{
    free(key->kid);
    json_decref(key->jwk);
    if (key->secret)
        explicit_bzero(key->secret, key->secret_len);
    free(key->secret);
}

/* --- from JWK (RFC 7517, RFC 7518 section 6) -------------------------------------------------------------------- */

/* The bytes of a base64url member; false if it is missing or too long. */
static bool verify_octets(const json_t *jwk, const char *name, size_t max, struct gw_buf *out)
{
    const char *text = json_string_value(json_object_get(jwk, name));
    gw_buf_clear(out);
    return text && strlen(text) <= max * 2 && gw_base64url_decode(out, text, strlen(text)) && out->len &&
           out->len <= max;
}

static bool verify_rsa(const json_t *jwk, struct gw_key *key, struct gw_buf *bytes, const char **why)
{
    *why = "an RSA key has no usable e";
    if (!verify_octets(jwk, "e", 8, bytes))
        return false;
    const uint8_t *at = (const uint8_t *)bytes->data;
    if (!(at[bytes->len - 1] & 1) || (bytes->len == 1 && at[0] < 3)) /* 1 would make every text its own signature */
        return false;
    *why = "an RSA key has no usable n";
    if (!verify_octets(jwk, "n", RSA_BITS_MAX / 8 + 1, bytes))
        return false;
    at = (const uint8_t *)bytes->data;
    size_t len = bytes->len;
    while (len && !*at) {
        at++;
        len--;
    }
    size_t bits = len * 8;
    for (unsigned top = len ? *at : 0; top && !(top & 0x80); top <<= 1)
        bits--;
    *why = "an RSA key has under 2048 bits";
    if (bits < GW_RSA_BITS_MIN) /* RFC 7518 section 3.3 */
        return false;
    *why = "an RSA key has over 8192 bits";
    key->algs = BIT(RS256) | BIT(RS384) | BIT(RS512) | BIT(PS256) | BIT(PS384) | BIT(PS512);
    key->jwk =
        json_pack("{s:s, s:O, s:O}", "kty", "RSA", "n", json_object_get(jwk, "n"), "e", json_object_get(jwk, "e"));
    return bits <= RSA_BITS_MAX;
}

static bool verify_curve(const json_t *jwk, const char *kty, struct gw_key *key, struct gw_buf *bytes,
                         const char **why)
{
    static const struct {
        const char *kty, *name;
        size_t size;
        unsigned alg;
    } curves[] = {{"EC", "P-256", 32, ES256},
                  {"EC", "P-384", 48, ES384},
                  {"EC", "P-521", 66, ES512},
                  {"OKP", "Ed25519", 32, EDDSA}};
    const char *crv = json_string_value(json_object_get(jwk, "crv"));
    *why = "a key has a curve that isn't P-256, P-384, P-521 or Ed25519";
    for (size_t i = 0; crv && i < sizeof curves / sizeof *curves; i++) {
        if (strcmp(kty, curves[i].kty) != 0 || strcmp(crv, curves[i].name) != 0)
            continue;
        *why = "a key's coordinates don't fit its curve";
        bool two = !strcmp(kty, "EC");
        /* The library's own export of a PEM may lack leading zeros. */
        if (!verify_octets(jwk, "x", curves[i].size, bytes) ||
            (two && !verify_octets(jwk, "y", curves[i].size, bytes)))
            return false;
        key->algs = BIT(curves[i].alg);
        key->jwk = json_pack("{s:s, s:s, s:O}", "kty", kty, "crv", crv, "x", json_object_get(jwk, "x"));
        if (two)
            json_object_set(key->jwk, "y", json_object_get(jwk, "y"));
        return true;
    }
    return false;
}

static bool verify_oct(const json_t *jwk, struct gw_key *key, struct gw_buf *bytes, const char **why)
{
    *why = "a secret has no usable k of 32 bytes or more";
    bool good = verify_octets(jwk, "k", SECRET_MAX, bytes) && bytes->len >= GW_SECRET_MIN;
    if (good)
        *key = gw_key_from_secret(bytes->data, bytes->len);
    if (bytes->data)
        explicit_bzero(bytes->data, bytes->cap);
    return good;
}

/* use, key_ops and alg narrow what a key is for (RFC 7517 sections 4.2 to 4.4, RFC 8725 section 3.1). */
static bool verify_purpose(const json_t *jwk, struct gw_key *key, const char **why)
{
    const json_t *use = json_object_get(jwk, "use"), *ops = json_object_get(jwk, "key_ops"),
                 *alg = json_object_get(jwk, "alg"), *op;
    *why = "a key isn't for signatures";
    if (use && (!json_is_string(use) || strcmp(json_string_value(use), "sig") != 0))
        return false;
    if (ops) {
        bool verifies = false;
        size_t i;
        json_array_foreach(ops, i, op) verifies |= json_is_string(op) && !strcmp(json_string_value(op), "verify");
        if (!verifies)
            return false;
    }
    *why = "a key is for an algorithm that isn't its type's";
    if (alg)
        key->algs &= json_is_string(alg) ? gw_alg_parse(json_string_value(alg), json_string_length(alg)) : 0;
    return key->algs != 0;
}

bool gw_key_from_jwk(const json_t *jwk, struct gw_key *key, const char **why)
{
    const char *kty = json_string_value(json_object_get(jwk, "kty"));
    const json_t *kid = json_object_get(jwk, "kid");
    struct gw_buf bytes = {0};
    memset(key, 0, sizeof *key);
    *why = "a key has a type (kty) that isn't RSA, EC, OKP or oct";
    bool good = false;
    if (kty && !strcmp(kty, "RSA"))
        good = verify_rsa(jwk, key, &bytes, why);
    else if (kty && (!strcmp(kty, "EC") || !strcmp(kty, "OKP")))
        good = verify_curve(jwk, kty, key, &bytes, why);
    else if (kty && !strcmp(kty, "oct"))
        good = verify_oct(jwk, key, &bytes, why);
    good = good && verify_purpose(jwk, key, why);
    /* RFC 7518 sections 3.4 and 6: the library must be able to make a key of it, too. */
    if (good && key->jwk &&
        !(r_jwk_is_valid(key->jwk) == RHN_OK &&
          r_jwk_key_type(key->jwk, NULL, R_FLAG_IGNORE_REMOTE) & R_KEY_TYPE_PUBLIC)) {
        *why = "a key isn't valid";
        good = false;
    }
    gw_buf_fini(&bytes);
    if (!good) {
        gw_key_fini(key);
        memset(key, 0, sizeof *key);
        return false;
    }
    key->kid = json_is_string(kid) ? gw_strdup(json_string_value(kid)) : NULL;
    return true;
}

/* --- signatures ------------------------------------------------------------------------------------------------- */

/* Ourselves: the library compares MACs with strcmp(3) up to 1.1.13 (CVE-2024-25714). */
static bool verify_mac(const struct gw_key *key, const struct gw_jws *jws, unsigned alg)
{
    uint8_t mac[64];
    size_t len = gnutls_hmac_get_len(verify_algs[alg].mac);
    bool good =
        len == jws->signature_len && len <= sizeof mac &&
        gnutls_hmac_fast(verify_algs[alg].mac, key->secret, key->secret_len, jws->token, jws->input_len, mac) == 0 &&
        gnutls_memcmp(mac, jws->signature, len) == 0;
    explicit_bzero(mac, sizeof mac);
    return good;
}

bool gw_key_verify(const struct gw_key *key, const struct gw_jws *wanted)
{
    unsigned alg = (unsigned)__builtin_ctz(wanted->alg);
    if (!(key->algs & wanted->alg))
        return false;
    if (key->secret)
        return verify_mac(key, wanted, alg);
    /* Nothing that the header offers as a key is looked at, let alone fetched (RFC 8725 section 3.10). */
    jws_t *jws = NULL;
    bool good = r_jws_init(&jws) == RHN_OK &&
                r_jws_advanced_compact_parsen(jws, wanted->token, wanted->len, R_PARSE_NONE, R_FLAG_IGNORE_REMOTE) ==
                    RHN_OK &&
                r_jws_get_alg(jws) == verify_algs[alg].jwa &&
                r_jws_verify_signature(jws, key->jwk, R_FLAG_IGNORE_REMOTE) == RHN_OK;
    r_jws_free(jws);
    return good;
}
