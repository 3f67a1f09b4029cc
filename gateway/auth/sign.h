/* sign.h: a JWT for trying, signed with auth.jwt.secret_file. The gateway itself issues none. Thread: any. */
#ifndef GW_AUTH_SIGN_H
#define GW_AUTH_SIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/buf.h"
#include "gateway/config.h"

struct gw_sign {
    const char *subject;      /* sub */
    const char *const *roles; /* of auth.jwt.roles_claim */
    size_t role_count;
    const char *const *claims; /* NAME=VALUE; a VALUE that is no JSON is a text */
    size_t claim_count;
    int64_t now_ms, expires_ms; /* milliseconds since 1970 */
};

/* Adds the token to `out`, with the issuer and the first audience that the configuration asks for. False: `problem`
 * has one line: what is wrong and what was expected. */
bool gw_sign_token(const struct gw_config *config, const struct gw_sign *sign, struct gw_buf *out,
                   struct gw_buf *problem);

#endif
