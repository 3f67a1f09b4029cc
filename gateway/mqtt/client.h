/* client.h: libmosquitto's client object: made from the configuration, and ended politely. Thread: the MQTT thread.
 */
#ifndef GW_MQTT_CLIENT_H
#define GW_MQTT_CLIENT_H

#include <mosquitto.h>
#include <stdbool.h>
#include <stdint.h>

#include "gateway/config.h"
#include "mqtt/tls.h"

/* `version`: MQTT_PROTOCOL_V5 or V311. Where it fails with MOSQ_ERR_TLS, tls->reason.text says why. *out is the
 * caller's, to be destroyed also where the answer is not MOSQ_ERR_SUCCESS; NULL if there could be none. Callbacks get
 * `object`.
 */
int gw_client_create(const struct gw_cfg_broker *broker, int version, struct gw_mqtt_tls *tls, void *object,
                     struct mosquitto **out);

/* Does `b` ask for another connection than `a`, or for another session? */
bool gw_client_differs(const struct gw_cfg_broker *a, const struct gw_cfg_broker *b);

/* Says goodbye. The connection is not closed before the broker has closed its side: what it still sends would be
 * answered by a reset, and that can overtake our last acknowledgements, so that a kept session sends those messages
 * once more. */
void gw_client_disconnect(struct mosquitto *mosq, int64_t until_ms);

#endif
