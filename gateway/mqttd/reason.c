/* reason.c: what the gateway's errors are called in MQTT (MQTT 5.0 section 2.4). */
#include <stdio.h>
#include <string.h>

#include "mqttd/client.h"

/* Section 3.4.2.1 and 3.5.2.1 list what may stand in PUBACK and PUBREC. */
static bool code_fits_puback(int reason)
{
    switch (reason) {
    case GW_MQTTD_UNSPECIFIED:
    case GW_MQTTD_IMPLEMENTATION:
    case GW_MQTTD_NOT_AUTHORIZED:
    case GW_MQTTD_BAD_TOPIC:
    case GW_MQTTD_QUOTA:
    case GW_MQTTD_BAD_PAYLOAD:
        return true;
    default:
        return false;
    }
}

uint8_t gw_mqttd_publish_code(enum gw_err err, int reason)
{
    if (code_fits_puback(reason))
        return (uint8_t)reason;
    switch (err) {
    case GW_OK:
        return GW_MQTTD_SUCCESS;
    case GW_ERR_FORBIDDEN:
    case GW_ERR_UNAUTHORIZED:
    case GW_ERR_EXPIRED:
        return GW_MQTTD_NOT_AUTHORIZED;
    case GW_ERR_UNKNOWN_CHANNEL:
    case GW_ERR_BAD_REQUEST:
        return GW_MQTTD_BAD_TOPIC;
    case GW_ERR_BAD_PAYLOAD:
    case GW_ERR_NOT_JSON:
        return GW_MQTTD_BAD_PAYLOAD;
    case GW_ERR_RATE_LIMITED:
    case GW_ERR_LIMIT:
    case GW_ERR_OVERLOADED:
    case GW_ERR_TOO_LARGE:
        return GW_MQTTD_QUOTA;
    case GW_ERR_REJECTED:
        return GW_MQTTD_UNSPECIFIED;
    default:
        return GW_MQTTD_IMPLEMENTATION;
    }
}

uint8_t gw_mqttd_subscribe_code(enum gw_err err)
{
    switch (err) {
    case GW_ERR_FORBIDDEN:
    case GW_ERR_UNAUTHORIZED:
    case GW_ERR_EXPIRED:
        return GW_MQTTD_NOT_AUTHORIZED;
    case GW_ERR_BAD_REQUEST:
    case GW_ERR_UNKNOWN_CHANNEL:
        return GW_MQTTD_BAD_FILTER;
    case GW_ERR_LIMIT:
    case GW_ERR_RATE_LIMITED:
        return GW_MQTTD_QUOTA;
    default:
        return GW_MQTTD_UNSPECIFIED;
    }
}

uint8_t gw_mqttd_disconnect_code(enum gw_err err)
{
    switch (err) {
    case GW_ERR_SHUTDOWN:
        return GW_MQTTD_SHUTTING_DOWN;
    case GW_ERR_EXPIRED:
        return GW_MQTTD_CONNECTION_TIME;
    case GW_ERR_FORBIDDEN:
    case GW_ERR_UNAUTHORIZED:
        return GW_MQTTD_NOT_AUTHORIZED;
    case GW_ERR_SLOW:
    case GW_ERR_LIMIT:
    case GW_ERR_OVERLOADED:
        return GW_MQTTD_QUOTA;
    case GW_ERR_RATE_LIMITED:
        return GW_MQTTD_RATE;
    case GW_ERR_TOO_LARGE:
        return GW_MQTTD_TOO_LARGE;
    default:
        return GW_MQTTD_UNSPECIFIED;
    }
}

int gw_mqttd_close_code(uint8_t reason)
{
    switch (reason) {
    case GW_MQTTD_SUCCESS:
    case GW_MQTTD_TAKEN_OVER:
        return 1000;
    case GW_MQTTD_SHUTTING_DOWN:
        return 1001;
    case GW_MQTTD_MALFORMED:
    case GW_MQTTD_PROTOCOL_ERROR:
    case GW_MQTTD_UNSUPPORTED_VERSION:
    case GW_MQTTD_BAD_ALIAS:
    case GW_MQTTD_RECEIVE_MAXIMUM:
        return 1002;
    case GW_MQTTD_TOO_LARGE:
        return 1009;
    case GW_MQTTD_QUOTA:
    case GW_MQTTD_IMPLEMENTATION:
    case GW_MQTTD_UNAVAILABLE:
    case GW_MQTTD_BUSY:
        return 1013;
    case GW_MQTTD_BAD_PASSWORD:
    case GW_MQTTD_NOT_AUTHORIZED:
    case GW_MQTTD_CONNECTION_TIME:
        return 4401;
    default:
        return 1008;
    }
}

void gw_mqttd_put_reason(struct gw_buf *properties, enum gw_err err, const char *why)
{
    char text[200];
    int len = snprintf(text, sizeof text, "%s: %s", gw_err_code(err), why ? why : gw_err_text(err));
    gw_mqttd_put_text(properties, GW_MQTTD_P_REASON_STRING, text,
                      (size_t)len < sizeof text ? (size_t)len : sizeof text - 1);
}

void gw_mqttd_fail(struct gw_mqttd_client *client, uint8_t reason, const char *why)
{
    gw_mqttd_fail_as(client, reason, gw_mqttd_close_code(reason), why);
}
