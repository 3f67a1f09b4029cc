#include "net/alarm.h"

/* An alarm that is due already when lws_service() begins, because the thread was pushed aside after it was set or
 * because what it was set for was late already, is called before libwebsockets looks at its sockets, and then it
 * sleeps without any limit (4.1.6: five seconds of five in tests/unit/alarm_test.c). So the alarm wakes the loop as
 * other threads do. */
static void alarm_ring(lws_sorted_usec_list_t *sul)
{
    lws_cancel_service(((struct gw_alarm *)sul)->context);
}

void gw_alarm_set(struct gw_alarm *alarm, int64_t wait_ms)
{
    if (wait_ms == INT64_MAX)
        lws_sul_cancel(&alarm->sul);
    else
        lws_sul_schedule(alarm->context, 0, &alarm->sul, alarm_ring, wait_ms > 0 ? wait_ms * LWS_US_PER_MS : 1);
}
