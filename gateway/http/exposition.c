#include "http/exposition.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const exposition_types[] = {"counter", "gauge", "histogram", "info"};

void gw_metric_family(struct gw_exposition *to, const char *name, enum gw_metric_type type, const char *help)
{
    int len = (int)strlen(name);
    const char *word = exposition_types[type];
    /* OpenMetrics names the family without the suffix that its samples have; the older format names the sample. */
    if (to->openmetrics && type == GW_METRIC_COUNTER)
        len -= (int)sizeof "_total" - 1;
    else if (to->openmetrics && type == GW_METRIC_INFO)
        len -= (int)sizeof "_info" - 1;
    else if (type == GW_METRIC_INFO)
        word = exposition_types[GW_METRIC_GAUGE];
    gw_buf_printf(to->out, "# HELP %.*s %s\n# TYPE %.*s %s\n", len, name, help, len, name, word);
}

static void exposition_name(struct gw_exposition *to, const char *name, const char *suffix, const char *labels)
{
    gw_buf_adds(to->out, name);
    gw_buf_adds(to->out, suffix);
    if (labels) {
        gw_buf_addc(to->out, '{');
        gw_buf_adds(to->out, labels);
        gw_buf_addc(to->out, '}');
    }
    gw_buf_addc(to->out, ' ');
}

void gw_metric_value(struct gw_exposition *to, const char *name, const char *labels, uint64_t value)
{
    exposition_name(to, name, "", labels);
    gw_buf_addu(to->out, value);
    gw_buf_addc(to->out, '\n');
}

void gw_metric_seconds(struct gw_exposition *to, const char *name, double seconds)
{
    exposition_name(to, name, "", NULL);
    gw_buf_printf(to->out, "%.3f\n", seconds);
}

/* The shortest way to write a bound; OpenMetrics wants a point in it, and the label must be the same in both formats.
 */
static void exposition_bound(char out[32], int64_t ns)
{
    snprintf(out, 24, "%g", (double)ns / 1e9);
    if (!strchr(out, '.'))
        strcat(out, ".0");
}

void gw_metric_histogram(struct gw_exposition *to, const char *name, const struct gw_histogram_sum *sum)
{
    uint64_t count = 0;
    for (unsigned i = 0; i <= GW_HISTOGRAM_BOUNDS; i++) {
        char bound[32] = "+Inf", label[48];
        if (i < GW_HISTOGRAM_BOUNDS)
            exposition_bound(bound, gw_histogram_bounds[i]);
        snprintf(label, sizeof label, "le=\"%s\"", bound);
        count += sum->buckets[i];
        exposition_name(to, name, "_bucket", label);
        gw_buf_addu(to->out, count);
        gw_buf_addc(to->out, '\n');
    }
    exposition_name(to, name, "_sum", NULL);
    gw_buf_printf(to->out, "%.9f\n", (double)sum->sum_ns / 1e9);
    exposition_name(to, name, "_count", NULL);
    gw_buf_addu(to->out, count);
    gw_buf_addc(to->out, '\n');
}

void gw_metric_label(struct gw_buf *labels, const char *key, const char *value)
{
    gw_buf_printf(labels, "%s%s=\"", labels->len ? "," : "", key);
    for (; *value; value++) {
        if (*value == '\n') {
            gw_buf_adds(labels, "\\n");
            continue;
        }
        if (*value == '"' || *value == '\\')
            gw_buf_addc(labels, '\\');
        gw_buf_addc(labels, *value);
    }
    gw_buf_addc(labels, '"');
}

void gw_metric_counter(struct gw_exposition *to, const char *name, const char *help, uint64_t value)
{
    gw_metric_family(to, name, GW_METRIC_COUNTER, help);
    gw_metric_value(to, name, NULL, value);
}

void gw_metric_gauge(struct gw_exposition *to, const char *name, const char *help, uint64_t value)
{
    gw_metric_family(to, name, GW_METRIC_GAUGE, help);
    gw_metric_value(to, name, NULL, value);
}

void gw_metric_end(struct gw_exposition *to)
{
    if (to->openmetrics)
        gw_buf_adds(to->out, "# EOF\n");
}

/* --- Accept ---------------------------------------------------------------------------------------------------- */

static size_t accept_trim(const char **text, size_t len)
{
    while (len && strchr(" \t", **text)) {
        (*text)++;
        len--;
    }
    while (len && strchr(" \t", (*text)[len - 1]))
        len--;
    return len;
}

static bool accept_is(const char *text, size_t len, const char *word)
{
    return len == strlen(word) && !strncasecmp(text, word, len);
}

/* The weight of one element such as `text/plain;version=0.0.4;q=0.5`; *range is cut down to the media range. */
static double accept_weight(const char *range, size_t *len)
{
    double weight = 1;
    const char *end = range + *len, *at = memchr(range, ';', *len);
    if (at)
        *len = (size_t)(at - range);
    while (at && at < end) {
        const char *parameter = at + 1;
        at = memchr(parameter, ';', (size_t)(end - parameter));
        size_t parameter_len = accept_trim(&parameter, (size_t)((at ? at : end) - parameter));
        char number[8] = "";
        if (parameter_len > 2 && parameter_len < sizeof number + 2 && !strncasecmp(parameter, "q=", 2)) {
            memcpy(number, parameter + 2, parameter_len - 2);
            weight = strtod(number, NULL);
        }
    }
    return weight;
}

bool gw_metric_wants_openmetrics(const char *accept, size_t len)
{
    double openmetrics = 0, text = 0, any = 0;
    bool plain = false;
    const char *end = accept + len;
    while (accept && accept < end) {
        const char *comma = memchr(accept, ',', (size_t)(end - accept)), *range = accept;
        size_t range_len = accept_trim(&range, (size_t)((comma ? comma : end) - accept));
        double weight = accept_weight(range, &range_len);
        range_len = accept_trim(&range, range_len);
        if (accept_is(range, range_len, "application/openmetrics-text") && weight > openmetrics)
            openmetrics = weight;
        else if (accept_is(range, range_len, "text/plain"))
            plain = true, text = weight > text ? weight : text;
        else if ((accept_is(range, range_len, "text/*") || accept_is(range, range_len, "*/*")) && weight > any)
            any = weight;
        accept = comma ? comma + 1 : end;
    }
    return openmetrics > 0 && openmetrics >= (plain ? text : any);
}
