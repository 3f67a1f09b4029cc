/* entitle.h: from roles and claims to grants.
 *
 * Equal grants are the same object (include/gateway/identity.h), and equal field lists the same projection, as long
 * as a bounded table remembers them. Thread: any. */
#ifndef GW_AUTH_ENTITLE_H
#define GW_AUTH_ENTITLE_H

#include <jansson.h>

#include "gateway/config.h"
#include "gateway/identity.h"

struct gw_entitle;

/* Keeps the configuration. */
struct gw_entitle *gw_entitle_create(struct gw_config *config);
/* NULL is fine. */
void gw_entitle_free(struct gw_entitle *entitle);

/* Grants of these roles, in the order of the configuration; filters with claims grant nothing. A reference for the
 * caller, never NULL. */
struct gw_grants *gw_entitle_roles(struct gw_entitle *entitle, const struct gw_strings *roles);
/* Grants of the roles and permissions that the claims name. A role that doesn't exist is left out. */
struct gw_grants *gw_entitle_claims(struct gw_entitle *entitle, const json_t *claims);

#endif
