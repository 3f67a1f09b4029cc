/* gate.h: who may ask at all: origins of web pages (WHATWG Fetch, "CORS protocol"; RFC 6454) and credentials. Thread:
 * the worker's. */
#ifndef GW_HTTP_GATE_H
#define GW_HTTP_GATE_H

#include <stdbool.h>

#include "gateway/transport.h"

/* Looks at Origin and credentials before anything else does. True: go on, gw_conn_identity() says who it is. False:
 * it was answered (a preflight, or a refusal), or it waits (conn->ticket.wait). `open`: nobody has to be known here,
 * and any page may ask. */
bool gw_gate_pass(struct gw_conn *conn, const struct gw_request *request, bool open, enum gw_late_identity late);
/* The request has been given to the part that answers it. */
void gw_gate_done(struct gw_conn *conn);

#endif
