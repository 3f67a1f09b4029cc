/* granted.h: what the broker has granted of the subscriptions that the routes ask for: the members of /readyz, and
 * the numbers of /metrics. Thread: the MQTT thread makes a report; the one that holds the source's lock reads it. */
#ifndef GW_MQTT_GRANTED_H
#define GW_MQTT_GRANTED_H

#include <stddef.h>

#include "gateway/buf.h"
#include "mqtt/source.h"
#include "mqtt/subscriptions.h"

#define GW_GRANTED_REASONS GW_SOURCE_REASONS

struct gw_granted {
    size_t wanted;  /* filters */
    size_t granted; /* ... that the broker has granted, at whatever QoS */
    size_t lowered; /* ... at a lower QoS than was asked for */
    struct {
        const char *reason; /* static storage; NULL: this row is free, and so are those after it */
        size_t count;
    } refused[GW_GRANTED_REASONS];
    struct gw_buf json; /* `"granted":1,"wanted":2,"refused":[...],"lowered":[...]`; bounded */
};

void gw_granted_init(struct gw_granted *granted);
void gw_granted_fini(struct gw_granted *granted);

/* The report anew. `routes` are those that `subs` was made of. */
void gw_granted_read(struct gw_granted *granted, const struct gw_subscriptions *subs, const struct gw_routes *routes);

/* The word for a filter that has not been granted: one of the reason codes of SUBACK (MQTT 5.0 section 3.9.3) or of
 * GW_SUB_...; in /readyz and as a label. Static storage. */
const char *gw_granted_reason(int answer);

#endif
