/* bytes.c: connections of listeners that speak no HTTP (`protocol` in `listen`): a transport gets the bytes as they
 * come. It is asked with the first of them. */
#include <string.h>

#include "http/conn.h"
#include "net/listener.h"

static void bytes_begin(struct gw_conn *conn)
{
    const struct gw_transport *transport = gw_transport_of_stream(conn->sock.listener->protocol);
    conn->address = conn->sock.origin;
    gw_conn_log_arrival(conn, gw_sock_secure(&conn->sock), "connection",
                        (struct gw_slice){transport->stream_protocol, strlen(transport->stream_protocol)});
    gw_conn_no_deadline(conn);
    transport->accept(conn);
    if (conn->state == GW_CONN_OTHER && !conn->ops)
        gw_sock_kill(&conn->sock);
}

static void bytes_process(struct gw_conn *conn)
{
    if (!conn->in.len || conn->held_back)
        return;
    if (!conn->ops)
        bytes_begin(conn);
    if (gw_conn_dead(conn) || conn->state != GW_CONN_OTHER)
        return;
    struct gw_buf in = gw_buf_move(&conn->in); /* the transport may close the connection */
    if (conn->ops->input)
        conn->ops->input(conn, in.data, in.len);
    gw_buf_fini(&in);
}

const struct gw_conn_protocol gw_bytes_protocol = {.process = bytes_process};
