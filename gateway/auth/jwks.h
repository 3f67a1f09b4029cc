/* jwks.h: key sets that change: jwks_file and jwks_url, read again from time to time by a thread of their own. */
#ifndef GW_AUTH_JWKS_H
#define GW_AUTH_JWKS_H

#include <stdbool.h>
#include <stdint.h>

#include "auth/keys.h"
#include "gateway/config.h"

struct gw_jwks;

/* Reads jwks_file. jwks_url is asked once gw_jwks_start() was called, and until it answers the keys that `previous`
 * (NULL: none) had from the same URL are used. NULL: *problem has a line. Keeps the configuration. */
struct gw_jwks *gw_jwks_create(struct gw_config *config, struct gw_jwks *previous, struct gw_buf *problem);
/* Starts the thread, once. False: *problem has a line. Thread: the one that created it. */
bool gw_jwks_start(struct gw_jwks *jwks, struct gw_buf *problem);
/* Joins the thread, promptly. NULL is fine. */
void gw_jwks_free(struct gw_jwks *jwks);

/* References for the caller; each may be NULL. Thread: any; holds a lock for two increments. */
void gw_jwks_get(struct gw_jwks *jwks, struct gw_keys **file, struct gw_keys **url);

/* Grows whenever a key set is replaced: what was verified before may not be taken any more. Thread: any. */
uint64_t gw_jwks_generation(const struct gw_jwks *jwks);

/* A token named a key that isn't there: reads again soon, at most once every 10 s. Thread: any; returns at once. */
void gw_jwks_want(struct gw_jwks *jwks);

/* After gw_jwks_start(): blocks until everything has been read once, or `ms` are over. Thread: any. */
void gw_jwks_wait(struct gw_jwks *jwks, int64_t ms);

#endif
