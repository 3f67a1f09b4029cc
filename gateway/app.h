/* app.h: the gateway as a whole. Thread: main. */
#ifndef GW_APP_H
#define GW_APP_H

#include "gateway/config.h"

/* Runs until SIGTERM or SIGINT; SIGHUP reloads. Returns the exit status. */
int gw_app_run(struct gw_config *config);

/* app_metrics.c: the broker's side of /metrics. `source` is a struct gw_source. Thread: any. */
struct gw_exposition;
void gw_app_metrics(void *source, struct gw_exposition *to);

#endif
