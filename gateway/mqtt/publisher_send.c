/* publisher_send.c: one publish is handed to libmosquitto, if the broker can take it. */
#include "mqtt/publisher_send.h"

#include <mosquitto.h>
#include <mqtt_protocol.h>

#include "gateway/clock.h"
#include "gateway/log.h"
#include "mqtt/passed_on.h"

static enum gw_err publisher_error(int rc)
{
    switch (rc) {
    case MOSQ_ERR_SUCCESS:
        return GW_OK;
    case MOSQ_ERR_NO_CONN:
    case MOSQ_ERR_CONN_LOST:
        return GW_ERR_UPSTREAM_DOWN;
    case MOSQ_ERR_PAYLOAD_SIZE:
    case MOSQ_ERR_OVERSIZE_PACKET:
        return GW_ERR_TOO_LARGE;
    case MOSQ_ERR_QOS_NOT_SUPPORTED: /* the broker can't do what the route asks for: never less, silently */
    case MOSQ_ERR_RETAIN_NOT_SUPPORTED:
    case MOSQ_ERR_ACL_DENIED: /* it broke the connection before */
        return GW_ERR_REJECTED;
    case MOSQ_ERR_INVAL:
    case MOSQ_ERR_MALFORMED_UTF8:
        return GW_ERR_BAD_REQUEST;
    case MOSQ_ERR_NOMEM:
        return GW_ERR_NO_MEMORY;
    default:
        return GW_ERR_INTERNAL;
    }
}

/* Lock held. What the broker would close the connection on is not sent at all. */
static int publisher_check(struct gw_publisher *publisher, const struct gw_publish *publish)
{
    int rc = publish->payload_len > MQTT_MAX_PAYLOAD        ? MOSQ_ERR_PAYLOAD_SIZE
             : publish->qos > publisher->broker.qos         ? MOSQ_ERR_QOS_NOT_SUPPORTED
             : publish->retain && !publisher->broker.retain ? MOSQ_ERR_RETAIN_NOT_SUPPORTED
                                                            : MOSQ_ERR_SUCCESS;
    if (rc != MOSQ_ERR_SUCCESS)
        GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "mqtt", "a publish to '%s' was not sent: %s", publish->topic,
                             rc == MOSQ_ERR_PAYLOAD_SIZE        ? "it is larger than MQTT allows"
                             : rc == MOSQ_ERR_QOS_NOT_SUPPORTED ? "the broker takes no such QoS (publish.qos)"
                                                                : "the broker keeps nothing (publish.retain)");
    return rc;
}

/* Whole seconds of its time are left, as section 3.3.2.3.3 wants it: a started one counts. */
static void publisher_pass_on(const struct gw_publish *publish, mosquitto_property **properties)
{
    int64_t left_ms = publish->expires ? publish->expires_ms - gw_monotonic_ms() : 0;
    if (publish->properties.len)
        gw_passed_on_write(publish->properties, properties);
    if (publish->expires)
        mosquitto_property_add_int32(properties, MQTT_PROP_MESSAGE_EXPIRY_INTERVAL,
                                     left_ms > 0 ? (uint32_t)((left_ms + 999) / 1000) : 0);
}

static int publisher_send(struct gw_publisher *publisher, const struct gw_publish *publish, int *mid)
{
    int len = (int)publish->payload_len;
    int rc = publisher_check(publisher, publish);
    if (rc != MOSQ_ERR_SUCCESS)
        return rc;
    if (gw_blame_refuses(&publisher->blame, publish, gw_monotonic_ms()))
        return MOSQ_ERR_ACL_DENIED;
    mosquitto_property *properties = NULL;
    if (publish->request) {
        publisher->responses.wanted = true;
        gw_responses_listen(&publisher->responses, publisher->mosq, publisher->broker.ids);
        properties = gw_responses_properties(&publisher->responses, publish);
    }
    if (publisher->broker.v5)
        publisher_pass_on(publish, &properties);
    if (publisher->broker.v5)
        rc = mosquitto_publish_v5(publisher->mosq, mid, publish->topic, len, publish->payload, publish->qos,
                                  publish->retain, properties);
    else
        rc = mosquitto_publish(publisher->mosq, mid, publish->topic, len, publish->payload, publish->qos,
                               publish->retain);
    mosquitto_property_free_all(&properties);
    if (rc == MOSQ_ERR_SUCCESS)
        gw_blame_note(&publisher->blame, publish, *mid, gw_monotonic_ms());
    else if (rc == MOSQ_ERR_OVERSIZE_PACKET)
        GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "mqtt",
                             "a publish to '%s' of %zu bytes was not sent: the broker takes packets up to %u bytes",
                             publish->topic, publish->payload_len, publisher->broker.packet);
    return rc;
}

enum gw_err gw_publisher_send(struct gw_publisher *publisher, const struct gw_publish *publish, int *mid)
{
    return publisher_error(publisher_send(publisher, publish, mid));
}
