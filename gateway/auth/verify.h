/* verify.h: one key, and whether it made a signature. Used by keys.c. Thread: any, once it is made. */
#ifndef GW_AUTH_VERIFY_H
#define GW_AUTH_VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "auth/keys.h"

struct gw_key {
    char *kid; /* NULL: none */
    gw_algs algs;
    json_t *jwk;  /* public key, bare members only; NULL: a secret */
    char *secret; /* NULL: a public key */
    size_t secret_len;
};

/* False: *why says in a static sentence what is wrong. The members that matter are checked and copied; certificates
 * and URLs in a JWK are not looked at. */
bool gw_key_from_jwk(const json_t *jwk, struct gw_key *key, const char **why);
struct gw_key gw_key_from_secret(const char *bytes, size_t len);
void gw_key_fini(struct gw_key *key);

bool gw_key_verify(const struct gw_key *key, const struct gw_jws *jws);

#endif
