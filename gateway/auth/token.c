#include "auth/token.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "auth/encode.h"

/* 9999-12-31: a larger number means milliseconds, or nothing good. */
#define NUMERIC_DATE_MAX 253402300799.0
/* How far ahead of ours the clock of an issuer may be, besides the leeway, in what it says about itself (iat). */
#define IAT_AHEAD_MS 300000

static enum gw_err token_refuse(const char **why, const char *text)
{
    *why = text;
    return GW_ERR_UNAUTHORIZED;
}

/* --- header ----------------------------------------------------------------------------------------------------- */

static enum gw_err token_read_header(struct gw_token *token, const json_t *header, gw_algs allowed, const char **why)
{
    const json_t *alg = json_object_get(header, "alg"), *kid = json_object_get(header, "kid"),
                 *typ = json_object_get(header, "typ");
    /* RFC 8725 sections 2.1 and 3.1: decided before anything is verified, and `none` in no spelling is on the list.
     */
    token->jws.alg =
        json_is_string(alg) ? gw_alg_parse(json_string_value(alg), json_string_length(alg)) & allowed : 0;
    if (!token->jws.alg)
        return token_refuse(why, "the token is signed with an algorithm that is not taken here");
    if (json_object_get(header, "crit")) /* RFC 7515 section 4.1.11: we understand no extension */
        return token_refuse(why, "the token has critical extensions that are not understood");
    if (typ && !json_is_string(typ))
        return token_refuse(why, "the token's header is malformed");
    if (kid) { /* RFC 8725 section 3.10: it is compared, and nothing else */
        if (!json_is_string(kid) || json_string_length(kid) >= sizeof token->kid)
            return token_refuse(why, "the token's header is malformed");
        memcpy(token->kid, json_string_value(kid), json_string_length(kid) + 1);
        token->jws.kid = token->kid;
    }
    return GW_OK;
}

enum gw_err gw_token_read(struct gw_token *token, const char *text, size_t len, gw_algs allowed, const char **why)
{
    memset(token, 0, sizeof *token);
    if (len > GW_TOKEN_MAX)
        return token_refuse(why, "the token is too long");
    const char *first = memchr(text, '.', len),
               *second = first ? memchr(first + 1, '.', len - (size_t)(first + 1 - text)) : NULL;
    size_t rest = second ? len - (size_t)(second + 1 - text) : 0;
    if (!rest || memchr(second + 1, '.', rest)) /* five parts are a JWE: nothing here has a key to read it */
        return token_refuse(why, "it is no signed JSON Web Token");
    struct gw_buf header = {0};
    bool good = gw_base64url_decode(&header, text, (size_t)(first - text)) &&
                gw_base64url_decode(&token->claims, first + 1, (size_t)(second - first - 1)) &&
                gw_base64url_decode(&token->signature, second + 1, rest) && header.len && token->claims.len &&
                !memchr(token->claims.data, '\0', token->claims.len); /* the claims are kept as a C string */
    json_error_t error;
    json_t *root = good ? json_loadb(header.data, header.len, JSON_REJECT_DUPLICATES, &error)
                        : NULL; /* RFC 8725 section 2.4, RFC 7515 section 4 */
    token->jws.token = text;
    token->jws.len = len;
    token->jws.input_len = (size_t)(second - text);
    token->jws.signature = token->signature.data;
    token->jws.signature_len = token->signature.len;
    enum gw_err err = json_is_object(root) ? token_read_header(token, root, allowed, why)
                                           : token_refuse(why, "it is no signed JSON Web Token");
    json_decref(root);
    gw_buf_fini(&header);
    return err;
}

void gw_token_fini(struct gw_token *token)
{
    gw_buf_fini(&token->claims);
    gw_buf_fini(&token->signature);
}

/* --- claims ----------------------------------------------------------------------------------------------------- */

/* A NumericDate (RFC 7519 section 2) in ms; it may have a fraction. False: it is none. */
static bool token_date(const json_t *value, int64_t *ms)
{
    if (!json_is_number(value))
        return false;
    double seconds = json_number_value(value);
    if (!isfinite(seconds) || seconds < 0 || seconds > NUMERIC_DATE_MAX)
        return false;
    *ms = json_is_integer(value) ? (int64_t)json_integer_value(value) * 1000 : (int64_t)(seconds * 1000);
    return true;
}

static enum gw_err token_check_times(const struct gw_cfg_jwt *cfg, const json_t *root, int64_t wall_ms,
                                     int64_t *expires_ms, const char **why)
{
    const json_t *exp = json_object_get(root, "exp"), *nbf = json_object_get(root, "nbf"),
                 *iat = json_object_get(root, "iat");
    int64_t at;
    if (!exp) /* a token for ever could never be taken back */
        return token_refuse(why, "the token has no time of expiry (exp)");
    if (!token_date(exp, &at))
        return token_refuse(why, "the token's times are malformed");
    *expires_ms = at + cfg->leeway_ms;
    if (wall_ms >= *expires_ms) {
        *why = "the token has expired";
        return GW_ERR_EXPIRED;
    }
    if (nbf && !token_date(nbf, &at))
        return token_refuse(why, "the token's times are malformed");
    if (nbf && at > wall_ms + cfg->leeway_ms)
        return token_refuse(why, "the token is not valid yet");
    if (iat && !token_date(iat, &at))
        return token_refuse(why, "the token's times are malformed");
    if (iat && at > wall_ms + cfg->leeway_ms + IAT_AHEAD_MS)
        return token_refuse(why, "the token was issued in the future");
    return GW_OK;
}

static bool token_names(const struct gw_strings *wanted, const json_t *value)
{
    for (size_t i = 0; i < wanted->count; i++) {
        if (!strcmp(wanted->items[i], json_string_value(value)))
            return true;
    }
    return false;
}

/* RFC 8725 section 3.9: a token for another service is worth nothing here. */
static enum gw_err token_check_audience(const struct gw_strings *wanted, const json_t *aud, const char **why)
{
    bool named = false;
    const json_t *item;
    size_t i;
    if (aud && !json_is_string(aud) && !json_is_array(aud))
        return token_refuse(why, "the token's audience (aud) is malformed");
    if (json_is_string(aud))
        named = token_names(wanted, aud);
    json_array_foreach(aud, i, item)
    {
        if (!json_is_string(item))
            return token_refuse(why, "the token's audience (aud) is malformed");
        named |= token_names(wanted, item);
    }
    return named || !wanted->count ? GW_OK : token_refuse(why, "the token is for another audience");
}

static enum gw_err token_check_parties(const struct gw_cfg_jwt *cfg, const json_t *root, struct gw_claims *claims,
                                       const char **why)
{
    const json_t *iss = json_object_get(root, "iss"), *sub = json_object_get(root, "sub");
    if (iss && !json_is_string(iss))
        return token_refuse(why, "the token's issuer (iss) is malformed");
    if (cfg->issuer && (!iss || strcmp(json_string_value(iss), cfg->issuer) != 0)) /* RFC 8725 section 3.8 */
        return token_refuse(why, "the token is from another issuer");
    if (sub && !json_is_string(sub))
        return token_refuse(why, "the token's subject (sub) is malformed");
    claims->sub = json_string_value(sub);
    return token_check_audience(&cfg->audience, json_object_get(root, "aud"), why);
}

enum gw_err gw_token_check(const struct gw_cfg_jwt *cfg, const struct gw_token *token, int64_t wall_ms,
                           struct gw_claims *claims, const char **why)
{
    json_error_t error;
    memset(claims, 0, sizeof *claims);
    /* RFC 7519 section 4: one claim twice is two answers to one question. RFC 8725 section 3.7: jansson takes UTF-8
     * only. */
    claims->root = json_loadb(token->claims.data, token->claims.len, JSON_REJECT_DUPLICATES, &error);
    enum gw_err err = json_is_object(claims->root) ? token_check_parties(cfg, claims->root, claims, why)
                                                   : token_refuse(why, "the token's claims are malformed");
    if (err == GW_OK)
        err = token_check_times(cfg, claims->root, wall_ms, &claims->expires_ms, why);
    if (err != GW_OK) {
        json_decref(claims->root);
        claims->root = NULL;
    }
    return err;
}
