/* report.c: problems that an extension's check() finds go to the reader of the configuration. */
#include "base/report.h"

#include "gateway/buf.h"

static void report_add(struct gw_report *report, bool warning, const char *key, const char *format, va_list args)
{
    struct gw_buf text = {0};
    gw_buf_vprintf(&text, format, args);
    report->add(report, warning, key, text.data ? text.data : "");
    gw_buf_fini(&text);
}

void gw_report_error(struct gw_report *report, const char *key, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report_add(report, false, key, format, args);
    va_end(args);
}

void gw_report_warning(struct gw_report *report, const char *key, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report_add(report, true, key, format, args);
    va_end(args);
}
