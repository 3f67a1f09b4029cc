/* passed_on.h: MQTT 5 properties of messages, from the broker and to it, as blocks of properties.h. Thread: any. */
#ifndef GW_MQTT_PASSED_ON_H
#define GW_MQTT_PASSED_ON_H

#include <mosquitto.h>
#include <stdbool.h>

#include "gateway/buf.h"
#include "mqtt/packet.h"
#include "route/routes.h"

/* What the packet's messages pass on: the texts that are UTF-8, and a response topic that has a channel, as that.
 * `whole`: the payload is passed on too, otherwise what describes it is left out. */
void gw_passed_on(const struct gw_routes *routes, const struct gw_packet *packet, bool whole, struct gw_buf *block);

/* From libmosquitto's list to a block, and back to a list for the caller to free. */
void gw_passed_on_read(const mosquitto_property *list, struct gw_buf *block);
void gw_passed_on_write(struct gw_slice block, mosquitto_property **list);

#endif
