/* tickets.h: what stands for an identity in one URL, once.
 *
 * Only the SHA-256 of a ticket is kept. The table outlives the configuration: the one of a reload shares it, so that
 * a ticket given out before can be used after. Thread: any; it has a lock. */
#ifndef GW_AUTH_TICKETS_H
#define GW_AUTH_TICKETS_H

#include <stddef.h>
#include <stdint.h>

#include "gateway/auth.h"
#include "gateway/buf.h"

#define GW_TICKETS_MAX 65536
/* Of one owner: nobody takes those of all the others, and a kiosk's key may still bring a thousand pages back at
 * once. */
#define GW_TICKETS_EACH 1024

struct gw_tickets;
struct gw_tickets *gw_tickets_create(void);
struct gw_tickets *gw_tickets_ref(struct gw_tickets *tickets);
void gw_tickets_unref(struct gw_tickets *tickets);

/* `owner`: whose tickets are counted together; not empty. `age` tells the configurations apart: redeeming gives it
 * back. GW_ERR_RATE_LIMITED: the owner has GW_TICKETS_EACH that are unused; GW_ERR_OVERLOADED: all have
 * GW_TICKETS_MAX. */
GW_MUST_CHECK enum gw_err gw_tickets_issue(struct gw_tickets *tickets, struct gw_identity *identity,
                                           const struct gw_buf *owner, uint64_t age, int64_t wall_ms, int64_t ttl_ms,
                                           char out[GW_TICKET_SIZE]);
/* The caller gets the table's reference. GW_ERR_UNAUTHORIZED: there is none such (any more); GW_ERR_EXPIRED: it is
 * too late. */
GW_MUST_CHECK enum gw_err gw_tickets_redeem(struct gw_tickets *tickets, const char *ticket, size_t len,
                                            int64_t wall_ms, struct gw_identity **out, uint64_t *age);

#endif
