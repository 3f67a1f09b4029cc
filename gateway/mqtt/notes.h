/* notes.h: reason string, server reference and user properties of DISCONNECT and of the acknowledgements of publishes
 * (MQTT 5.0 sections 3.14.2.2 and 3.4.2.2), which libmosquitto 2.0 reads and throws away. Pure functions. */
#ifndef GW_MQTT_NOTES_H
#define GW_MQTT_NOTES_H

#include <mosquitto.h>
#include <stddef.h>
#include <stdint.h>

/* NULL if `data` does not begin with such a packet, whole, or it says nothing. The caller's, to be freed with
 * mosquitto_property_free_all(). */
mosquitto_property *gw_notes_read(const uint8_t *data, size_t len);

#endif
