/* tls.h: TLS towards the broker, with the reason why a handshake failed: libmosquitto only says that one did. Thread:
 * the MQTT thread. */
#ifndef GW_MQTT_TLS_H
#define GW_MQTT_TLS_H

#include <mosquitto.h>
#include <stdbool.h>

#include "gateway/config.h"

#define GW_MQTT_TLS_REASON 640

struct gw_mqtt_tls {
    const struct gw_cfg_broker *broker;
    bool final;                      /* nothing that comes later tells more */
    char reason[GW_MQTT_TLS_REASON]; /* why the last handshake failed; "": nothing is known */
};

/* Gives the client its certificates and checks. `tls` must outlive the client. False: tls->reason says why not. */
bool gw_mqtt_tls_setup(struct gw_mqtt_tls *tls, struct mosquitto *mosq, const struct gw_cfg_broker *broker);

/* A line of OpenSSL's error queue, as libmosquitto logs it. */
void gw_mqtt_tls_note(struct gw_mqtt_tls *tls, const char *line);

#endif
