/* ticket.c: POST /ticket, and tickets in the query of a request. Where several gateways share an engine, both wait
 * for it: another gateway may have given the ticket out. */
#include "http/ticket.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/auth.h"
#include "gateway/log.h"
#include "gateway/shared.h"
#include "http/conn.h"

/* --- redeeming -------------------------------------------------------------------------------------------------- */

bool gw_ticket_of_query(const struct gw_request *request, struct gw_buf *ticket)
{
    struct gw_params params = {.query = request->query};
    bool found = false;
    while (!found && gw_params_next(&params))
        found = !strcmp(params.key.data, "ticket");
    if (found)
        gw_buf_add(ticket, params.value.data, params.value.len);
    gw_params_end(&params, NULL);
    return found;
}

static void ticket_taken(void *context, enum gw_err err, const char *text, size_t len)
{
    struct gw_conn *conn = context;
    conn->ticket = (struct gw_conn_ticket){.answered = true, .err = err};
    if (err == GW_OK) {
        conn->ticket.text = gw_strndup(text, len);
        conn->ticket.len = len;
    }
    if (gw_conn_dead(conn) || conn->state != GW_CONN_BUSY)
        return;
    conn->state = GW_CONN_AGAIN;
    gw_conn_process(conn);
}

enum gw_err gw_ticket_redeem(struct gw_conn *conn, const struct gw_buf *ticket, struct gw_identity **out,
                             const char **why)
{
    struct gw_hub *hub = gw_conn_hub(conn);
    struct gw_conn_ticket *state = &conn->ticket;
    const struct gw_slice text = {ticket->data, ticket->len};
    const struct gw_shared_answer taken = {state->err, state->text, state->len};
    if (!state->answered)
        state->wait = gw_hub_ask_ticket(hub, text, ticket_taken, conn);
    if (state->wait)
        return GW_ERR_UNAUTHORIZED; /* so far */
    return gw_hub_redeem(hub, text, state->answered ? &taken : NULL, out, why);
}

void gw_ticket_forget(struct gw_conn *conn)
{
    gw_shared_forget(conn->ticket.wait);
    free(conn->ticket.text);
    conn->ticket = (struct gw_conn_ticket){.answered = false};
}

/* --- giving out ------------------------------------------------------------------------------------------------- */

static void ticket_reply(struct gw_conn *conn, const char *ticket)
{
    struct gw_hub *hub = gw_conn_hub(conn);
    struct gw_buf body = {0};
    gw_buf_printf(&body, "{\"ticket\":\"%s\",\"expires_in\":%lld}", ticket,
                  (long long)(gw_hub_config(hub)->auth.ticket_ttl_ms / 1000));
    gw_http_reply(conn, 200, NULL, "application/json", body.data, body.len);
    gw_buf_fini(&body);
}

/* A ticket on its way to the engine. */
struct issue {
    struct gw_conn *conn;
    struct gw_shared_wait *wait;
    char ticket[GW_TICKET_SIZE];
};

static void issue_put(void *context, enum gw_err err, const char *text, size_t len)
{
    (void)text;
    (void)len;
    struct issue *issue = context;
    if (err == GW_OK)
        ticket_reply(issue->conn, issue->ticket);
    else
        gw_http_error_headers(issue->conn, GW_ERR_OVERLOADED, GW_TICKET_AWAY, "Retry-After: 1\r\n");
    free(issue);
}

static void issue_closed(struct gw_conn *conn)
{
    struct issue *issue = gw_conn_context(conn);
    gw_shared_forget(issue->wait);
    free(issue);
}

/* The client gets it only when every gateway can take it. */
static void ticket_share(struct gw_conn *conn, const char *ticket)
{
    static const struct gw_conn_ops ops = {.closed = issue_closed};
    struct gw_hub *hub = gw_conn_hub(conn);
    char key[GW_TICKET_KEY_SIZE];
    struct gw_buf text = {0};
    struct issue *issue = gw_calloc(1, sizeof *issue);
    issue->conn = conn;
    memcpy(issue->ticket, ticket, GW_TICKET_SIZE);
    gw_auth_ticket_text(conn->identity, &text);
    if (!gw_auth_ticket_key(ticket, GW_TICKET_SIZE - 1, key))
        abort(); /* we have made it just now */
    gw_conn_attach(conn, &ops, issue);
    issue->wait =
        gw_shared_put(hub, key, text.data, text.len, gw_hub_config(hub)->auth.ticket_ttl_ms, issue_put, issue);
    gw_buf_fini(&text);
}

void gw_ticket_request(struct gw_conn *conn, const struct gw_request *request)
{
    struct gw_hub *hub = gw_conn_hub(conn);
    if (request->method != GW_POST) {
        gw_http_error_headers(conn, GW_ERR_METHOD, NULL, "Allow: POST\r\n");
        return;
    }
    if (!gw_hub_auth(hub)) {
        gw_http_error(conn, GW_ERR_NOT_FOUND, "this gateway asks nobody who he is");
        return;
    }
    struct gw_buf used = {0};
    bool renewing = gw_ticket_of_query(request, &used);
    gw_buf_fini(&used);
    if (renewing) { /* a stolen one would renew itself for ever */
        gw_http_error(conn, GW_ERR_FORBIDDEN, "a ticket cannot buy another one: send the token or key itself");
        return;
    }
    char ticket[GW_TICKET_SIZE];
    if (conn->identity->kind == GW_ANONYMOUS) { /* who needs none must not use them up */
        gw_http_error_headers(conn, GW_ERR_UNAUTHORIZED, "there are tickets for those only who have a token or key",
                              "WWW-Authenticate: Bearer realm=\"sluice\"\r\n");
        return;
    }
    enum gw_err err = gw_auth_ticket(gw_hub_auth(hub), conn->identity, gw_hub_wall(hub), ticket);
    if (err == GW_ERR_RATE_LIMITED) {
        GW_STAT_ADD(gw_hub_stats(hub), rate_limited, 1);
        GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "auth", "a ticket was refused: its owner has too many that are unused");
        gw_http_error(conn, err, "too many tickets of yours are unused; use them or wait until they expire");
        return;
    }
    if (err != GW_OK) {
        gw_http_error(conn, err, NULL);
        return;
    }
    if (gw_hub_shares(hub))
        ticket_share(conn, ticket);
    else
        ticket_reply(conn, ticket);
}
