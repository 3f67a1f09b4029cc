#include "auth/sign.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "auth/keys.h"
#include "base/base64.h"

#define MAC_MAX 64

static const struct sign_alg {
    const char *name, *header;
    gnutls_mac_algorithm_t mac;
} sign_algs[] = {
    {"HS256", "{\"alg\":\"HS256\",\"typ\":\"JWT\"}", GNUTLS_MAC_SHA256},
    {"HS384", "{\"alg\":\"HS384\",\"typ\":\"JWT\"}", GNUTLS_MAC_SHA384},
    {"HS512", "{\"alg\":\"HS512\",\"typ\":\"JWT\"}", GNUTLS_MAC_SHA512},
};

/* The first one that the configuration takes, or NULL. */
static const struct sign_alg *sign_choose(const struct gw_cfg_jwt *jwt)
{
    for (size_t i = 0; i < sizeof sign_algs / sizeof *sign_algs; i++) {
        if (!jwt->algorithms.count)
            return &sign_algs[i];
        for (size_t j = 0; j < jwt->algorithms.count; j++) {
            if (!strcmp(jwt->algorithms.items[j], sign_algs[i].name))
                return &sign_algs[i];
        }
    }
    return NULL;
}

static bool sign_roles(const struct gw_config *config, const struct gw_sign *sign, json_t *claims,
                       struct gw_buf *problem)
{
    if (!sign->role_count)
        return true;
    if (!config->auth.jwt.roles_claim) {
        gw_buf_adds(problem, "auth.jwt has no roles_claim, so no token brings roles");
        return false;
    }
    json_t *list = json_array();
    json_object_set_new(claims, config->auth.jwt.roles_claim, list);
    for (size_t i = 0; i < sign->role_count; i++) {
        bool known = false;
        for (size_t j = 0; j < config->role_count && !known; j++)
            known = !strcmp(config->roles[j].name, sign->roles[i]);
        if (known) {
            json_array_append_new(list, json_string(sign->roles[i]));
            continue;
        }
        gw_buf_printf(problem, "there is no role '%s' (", sign->roles[i]);
        for (size_t j = 0; j < config->role_count; j++)
            gw_buf_printf(problem, "%s%s", j ? ", " : "", config->roles[j].name);
        gw_buf_adds(problem, config->role_count ? " expected)" : "an entry in roles: expected)");
        return false;
    }
    return true;
}

static bool sign_claims(const struct gw_config *config, const struct gw_sign *sign, json_t *claims,
                        struct gw_buf *problem)
{
    const struct gw_cfg_jwt *jwt = &config->auth.jwt;
    json_t *subject = json_string(sign->subject); /* NULL: it is not UTF-8 */
    if (!subject || json_object_set_new(claims, "sub", subject)) {
        gw_buf_adds(problem, "--subject is not UTF-8");
        return false;
    }
    if (jwt->issuer)
        json_object_set_new(claims, "iss", json_string(jwt->issuer));
    if (jwt->audience.count)
        json_object_set_new(claims, "aud", json_string(jwt->audience.items[0]));
    json_object_set_new(claims, "iat", json_integer(sign->now_ms / 1000));
    json_object_set_new(claims, "exp", json_integer(sign->expires_ms / 1000));
    if (!sign_roles(config, sign, claims, problem))
        return false;
    for (size_t i = 0; i < sign->claim_count; i++) {
        const char *claim = sign->claims[i], *equals = strchr(claim, '=');
        char *name = equals && equals != claim ? strndup(claim, (size_t)(equals - claim)) : NULL;
        json_t *value = name ? json_loads(equals + 1, JSON_DECODE_ANY, NULL) : NULL;
        if (name && !value)
            value = json_string(equals + 1);
        bool good = value && !json_object_set_new(claims, name, value);
        free(name);
        if (!good) {
            gw_buf_printf(problem, "--claim %s: NAME=VALUE in UTF-8 expected", claim);
            return false;
        }
    }
    return true;
}

/* Reads the secret as the gateway does: without a line end at its end. */
static bool sign_secret(const char *file, struct gw_buf *secret, struct gw_buf *problem)
{
    struct gw_buf why = {0};
    bool good = gw_keys_read_file(file, secret, &why);
    if (!good)
        gw_buf_printf(problem, "auth.jwt.secret_file: %s", why.data);
    gw_buf_fini(&why);
    while (good && secret->len && (secret->data[secret->len - 1] == '\n' || secret->data[secret->len - 1] == '\r'))
        secret->len--;
    return good;
}

bool gw_sign_token(const struct gw_config *config, const struct gw_sign *sign, struct gw_buf *out,
                   struct gw_buf *problem)
{
    const struct gw_cfg_jwt *jwt = &config->auth.jwt;
    if (!config->auth.enabled || !config->auth.has_jwt || !jwt->secret_file) {
        gw_buf_adds(problem, !config->auth.enabled   ? "there is no auth:, so nobody needs a token"
                             : !config->auth.has_jwt ? "auth: has no jwt: (auth.jwt.secret_file expected)"
                                                     : "auth.jwt has no secret_file: its tokens come from where the "
                                                       "private key is (auth.jwt.secret_file expected)");
        return false;
    }
    const struct sign_alg *alg = sign_choose(jwt);
    if (!alg) {
        gw_buf_adds(problem, "auth.jwt.algorithms has none that a secret signs with (HS256 expected)");
        return false;
    }
    struct gw_buf secret = {0};
    json_t *claims = json_object();
    bool good = sign_secret(jwt->secret_file, &secret, problem) && sign_claims(config, sign, claims, problem);
    char *text = good ? json_dumps(claims, JSON_COMPACT) : NULL;
    if (text) {
        uint8_t mac[MAC_MAX];
        gw_base64url_encode(out, alg->header, strlen(alg->header));
        gw_buf_addc(out, '.');
        gw_base64url_encode(out, text, strlen(text));
        good = !gnutls_hmac_fast(alg->mac, secret.data, secret.len, out->data, out->len, mac);
        gw_buf_addc(out, '.');
        gw_base64url_encode(out, mac, gnutls_hmac_get_len(alg->mac));
        if (!good)
            gw_buf_adds(problem, "the library for signatures refuses");
    }
    free(text);
    json_decref(claims);
    if (secret.data)
        explicit_bzero(secret.data, secret.cap);
    gw_buf_fini(&secret);
    return good;
}
