/* connlog.c: lines of the log that know the client's address. */
#include <arpa/inet.h>

#include "http/conn.h"
#include "hub/session_log.h"

static void connlog_address(const struct gw_conn *conn, char out[INET6_ADDRSTRLEN])
{
    const struct in6_addr *from = &conn->address;
    out[0] = '\0';
    if (IN6_IS_ADDR_V4MAPPED(from))
        inet_ntop(AF_INET, &from->s6_addr[12], out, INET6_ADDRSTRLEN);
    else
        inet_ntop(AF_INET6, from, out, INET6_ADDRSTRLEN);
}

void gw_conn_log_session(const struct gw_conn *conn, const struct gw_session *session)
{
    if (!gw_log_enabled(GW_LOG_DEBUG))
        return;
    char name[GW_SESSION_NAME_MAX], address[INET6_ADDRSTRLEN];
    gw_session_name(session, name);
    connlog_address(conn, address);
    const struct gw_log_about about = {.session = name, .address = address};
    gw_log_about(NULL, &about, GW_LOG_DEBUG, "session", "opened over %s",
                 session->ops->transport ? session->ops->transport : "another transport");
}

void gw_conn_log_bad(const struct gw_conn *conn, int status, const char *why)
{
    if (!gw_log_enabled(GW_LOG_DEBUG))
        return;
    char address[INET6_ADDRSTRLEN];
    connlog_address(conn, address);
    const struct gw_log_about about = {.address = address};
    gw_log_about(NULL, &about, GW_LOG_DEBUG, "web", "broken protocol, answered %d: %s", status, why);
}

void gw_conn_log_handshake(const struct gw_conn *conn, const char *why)
{
    if (!gw_log_enabled(GW_LOG_DEBUG))
        return;
    char address[INET6_ADDRSTRLEN];
    connlog_address(conn, address);
    const struct gw_log_about about = {.address = address};
    gw_log_about(NULL, &about, GW_LOG_DEBUG, "web", "TLS handshake failed: %s", why);
}
