/* survey.h: a look at a broker without a gateway: connects, listens for a while, and goes. For `sluice init` and
 * `doctor`. Thread: main. */
#ifndef GW_MQTT_SURVEY_H
#define GW_MQTT_SURVEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/buf.h"
#include "gateway/config.h"

/* A message that came; valid during the call. */
typedef void (*gw_survey_message)(void *context, const char *topic, const char *payload, size_t len);

/* Subscribes to the filter at QoS 0, in a session that leaves nothing behind, and listens for `listen_ms` from the
 * broker's answer on; with a filter of NULL it only connects. Gives up after ten seconds without an answer, three at
 * each address of the name but the last, and three without an answer of the name server. False: `problem` has one
 * line. */
bool gw_survey(const struct gw_cfg_broker *broker, const char *filter, int64_t listen_ms, gw_survey_message message,
               void *context, struct gw_buf *problem);

#endif
