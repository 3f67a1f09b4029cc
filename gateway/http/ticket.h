/* ticket.h: tickets over HTTP (include/gateway/auth.h). Thread: the worker's. */
#ifndef GW_HTTP_TICKET_H
#define GW_HTTP_TICKET_H

#include <stdbool.h>

#include "gateway/transport.h"

/* What a client hears, with GW_ERR_OVERLOADED. */
#define GW_TICKET_AWAY                                                                                               \
    "the engine, which keeps the tickets of all gateways, can't be reached; use a token, or try again later"

/* `ticket=` of the query. */
bool gw_ticket_of_query(const struct gw_request *request, struct gw_buf *ticket);
/* *out: whose it was. While conn->ticket.wait is set afterwards, the answer is still to come, and the request comes
 * again with it. *why as gw_hub_redeem(). */
GW_MUST_CHECK enum gw_err gw_ticket_redeem(struct gw_conn *conn, const struct gw_buf *ticket,
                                           struct gw_identity **out, const char **why);
/* The request has been given to the part that answers it, or the connection is gone. */
void gw_ticket_forget(struct gw_conn *conn);

/* POST /ticket. */
void gw_ticket_request(struct gw_conn *conn, const struct gw_request *request);

#endif
