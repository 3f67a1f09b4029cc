/* token.h: JSON Web Tokens (RFC 7519 as a compact JWS, RFC 7515; the checks follow RFC 8725). Thread: any. */
#ifndef GW_AUTH_TOKEN_H
#define GW_AUTH_TOKEN_H

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "auth/keys.h"
#include "gateway/buf.h"
#include "gateway/config.h"
#include "gateway/error.h"

#define GW_TOKEN_MAX 8192

/* A token taken apart; nothing in it is to be believed yet. Points into the token that it was read from. */
struct gw_token {
    struct gw_jws jws;
    char kid[257];        /* jws.kid points here, or is NULL */
    struct gw_buf claims; /* JSON text, as it came */
    struct gw_buf signature;
};

/* Even after an error gw_token_fini is due. *why as in gateway/auth.h. */
GW_MUST_CHECK enum gw_err gw_token_read(struct gw_token *token, const char *text, size_t len, gw_algs allowed,
                                        const char **why);
void gw_token_fini(struct gw_token *token);

struct gw_claims {
    json_t *root;       /* owned by the caller */
    const char *sub;    /* NULL: none */
    int64_t expires_ms; /* leeway included */
};

/* Only once the signature has been verified. On success the caller owns claims->root. */
GW_MUST_CHECK enum gw_err gw_token_check(const struct gw_cfg_jwt *cfg, const struct gw_token *token, int64_t wall_ms,
                                         struct gw_claims *claims, const char **why);

#endif
