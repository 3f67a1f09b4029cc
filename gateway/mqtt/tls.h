/* tls.h: TLS towards the broker, with the reason why a handshake failed: libmosquitto only says that one did. Thread:
 * the MQTT thread. */
#ifndef GW_MQTT_TLS_H
#define GW_MQTT_TLS_H

#include <mosquitto.h>
#include <stdbool.h>

#include "base/tls_peer.h"
#include "gateway/config.h"

struct gw_mqtt_tls {
    struct gw_tls_peer broker;
    struct gw_tls_reason reason;
};

/* What reasons name: again whenever the configuration that it belongs to is replaced. */
void gw_mqtt_tls_name(struct gw_mqtt_tls *tls, const struct gw_cfg_broker *broker);
/* Gives the client its certificates and checks. `tls` must outlive the client, and the configuration both. False:
 * tls->reason.text says why not. */
bool gw_mqtt_tls_setup(struct gw_mqtt_tls *tls, struct mosquitto *mosq, const struct gw_cfg_broker *broker);

#endif
