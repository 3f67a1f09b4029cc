/* auth.h: from credentials to an identity. gateway/auth/ implements it; the hub, the web side and the transports see
 * only this.
 *
 * One struct gw_auth for each configuration that was loaded, shared by all workers, counted by references. NULL
 * stands for a gateway without `auth:`, where everybody may do everything. Thread: any; nothing blocks on the network
 * or waits for longer than it takes to verify a signature. */
#ifndef GATEWAY_AUTH_H
#define GATEWAY_AUTH_H

#include <stddef.h>
#include <stdint.h>

#include "gateway/buf.h"
#include "gateway/config.h"
#include "gateway/error.h"
#include "gateway/identity.h"

struct gw_auth;

/* Reads the keys. *out NULL with GW_OK: the configuration has no auth:. `previous` (NULL: none) hands over unused
 * tickets and key sets that were fetched from the same URL. On error *problem gets one line `auth.jwt.KEY: what is
 * wrong (what was expected)`; a jwks_url that does not answer is no error: its keys come later. */
GW_MUST_CHECK enum gw_err gw_auth_create(struct gw_config *config, struct gw_auth *previous, struct gw_auth **out,
                                         struct gw_buf *problem);
/* Starts the thread that asks a jwks_url, and reads keys again from time to time, where the configuration has such.
 * False: *problem gets one line. Thread: the one that created it. NULL is fine. */
GW_MUST_CHECK bool gw_auth_start(struct gw_auth *auth, struct gw_buf *problem);
/* After gw_auth_start(): blocks until the keys of a jwks_url have been asked for, whatever came of it, or `ms` are
 * over. For commands that see one token and end; a gateway never waits. NULL is fine. */
void gw_auth_wait(struct gw_auth *auth, int64_t ms);
struct gw_auth *gw_auth_ref(struct gw_auth *auth); /* NULL is fine */
void gw_auth_unref(struct gw_auth *auth);          /* NULL is fine; the last one joins the thread */

/* A JWT (RFC 7519, RFC 8725) or an API key. GW_ERR_UNAUTHORIZED or GW_ERR_EXPIRED; *why then says in a static
 * sentence what was wrong without helping to guess. The caller has a reference to *out. */
GW_MUST_CHECK enum gw_err gw_auth_token(struct gw_auth *auth, const char *token, size_t len, int64_t wall_ms,
                                        struct gw_identity **out, const char **why);

/* The identity of clients without credentials, a reference for the caller; NULL if there is none. */
struct gw_identity *gw_auth_anonymous(struct gw_auth *auth);

/* A ticket stands for an identity in one URL: it can be used once, within auth.ticket_ttl, on any worker and from any
 * address. 43 characters of base64url. GW_ERR_RATE_LIMITED if too many of this identity's are unused,
 * GW_ERR_OVERLOADED if too many of all. */
#define GW_TICKET_SIZE 44
GW_MUST_CHECK enum gw_err gw_auth_ticket(struct gw_auth *auth, struct gw_identity *identity, int64_t wall_ms,
                                         char out[GW_TICKET_SIZE]);
GW_MUST_CHECK enum gw_err gw_auth_redeem(struct gw_auth *auth, const char *ticket, size_t len, int64_t wall_ms,
                                         struct gw_identity **out);

/* Does it look like a ticket? No token does, as that has dots, nor an API key, which is longer. */
bool gw_auth_is_ticket(const char *text, size_t len);

/* Where several gateways share an engine, a ticket is good at each of them: what it stands for lies in the engine
 * (shared.h) until one of them takes it, under this key. False: the text is no ticket. */
#define GW_TICKET_KEY_SIZE 67
bool gw_auth_ticket_key(const char *ticket, size_t len, char key[GW_TICKET_KEY_SIZE]);
/* The text that lies there. */
void gw_auth_ticket_text(const struct gw_identity *identity, struct gw_buf *out);
/* Instead of gw_auth_redeem(), with the text that was taken: grants are looked up here, as after a reload. */
GW_MUST_CHECK enum gw_err gw_auth_redeem_text(struct gw_auth *auth, const char *ticket, size_t len, const char *text,
                                              size_t text_len, int64_t wall_ms, struct gw_identity **out);

/* After a reload: the same client under the new configuration, a reference for the caller. NULL: it would not be let
 * in any more (its API key is gone, nobody is anonymous); a token that was valid stays so until it expires, whatever
 * keys there are now, but its roles are looked up again. */
struct gw_identity *gw_auth_again(struct gw_auth *auth, const struct gw_identity *identity);

/* A new API key and its hash, for `sluice apikey`: "slk_" and 43 characters, "sha256:" and 64 digits. */
void gw_auth_make_key(char key[48], char hash[72]);

#endif
