/* alarm.h: makes lws_service() return in time. Thread: the loop's. */
#ifndef GW_NET_ALARM_H
#define GW_NET_ALARM_H

#include <libwebsockets.h>
#include <stdint.h>

struct gw_alarm {
    lws_sorted_usec_list_t sul; /* first member */
    struct lws_context *context;
};

/* The next lws_service() returns after so many milliseconds at the latest; INT64_MAX: no alarm. */
void gw_alarm_set(struct gw_alarm *alarm, int64_t wait_ms);

#endif
