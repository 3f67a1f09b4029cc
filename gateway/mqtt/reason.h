/* reason.h: what went wrong with the broker, in words, and what to do about it. Thread: any. */
#ifndef GW_MQTT_REASON_H
#define GW_MQTT_REASON_H

#include <mosquitto.h>
#include <stdbool.h>
#include <stddef.h>

#define GW_REASON_MAX 512

/* A reason code of MQTT 5.0 (section 2.4) with its name, what to do, and what the broker added: reason string, server
 * reference, user properties. `properties` may be NULL. Returns `out`. */
const char *gw_reason_words(char out[GW_REASON_MAX], int code, const mosquitto_property *properties);

/* May a broker that disconnects with this code (0: none) do so for something that we sent? */
bool gw_reason_may_be_ours(int code);

/* A return code of MQTT 3.1.1 (section 3.2.2.3) as the reason code that means the same. */
int gw_reason_of_return_code(int code);

/* A result of libmosquitto's, with errno as it was then. Static storage, or strerror()'s. */
const char *gw_reason_of_error(int rc, int error);

#endif
