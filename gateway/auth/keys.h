/* keys.h: sets of keys that tokens are verified with.
 *
 * Every key is bound to the algorithms of its own type (RFC 8725 section 3.1), so that a public key can never be
 * taken for a secret. A set is immutable once it is shared, and counted by references. Thread: any. */
#ifndef GW_AUTH_KEYS_H
#define GW_AUTH_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/buf.h"

/* A bit for each algorithm. */
typedef uint32_t gw_algs;
#define GW_ALGS_ALL 0x1fffu

/* Exactly as RFC 7518 spells it; 0 for everything else, `none` included. */
gw_algs gw_alg_parse(const char *name, size_t len);

#define GW_KEYS_MAX      64
#define GW_KEYS_FILE_MAX (1024 * 1024)
#define GW_SECRET_MIN    32
#define GW_RSA_BITS_MIN  2048

struct gw_keys;
struct gw_keys *gw_keys_create(void);
struct gw_keys *gw_keys_ref(struct gw_keys *keys); /* NULL is fine */
void gw_keys_unref(struct gw_keys *keys);          /* NULL is fine */

/* Each adds to a set that isn't shared yet. False: `problem` has what is wrong and what was expected, without the
 * key. */
bool gw_keys_add_pem(struct gw_keys *keys, const char *text, size_t len, struct gw_buf *problem);
bool gw_keys_add_secret(struct gw_keys *keys, const char *bytes, size_t len, struct gw_buf *problem);
/* A JWK Set (RFC 7517). Keys that can't be used here are left out and counted in the log; it is a problem if none is
 * left. `remote`: it came over the network, where secrets (kty oct) have no business. */
bool gw_keys_add_jwks(struct gw_keys *keys, const char *text, size_t len, bool remote, struct gw_buf *problem);

/* Reads a file of at most GW_KEYS_FILE_MAX bytes. */
bool gw_keys_read_file(const char *path, struct gw_buf *out, struct gw_buf *problem);

/* What the keys could verify, all together. */
gw_algs gw_keys_algs(const struct gw_keys *keys);

enum gw_verdict { GW_SIGNATURE_GOOD, GW_SIGNATURE_BAD, GW_SIGNATURE_NO_KEY };

/* A compact JWS that was taken apart already: `input_len` bytes of header and payload with their dot, then a dot and
 * the signature. `alg` is one bit. kid NULL: every key that fits is tried, up to 16. With a kid those with that kid
 * are, or else those that have none. */
struct gw_jws {
    const char *token;
    size_t len, input_len;
    const char *signature; /* decoded */
    size_t signature_len;
    gw_algs alg;
    const char *kid;
};
enum gw_verdict gw_keys_verify(const struct gw_keys *keys, const struct gw_jws *jws);
/* Is there a key with that kid? */
bool gw_keys_has(const struct gw_keys *keys, const char *kid);

#endif
