#include "mqtt/reason.h"

#include <errno.h>
#include <mqtt_protocol.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* User properties that are told. */
#define USER_PROPERTIES 4

static const struct {
    int code;
    const char *advice;
} reason_advice[] = {
    {MQTT_RC_UNSPECIFIED, "see the broker's log"},
    {MQTT_RC_MALFORMED_PACKET, "see the broker's log"},
    {MQTT_RC_PROTOCOL_ERROR, "see the broker's log; a topic may have more levels than it takes (limits.levels)"},
    {MQTT_RC_IMPLEMENTATION_SPECIFIC, "see the broker's log"},
    {MQTT_RC_UNSUPPORTED_PROTOCOL_VERSION, "set broker.protocol to auto or 3.1.1"},
    {MQTT_RC_CLIENTID_NOT_VALID, "set broker.client_id to what the broker takes"},
    {MQTT_RC_BAD_USERNAME_OR_PASSWORD, "check broker.username and the password"},
    {MQTT_RC_NOT_AUTHORIZED,
     "check broker.username and its password, and the broker's ACL or policy for this client"},
    {MQTT_RC_SERVER_UNAVAILABLE, "the broker is not ready, or full"},
    {MQTT_RC_SERVER_BUSY, "the broker is overloaded"},
    {MQTT_RC_BANNED, "lift the ban at the broker"},
    {MQTT_RC_SERVER_SHUTTING_DOWN, "the broker is being stopped"},
    {MQTT_RC_BAD_AUTHENTICATION_METHOD, "the broker wants enhanced authentication, which Sluice does not do: use a "
                                        "listener with user name or certificate"},
    {MQTT_RC_KEEP_ALIVE_TIMEOUT, "the broker heard nothing: a lower broker.keepalive may help"},
    {MQTT_RC_SESSION_TAKEN_OVER, "another client uses the same broker.client_id: give each its own"},
    {MQTT_RC_TOPIC_FILTER_INVALID, "check the topics of the routes"},
    {MQTT_RC_TOPIC_NAME_INVALID, "check the topics of publish in the routes"},
    {MQTT_RC_RECEIVE_MAXIMUM_EXCEEDED, "too many publishes at once for the broker"},
    {MQTT_RC_PACKET_TOO_LARGE, "set limits.frame to what the broker takes"},
    {MQTT_RC_MESSAGE_RATE_TOO_HIGH, "set limits.publish_rate"},
    {MQTT_RC_QUOTA_EXCEEDED, "see the broker's quota for this client"},
    {MQTT_RC_ADMINISTRATIVE_ACTION, "an operator of the broker did it"},
    {MQTT_RC_RETAIN_NOT_SUPPORTED, "set publish.retain to false"},
    {MQTT_RC_QOS_NOT_SUPPORTED, "set publish.qos to what the broker takes"},
    {MQTT_RC_USE_ANOTHER_SERVER, "set broker.url to the server it names"},
    {MQTT_RC_SERVER_MOVED, "set broker.url to the server it names"},
    {MQTT_RC_CONNECTION_RATE_EXCEEDED, "raise broker.reconnect.min"},
    {MQTT_RC_MAXIMUM_CONNECT_TIME, "the broker bounds how long a connection lasts"},
    {MQTT_RC_SUBSCRIPTION_IDS_NOT_SUPPORTED, "set broker.protocol to 3.1.1"},
    {MQTT_RC_WILDCARD_SUBS_NOT_SUPPORTED, "use routes without captures"},
};

static size_t reason_add(char *out, size_t at, const char *format, const char *a, const char *b)
{
    if (at >= GW_REASON_MAX)
        return at;
    int added = snprintf(out + at, GW_REASON_MAX - at, format, a, b);
    return added < 0 ? at : at + (size_t)added;
}

const char *gw_reason_words(char out[GW_REASON_MAX], int code, const mosquitto_property *properties)
{
    char number[8];
    snprintf(number, sizeof number, "0x%02x", (unsigned)code);
    size_t at = reason_add(out, 0, "%s (%s)", mosquitto_reason_string(code), number);
    char *name = NULL, *value = NULL;
    if (mosquitto_property_read_string(properties, MQTT_PROP_REASON_STRING, &value, false))
        at = reason_add(out, at, ", it says '%s'%s", value, "");
    free(value);
    value = NULL;
    if (mosquitto_property_read_string(properties, MQTT_PROP_SERVER_REFERENCE, &value, false))
        at = reason_add(out, at, ", it names the server '%s'%s", value, "");
    free(value);
    const mosquitto_property *from = properties;
    for (int i = 0; i < USER_PROPERTIES; i++) {
        from = mosquitto_property_read_string_pair(from, MQTT_PROP_USER_PROPERTY, &name, &value, i > 0);
        if (!from)
            break;
        at = reason_add(out, at, ", %s: '%s'", name, value);
        free(name);
        free(value);
    }
    for (size_t i = 0; i < sizeof reason_advice / sizeof *reason_advice; i++) {
        if (reason_advice[i].code == code)
            reason_add(out, at, "; %s%s", reason_advice[i].advice, "");
    }
    return out;
}

bool gw_reason_may_be_ours(int code)
{
    switch (code) {
    case MQTT_RC_SERVER_UNAVAILABLE:
    case MQTT_RC_SERVER_BUSY:
    case MQTT_RC_SERVER_SHUTTING_DOWN:
    case MQTT_RC_KEEP_ALIVE_TIMEOUT:
    case MQTT_RC_SESSION_TAKEN_OVER:
    case MQTT_RC_ADMINISTRATIVE_ACTION:
    case MQTT_RC_USE_ANOTHER_SERVER:
    case MQTT_RC_SERVER_MOVED:
    case MQTT_RC_CONNECTION_RATE_EXCEEDED:
    case MQTT_RC_MAXIMUM_CONNECT_TIME:
        return false;
    default:
        return true;
    }
}

int gw_reason_of_return_code(int code)
{
    static const int codes[] = {0,
                                MQTT_RC_UNSUPPORTED_PROTOCOL_VERSION,
                                MQTT_RC_CLIENTID_NOT_VALID,
                                MQTT_RC_SERVER_UNAVAILABLE,
                                MQTT_RC_BAD_USERNAME_OR_PASSWORD,
                                MQTT_RC_NOT_AUTHORIZED};
    return code >= 0 && code < (int)(sizeof codes / sizeof *codes) ? codes[code] : MQTT_RC_UNSPECIFIED;
}

const char *gw_reason_of_error(int rc, int error)
{
    switch (rc) {
    case MOSQ_ERR_ERRNO:
        return error == ECONNREFUSED ? "Connection refused: nothing listens at this address and port"
               : error == ECONNRESET ? "the broker reset the connection without a reason; see its log"
               : error               ? strerror(error)
                                     : "the connection was closed";
    case MOSQ_ERR_SUCCESS:
    case MOSQ_ERR_CONN_LOST:
        return "the broker closed the connection without a reason; see its log";
    case MOSQ_ERR_KEEPALIVE:
        return "the broker did not answer within broker.keepalive: it hangs, or the network fails";
    case MOSQ_ERR_PROTOCOL:
    case MOSQ_ERR_MALFORMED_PACKET:
        return "the broker breaks the protocol, or what answers is no MQTT broker: check the port in broker.url, and "
               "its log";
    case MOSQ_ERR_OVERSIZE_PACKET:
        return "the broker sent a packet that is larger than MQTT allows";
    default:
        return mosquitto_strerror(rc);
    }
}
