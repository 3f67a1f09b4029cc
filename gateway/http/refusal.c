/* refusal.c: what a client is answered that cannot come in. Ready-made, since it is sent before there is a
 * connection. */
#include <string.h>

#include "config/protocols.h"
#include "http/conn.h"
#include "net/listener.h"

#define ANSWER(status, code, text)                                                                                   \
    "HTTP/1.1 " status "\r\nRetry-After: 5\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"           \
    "{\"type\":\"error\",\"code\":\"" code "\",\"message\":\"" text "\"}"

const char *gw_conn_refusal(const struct gw_listener *listener, enum gw_admit why)
{
    if (strcmp(listener->protocol, GW_PROTOCOL_HTTP) != 0)
        return NULL;
    switch (why) {
    case GW_ADMIT:
        break;
    case GW_ADMIT_FULL:
        return ANSWER("503 Service Unavailable", "overloaded", "too many connections; try again later");
    case GW_ADMIT_ADDRESS_FULL:
        return ANSWER("429 Too Many Requests", "limit_reached", "too many connections from this address");
    case GW_ADMIT_RATE:
        return ANSWER("429 Too Many Requests", "rate_limited", "connections come too fast; slow down");
    case GW_ADMIT_MEMORY:
        return ANSWER("503 Service Unavailable", "overloaded", "out of memory for new connections; try again later");
    }
    return NULL;
}
