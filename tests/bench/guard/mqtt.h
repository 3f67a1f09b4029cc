/* mqtt.h: the packets of an MQTT 3.1.1 client over WebSocket, each in a frame of its own, as browsers send them. */
#ifndef GUARD_MQTT_H
#define GUARD_MQTT_H

#include <stdbool.h>
#include <stddef.h>

/* Each writes frames and returns their length; none is longer than 126 bytes. */
size_t mqtt_connect(char *out, unsigned number, bool clean);
size_t mqtt_subscribe(char *out, const char *channel, unsigned qos);
/* A PUBACK for each PUBLISH of QoS 1 in what the server sent, which has to be whole frames. `out`: as long as that.
 */
size_t mqtt_acknowledge(const char *data, size_t len, char *out);

#endif
