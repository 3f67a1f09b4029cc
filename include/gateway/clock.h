/* clock.h: the two clocks. Thread: any. */
#ifndef GATEWAY_CLOCK_H
#define GATEWAY_CLOCK_H

#include <stdint.h>

/* CLOCK_MONOTONIC: for deadlines and durations. */
int64_t gw_monotonic_ms(void);
int64_t gw_monotonic_ns(void);
/* CLOCK_REALTIME in ms since 1970: for `ts` and for what people read. */
int64_t gw_wall_ms(void);

#endif
