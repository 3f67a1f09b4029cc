/* process.h: what the kernel says of this process, under the names that Prometheus' clients use. Thread: any. */
#ifndef GW_HTTP_PROCESS_H
#define GW_HTTP_PROCESS_H

#include "http/exposition.h"

/* Leaves out what /proc does not tell. */
void gw_process_metrics(struct gw_exposition *to, int64_t started_wall_ms);

#endif
