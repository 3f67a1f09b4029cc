#include "gateway/error.h"

#include <stdio.h>

/* Close codes: RFC 6455 section 7.4 and the registry; 4000 to 4999 are ours. */
static const struct {
    const char *code;
    int status;
    int close;
    const char *text;
} error_table[GW_ERR_COUNT] = {
    [GW_OK] = {"ok", 200, 1000, "all is well"},
    [GW_ERR_BAD_REQUEST] = {"bad_request", 400, 1008, "the request can't be understood"},
    [GW_ERR_BAD_PAYLOAD] = {"bad_request", 400, 1008, "the payload is nothing that the channel's codec takes"},
    [GW_ERR_UNKNOWN_CHANNEL] = {"unknown_channel", 404, 1008, "no route leads to this channel"},
    [GW_ERR_NO_VALUE] = {"no_value", 404, 1008, "the channel has no value yet"},
    [GW_ERR_NOT_FOUND] = {"not_found", 404, 1008, "there is nothing at this address"},
    [GW_ERR_METHOD] = {"method_not_allowed", 405, 1008, "this address does not take this method"},
    [GW_ERR_FORBIDDEN] = {"forbidden", 403, 1008, "this is not allowed"},
    [GW_ERR_UNAUTHORIZED] = {"unauthorized", 401, 4401, "a valid token is needed"},
    [GW_ERR_EXPIRED] = {"expired", 401, 4401, "the token has expired"},
    [GW_ERR_TOO_LARGE] = {"too_large", 413, 1009, "the message is too large"},
    [GW_ERR_RANGE] = {"range_not_satisfiable", 416, 1008, "the range begins behind the end"},
    [GW_ERR_RATE_LIMITED] = {"rate_limited", 429, 1013, "too many requests; slow down"},
    [GW_ERR_LIMIT] = {"limit_reached", 429, 1008, "a limit of this gateway is reached"},
    [GW_ERR_OVERLOADED] = {"overloaded", 503, 1013, "too much is waiting; try again later"},
    [GW_ERR_UPSTREAM_DOWN] = {"upstream_down", 503, 1013, "the broker can't be reached"},
    [GW_ERR_REJECTED] = {"rejected", 502, 1008, "the broker refused the message"},
    [GW_ERR_TIMEOUT] = {"timeout", 504, 1013, "no answer in time; whether it took effect is unknown"},
    [GW_ERR_NO_RESPONDER] = {"no_responder", 502, 1008, "nobody listens on the topic that the request goes to"},
    [GW_ERR_UNSUPPORTED] = {"unsupported", 501, 1008, "the connection to the broker can't do this (MQTT 5 expected)"},
    [GW_ERR_NOT_JSON] = {"not_json", 400, 1008, "the data is not valid JSON"},
    [GW_ERR_SLOW] = {"slow_consumer", 503, 1013, "the client reads too slowly"},
    [GW_ERR_SHUTDOWN] = {"going_away", 503, 1001, "the gateway is shutting down"},
    [GW_ERR_NO_MEMORY] = {"overloaded", 503, 1013, "the gateway is out of memory"},
    [GW_ERR_INTERNAL] = {"internal", 500, 1011, "an error of the gateway itself"},
};

const char *gw_err_code(enum gw_err err)
{
    return error_table[err].code;
}

int gw_err_status(enum gw_err err)
{
    return error_table[err].status;
}

int gw_err_close_code(enum gw_err err)
{
    return error_table[err].close;
}

const char *gw_err_text(enum gw_err err)
{
    return error_table[err].text;
}

struct gw_err_line gw_err_line(enum gw_err err, const char *why)
{
    struct gw_err_line line;
    snprintf(line.text, sizeof line.text, "%s: %s", gw_err_code(err), why ? why : gw_err_text(err));
    return line;
}
