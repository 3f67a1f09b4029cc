/* tickets.h: what stands for an identity in one URL, once.
 *
 * Only the SHA-256 of a ticket is kept. The table outlives the configuration: the one of a reload shares it, so that a
 * ticket given out before can be used after. Thread: any; it has a lock. */
#ifndef GW_AUTH_TICKETS_H
#define GW_AUTH_TICKETS_H

#include <stddef.h>
#include <stdint.h>

#include "gateway/auth.h"

#define GW_TICKETS_MAX 65536

struct gw_tickets;
struct gw_tickets *gw_tickets_create(void);
struct gw_tickets *gw_tickets_ref(struct gw_tickets *tickets);
void gw_tickets_unref(struct gw_tickets *tickets);

/* `age` tells the configurations apart: redeeming gives it back. */
GW_MUST_CHECK enum gw_err gw_tickets_issue(struct gw_tickets *tickets, struct gw_identity *identity, uint64_t age, int64_t wall_ms,
                                           int64_t ttl_ms, char out[GW_TICKET_SIZE]);
/* The caller gets the table's reference. GW_ERR_UNAUTHORIZED: there is none such (any more); GW_ERR_EXPIRED: it is too late. */
GW_MUST_CHECK enum gw_err gw_tickets_redeem(struct gw_tickets *tickets, const char *ticket, size_t len, int64_t wall_ms,
                                            struct gw_identity **out, uint64_t *age);

#endif
