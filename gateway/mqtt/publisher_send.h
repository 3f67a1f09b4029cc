/* publisher_send.h: one publish is handed to libmosquitto (publisher_send.c). Thread: any, with publisher->lock held.
 */
#ifndef GW_MQTT_PUBLISHER_SEND_H
#define GW_MQTT_PUBLISHER_SEND_H

#include "mqtt/publisher.h"

/* *mid is its message identifier; libmosquitto has a copy of *publish. On error nothing was sent. */
GW_MUST_CHECK enum gw_err gw_publisher_send(struct gw_publisher *publisher, const struct gw_publish *publish,
                                            int *mid);

#endif
