/* app.h: the gateway as a whole. Thread: main. */
#ifndef GW_APP_APP_H
#define GW_APP_APP_H

#include "gateway/config.h"

/* Runs until SIGTERM or SIGINT; SIGHUP reloads. Returns the exit status. */
int gw_app_run(struct gw_config *config);

/* app_metrics.c: what /metrics tells of the broker's side and of the store. `context` is a struct gw_app_metrics.
 * Thread: any. */
struct gw_exposition;
struct gw_app_metrics {
    struct gw_source *source;
    struct gw_source *publisher; /* NULL: `source` publishes too */
    const struct gw_engine *engine;
    struct gw_engine_store *store;
};
void gw_app_metrics_write(void *context, struct gw_exposition *to);
/* What /readyz tells of the subscriptions; the same. */
struct gw_buf;
void gw_app_ready_write(void *context, struct gw_buf *out);

#endif
