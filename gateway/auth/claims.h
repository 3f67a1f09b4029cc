/* claims.h: claims found by their path and filled into filters. Thread: any. */
#ifndef GW_AUTH_CLAIMS_H
#define GW_AUTH_CLAIMS_H

#include <stddef.h>

#include <jansson.h>

/* `a.b` is the member b of the object a, or the claim that is called a.b (some issuers use URLs). Borrowed; NULL:
 * none. */
const json_t *gw_claims_find(const json_t *claims, const char *path, size_t len);

/* Calls `add` with the template for each way to fill in its {claims.NAME}: a text or an integer one way, a list one
 * for each element that is such. A value that is empty or has '/', '+', '#' fills in nothing, nor does one with '$'
 * in front of the filter, so that a value never says more than the one name that it is. claims NULL: there are none.
 */
typedef void (*gw_claims_filled)(void *context, const char *filter, size_t len);
void gw_claims_fill(const json_t *claims, const char *filter, gw_claims_filled add, void *context);

#endif
