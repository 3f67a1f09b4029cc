#include "mqtt/abilities.h"

#include <mqtt_protocol.h>

#include "gateway/log.h"

/* Where the broker names no Receive Maximum: what libmosquitto has in flight then. */
#define IN_FLIGHT 20

struct gw_abilities gw_abilities_default(bool v5)
{
    return (struct gw_abilities){
        .v5 = v5, .retain = true, .wildcards = true, .ids = v5, .qos = 2, .in_flight = IN_FLIGHT};
}

static bool abilities_flag(const mosquitto_property *properties, int identifier)
{
    uint8_t value = 1;
    mosquitto_property_read_byte(properties, identifier, &value, false);
    return value != 0;
}

static void abilities_log_session(const mosquitto_property *properties, const struct gw_cfg_broker *broker)
{
    uint32_t expiry;
    uint32_t asked = (uint32_t)((broker->session_expiry_ms + 999) / 1000);
    if (mosquitto_property_read_int32(properties, MQTT_PROP_SESSION_EXPIRY_INTERVAL, &expiry, false) &&
        expiry < asked)
        gw_log(GW_LOG_WARN, "mqtt",
               "the broker keeps the session for %u s only, of %u s asked for: longer outages lose messages "
               "(broker.session_expiry)",
               expiry, asked);
    uint16_t keepalive;
    if (mosquitto_property_read_int16(properties, MQTT_PROP_SERVER_KEEP_ALIVE, &keepalive, false) &&
        keepalive != broker->keepalive_ms / 1000)
        gw_log(GW_LOG_INFO, "mqtt", "the broker sets the keep-alive to %u s, instead of broker.keepalive", keepalive);
}

struct gw_abilities gw_abilities_read(bool v5, const mosquitto_property *properties,
                                      const struct gw_cfg_broker *broker)
{
    struct gw_abilities it = gw_abilities_default(v5);
    if (!v5)
        return it;
    uint8_t qos;
    uint16_t in_flight;
    it.retain = abilities_flag(properties, MQTT_PROP_RETAIN_AVAILABLE);
    it.wildcards = abilities_flag(properties, MQTT_PROP_WILDCARD_SUB_AVAILABLE);
    it.ids = abilities_flag(properties, MQTT_PROP_SUBSCRIPTION_ID_AVAILABLE);
    if (mosquitto_property_read_byte(properties, MQTT_PROP_MAXIMUM_QOS, &qos, false))
        it.qos = qos;
    if (mosquitto_property_read_int16(properties, MQTT_PROP_RECEIVE_MAXIMUM, &in_flight, false) && in_flight)
        it.in_flight = in_flight;
    mosquitto_property_read_int32(properties, MQTT_PROP_MAXIMUM_PACKET_SIZE, &it.packet, false);
    if (!it.retain)
        gw_log(GW_LOG_WARN, "mqtt",
               "the broker keeps no retained messages: no last values at the start, and publishes with retain are "
               "refused");
    if (!it.wildcards)
        gw_log(GW_LOG_ERROR, "mqtt",
               "the broker takes no wildcards in subscriptions: routes whose topic has captures get nothing");
    if (it.qos < 2)
        gw_log(GW_LOG_INFO, "mqtt", "the broker takes publishes up to QoS %d: routes that ask for more are refused",
               it.qos);
    abilities_log_session(properties, broker);
    return it;
}
