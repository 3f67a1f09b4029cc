/* exposition.h: writes metrics as Prometheus text 0.0.4 or OpenMetrics 1.0.0. A family's samples follow its head at
 * once. Thread: the owner's. */
#ifndef GW_HTTP_EXPOSITION_H
#define GW_HTTP_EXPOSITION_H

#include <stdbool.h>
#include <stdint.h>

#include "gateway/buf.h"
#include "gateway/histogram.h"

struct gw_exposition {
    struct gw_buf *out;
    bool openmetrics;
};

enum gw_metric_type { GW_METRIC_COUNTER, GW_METRIC_GAUGE, GW_METRIC_HISTOGRAM, GW_METRIC_INFO };

/* `name` as a sample has it, with the `_total` of a counter and the `_info` of an info. `help` is one sentence. */
void gw_metric_family(struct gw_exposition *to, const char *name, enum gw_metric_type type, const char *help);

/* `labels`: what gw_metric_label() has made, or NULL. */
void gw_metric_value(struct gw_exposition *to, const char *name, const char *labels, uint64_t value);
void gw_metric_seconds(struct gw_exposition *to, const char *name, double seconds);
void gw_metric_histogram(struct gw_exposition *to, const char *name, const struct gw_histogram_sum *sum);

/* Adds `key="value"` to labels, escaped, with a comma before it unless it is the first. */
void gw_metric_label(struct gw_buf *labels, const char *key, const char *value);

/* Family and its only sample. */
void gw_metric_counter(struct gw_exposition *to, const char *name, const char *help, uint64_t value);
void gw_metric_gauge(struct gw_exposition *to, const char *name, const char *help, uint64_t value);

/* After the last family. */
void gw_metric_end(struct gw_exposition *to);

/* Does a client that sends this Accept header (RFC 9110 section 12.5.1) want OpenMetrics? `accept` may be empty. */
bool gw_metric_wants_openmetrics(const char *accept, size_t len);

#endif
