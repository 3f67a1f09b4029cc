/* report.h: how an extension's check() reports problems without knowing who collects them. Thread: the caller's. */
#ifndef GW_BASE_REPORT_H
#define GW_BASE_REPORT_H

#include <stdbool.h>

#include "gateway/options.h"

struct gw_report {
    /* `text` is borrowed. */
    void (*add)(struct gw_report *report, bool warning, const char *key, const char *text);
};

#endif
