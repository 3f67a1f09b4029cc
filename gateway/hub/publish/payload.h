/* payload.h: from what a client publishes to the payload that the broker gets (payload.c). Thread: any. */
#ifndef GW_HUB_PUBLISH_PAYLOAD_H
#define GW_HUB_PUBLISH_PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>

#include "gateway/buf.h"
#include "gateway/error.h"

struct gw_publish_target;

/* JSON `data`, or with json=false a payload as it is, appended to *payload. `null` is the empty payload, whatever the
 * codec. On error *why may say in a static sentence what was expected. */
GW_MUST_CHECK enum gw_err gw_payload_encode(const struct gw_publish_target *target, const char *data, size_t len,
                                            bool json, struct gw_buf *payload, const char **why);

#endif
