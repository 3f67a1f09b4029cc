/* connlog.c: lines of the log that know the client's address. */
#include <arpa/inet.h>

#include "gateway/session_log.h"
#include "http/conn.h"
#include "net/address.h"

void gw_conn_log_session(const struct gw_conn *conn, const struct gw_session *session)
{
    if (!gw_log_enabled(GW_LOG_DEBUG))
        return;
    char name[GW_SESSION_NAME_MAX], address[INET6_ADDRSTRLEN];
    gw_session_name(session, name);
    gw_address_format(&conn->address, address);
    const struct gw_log_about about = {.session = name, .address = address};
    gw_log_about(NULL, &about, GW_LOG_DEBUG, "session", "opened over %s",
                 session->ops->transport ? session->ops->transport : "another transport");
}

void gw_conn_log_bad(const struct gw_conn *conn, int status, const char *why)
{
    if (!gw_log_enabled(GW_LOG_DEBUG))
        return;
    char address[INET6_ADDRSTRLEN];
    gw_address_format(&conn->address, address);
    const struct gw_log_about about = {.address = address};
    gw_log_about(NULL, &about, GW_LOG_DEBUG, "web", "broken protocol, answered %d: %s", status, why);
}

void gw_conn_log_arrival(const struct gw_conn *conn, bool secure, const char *what, struct gw_slice text)
{
    if (!gw_log_enabled(GW_LOG_DEBUG))
        return;
    char address[INET6_ADDRSTRLEN] = "unix";
    if (!IN6_IS_ADDR_UNSPECIFIED(&conn->address))
        inet_ntop(AF_INET6, &conn->address, address, sizeof address);
    gw_log(GW_LOG_DEBUG, "web", "%s from %s%s: %.*s", what, address, secure ? " with TLS" : "", (int)text.len,
           text.data);
}
