/* top.c: `sluice top`: sessions, rates and routes of a running gateway, from its /metrics. A table that stays on a
 * terminal; where the output is no terminal, one table. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "app/cli.h"
#include "app/http_client.h"
#include "base/units.h"
#include "gateway/alloc.h"
#include "gateway/clock.h"

#define INTERVAL_MS     1000
#define INTERVAL_MIN_MS 100
#define INTERVAL_MAX_MS 3600000
#define METRICS_BYTES   (16 * 1024 * 1024)
#define WIDTH           100
#define WIDTH_MAX       512
#define ROUTES          1000 /* rows, where no terminal has fewer */
#define HEAD_ROWS       8    /* above the routes, and two below them */

struct sample {
    struct gw_buf text;
    int64_t at_ms;
};

struct route {
    const char *topic, *channel; /* into the sample's text, not terminated */
    size_t topic_len, channel_len;
    double rate, bytes, total;
};

struct top {
    struct gw_http_client *client;
    struct sample samples[2];
    const struct sample *now, *before;
    struct gw_buf out;
    bool terminal;
    size_t width, rows;
};

/* --- reading --------------------------------------------------------------------------------------------------- */

static bool top_piece(void *context, const char *data, size_t len)
{
    struct sample *sample = context;
    if (sample->text.len + len > METRICS_BYTES)
        return false;
    gw_buf_add(&sample->text, data, len);
    return true;
}

static enum gw_http_outcome top_ask(struct top *top, struct sample *sample, struct gw_buf *problem)
{
    struct gw_buf answer = {0};
    gw_buf_clear(&sample->text);
    enum gw_http_outcome outcome =
        gw_http_client_ask(top->client, "/metrics", NULL, top_piece, sample, &answer, problem);
    gw_buf_addc(&sample->text, '\n'); /* a last line that is cut off is none */
    sample->at_ms = gw_monotonic_ms();
    gw_buf_fini(&answer);
    return outcome;
}

/* Behind `prefix` at the beginning of a line from `from` on, else before it. NULL: there is none. */
static const char *sample_find(const struct sample *sample, const char *prefix, const char *from)
{
    size_t len = strlen(prefix);
    const char *start = sample->text.data;
    for (const char *at = from; at; at = strstr(at + 1, prefix)) {
        if (!strncmp(at, prefix, len) && (at == start || at[-1] == '\n'))
            return at + len;
    }
    return from == start ? NULL : sample_find(sample, prefix, start);
}

static double sample_value(const struct sample *sample, const char *name)
{
    char prefix[96];
    snprintf(prefix, sizeof prefix, "%s ", name);
    const char *at = sample_find(sample, prefix, sample->text.data);
    return at ? strtod(at, NULL) : 0;
}

static double top_per_second(const struct top *top, double now, double before)
{
    int64_t ms = top->now->at_ms - top->before->at_ms;
    return ms > 0 && now > before ? (now - before) * 1000 / (double)ms
                                  : 0; /* a gateway that began anew counts from 0 */
}

static double top_rate(const struct top *top, const char *name)
{
    return top_per_second(top, sample_value(top->now, name), sample_value(top->before, name));
}

/* The end of a label's value, where a quote may be escaped. */
static const char *label_end(const char *at)
{
    while (*at && *at != '"' && *at != '\n')
        at += at[0] == '\\' && at[1] ? 2 : 1;
    return at;
}

/* The same line of the other families and of the sample before. `hint` moves along. */
static double route_other(const struct sample *sample, const char *family, const char *labels, size_t len,
                          const char **hint)
{
    char prefix[2048];
    if (snprintf(prefix, sizeof prefix, "%s%.*s} ", family, (int)len, labels) >= (int)sizeof prefix)
        return 0;
    const char *at = sample_find(sample, prefix, *hint);
    if (!at)
        return 0;
    *hint = at;
    return strtod(at, NULL);
}

static int route_compare(const void *a, const void *b)
{
    const struct route *x = a, *y = b;
    if (x->rate != y->rate)
        return x->rate < y->rate ? 1 : -1;
    if (x->total != y->total)
        return x->total < y->total ? 1 : -1;
    return x < y ? -1 : x > y;
}

static struct route *top_routes(const struct top *top, size_t *count)
{
    static const char messages[] = "sluice_route_messages_total", bytes[] = "sluice_route_bytes_total";
    static const char first[] = "sluice_route_messages_total{route=\"";
    struct route *routes = NULL;
    size_t size = 0;
    const char *hints[3] = {top->before->text.data, top->now->text.data, top->before->text.data};
    *count = 0;
    for (const char *at = strstr(top->now->text.data, first); at; at = strstr(at, first)) {
        const char *labels = at + strlen(messages);
        struct route route = {.topic = at + strlen(first)};
        const char *end = label_end(route.topic);
        route.topic_len = (size_t)(end - route.topic);
        at = end;
        if (strncmp(end, "\",channel=\"", 11) != 0)
            continue;
        route.channel = end + 11;
        end = label_end(route.channel);
        route.channel_len = (size_t)(end - route.channel);
        at = end;
        if (*end != '"' || end[1] != '}')
            continue;
        size_t len = (size_t)(end + 1 - labels);
        route.total = strtod(end + 2, NULL);
        route.rate = top_per_second(top, route.total, route_other(top->before, messages, labels, len, &hints[0]));
        double sent = route_other(top->now, bytes, labels, len, &hints[1]);
        route.bytes = top_per_second(top, sent, route_other(top->before, bytes, labels, len, &hints[2]));
        GW_GROW(routes, *count, size, 64);
        routes[(*count)++] = route;
    }
    if (routes)
        qsort(routes, *count, sizeof *routes, route_compare);
    return routes;
}

/* --- writing --------------------------------------------------------------------------------------------------- */

/* A line that fits. What a topic could do to a terminal is left out. */
static void top_line(struct top *top, const char *text)
{
    size_t columns = 0;
    for (; *text && columns < top->width; text++) {
        unsigned char c = (unsigned char)*text;
        columns += (c & 0xc0) != 0x80;
        gw_buf_addc(&top->out, c < 0x20 || c == 0x7f ? '?' : *text);
    }
    while ((*text & 0xc0) == 0x80) /* the rest of a character */
        gw_buf_addc(&top->out, *text++);
    gw_buf_addc(&top->out, '\n');
}

/* 1234567 as "1.2M". */
static const char *short_number(char out[16], double value)
{
    static const char units[] = " kMGTP";
    size_t unit = 0;
    while (value >= 9999.5 && unit < sizeof units - 2) {
        value /= 1000;
        unit++;
    }
    snprintf(out, 16, value < 99.95 && (unit || value != (double)(int64_t)value) ? "%.1f%.1s" : "%.0f%.1s", value,
             unit ? units + unit : "");
    return out;
}

static void top_transports(const struct top *top, struct gw_buf *line)
{
    static const char prefix[] = "sluice_transport_sessions{transport=\"";
    bool any = false;
    for (const char *at = strstr(top->now->text.data, prefix); at; at = strstr(at, prefix)) {
        at += sizeof prefix - 1;
        const char *end = label_end(at);
        double count = !strncmp(end, "\"} ", 3) ? strtod(end + 3, NULL) : 0;
        if (count > 0)
            gw_buf_printf(line, "%s%.*s %.0f", any ? ", " : " (", (int)(end - at), at, count);
        any = any || count > 0;
    }
    gw_buf_adds(line, any ? ")" : "");
}

static void top_head(struct top *top)
{
    const struct sample *now = top->now;
    char a[16], b[16], c[16], d[16];
    double workers = sample_value(now, "sluice_workers");
    double wanted = sample_value(now, "sluice_mqtt_subscriptions");
    double granted = sample_value(now, "sluice_mqtt_subscriptions_granted");
    struct gw_buf line = {0};
    gw_buf_printf(&line, "%s   broker %s, %.0f of %.0f subscriptions", gw_http_client_address(top->client),
                  sample_value(now, "sluice_mqtt_up") > 0 ? "up" : "DOWN", granted, wanted);
    top_line(top, line.data);
    gw_buf_clear(&line);
    gw_buf_printf(&line, "sessions    %s", short_number(a, sample_value(now, "sluice_sessions")));
    top_transports(top, &line);
    gw_buf_printf(&line, "   connections %s   channels %s", short_number(a, sample_value(now, "sluice_connections")),
                  short_number(b, sample_value(now, "sluice_channels") / (workers > 0 ? workers : 1)));
    top_line(top, line.data);
    gw_buf_clear(&line);
    gw_buf_printf(&line, "in          %s msg/s, %s B/s   out %s msg/s, %s B/s",
                  short_number(a, top_rate(top, "sluice_mqtt_messages_total")),
                  short_number(b, top_rate(top, "sluice_mqtt_received_bytes_total")),
                  short_number(c, top_rate(top, "sluice_deliveries_total")),
                  short_number(d, top_rate(top, "sluice_sent_bytes_total")));
    top_line(top, line.data);
    gw_buf_clear(&line);
    gw_buf_printf(&line, "publishes   %s/s, %s/s refused   gaps %s/s   waiting %s B",
                  short_number(a, top_rate(top, "sluice_publishes_total")),
                  short_number(b, top_rate(top, "sluice_publish_errors_total")),
                  short_number(c, top_rate(top, "sluice_gaps_total")),
                  short_number(d, sample_value(now, "sluice_queued_bytes")));
    top_line(top, line.data);
    gw_buf_fini(&line);
}

static void top_table(struct top *top)
{
    size_t count;
    struct route *routes = top_routes(top, &count);
    struct gw_buf line = {0};
    top_line(top, "");
    top_line(top, "   MSG/S      B/S    TOTAL  ROUTE");
    for (size_t i = 0; i < count && i < top->rows; i++) {
        char a[16], b[16], c[16];
        const struct route *route = &routes[i];
        gw_buf_clear(&line);
        gw_buf_printf(&line, "%8s %8s %8s  %.*s", short_number(a, route->rate), short_number(b, route->bytes),
                      short_number(c, route->total), (int)route->topic_len, route->topic);
        if (route->channel_len != route->topic_len || memcmp(route->channel, route->topic, route->topic_len) != 0)
            gw_buf_printf(&line, " -> %.*s", (int)route->channel_len, route->channel);
        top_line(top, line.data);
    }
    if (count > top->rows) {
        gw_buf_clear(&line);
        gw_buf_printf(&line, "%28s%zu more", "", count - top->rows);
        top_line(top, line.data);
    }
    gw_buf_fini(&line);
    free(routes);
}

static bool top_show(struct top *top, const char *problem)
{
    struct winsize size;
    top->width = WIDTH_MAX;
    top->rows = ROUTES;
    gw_buf_clear(&top->out);
    if (top->terminal) {
        bool known = !ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col && size.ws_row;
        top->width = known ? size.ws_col : WIDTH;
        top->rows = known && size.ws_row > HEAD_ROWS + 1 ? (size_t)size.ws_row - HEAD_ROWS : 16;
        gw_buf_adds(&top->out, "\033[H\033[2J");
    }
    if (problem)
        top_line(top, problem);
    else {
        top_head(top);
        top_table(top);
    }
    bool good = fwrite(top->out.data, 1, top->out.len, stdout) == top->out.len && !fflush(stdout);
    if (!good)
        fprintf(stderr, "sluice: can't write: %s\n", strerror(errno));
    return good;
}

/* --- the command ----------------------------------------------------------------------------------------------- */

static void top_pause(int64_t ms)
{
    const struct timespec delay = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&delay, NULL);
}

/* Returns the exit status. */
static int top_run(struct top *top, int64_t interval_ms, uint64_t left)
{
    size_t at = 0, taken = 0; /* the sample that comes next, and how many in a row are there */
    for (;;) {
        struct gw_buf problem = {0};
        enum gw_http_outcome outcome = top_ask(top, &top->samples[at], &problem);
        bool shown = true;
        bool last = outcome == GW_HTTP_REFUSED || (outcome != GW_HTTP_GOOD && (!top->terminal || !taken));
        if (last)
            fprintf(stderr, "sluice: %s\n", problem.data);
        else if (outcome != GW_HTTP_GOOD)
            shown = top_show(top, problem.data);
        else if (taken++) {
            top->now = &top->samples[at];
            top->before = &top->samples[!at];
            shown = top_show(top, NULL);
            left--;
        }
        if (outcome == GW_HTTP_GOOD)
            at = !at;
        gw_buf_fini(&problem);
        if (last || !shown)
            return 1;
        if (!left)
            return 0;
        top_pause(interval_ms);
    }
}

int gw_cli_top(const struct gw_cli *cli)
{
    int status = 1;
    int64_t interval_ms = INTERVAL_MS;
    struct gw_config *config;
    struct top top = {.terminal = isatty(STDOUT_FILENO) == 1};
    uint64_t left = top.terminal ? UINT64_MAX : 1;
    char *end = NULL;
    if (cli->count && (cli->count[0] < '1' || cli->count[0] > '9' || (left = strtoull(cli->count, &end, 10), *end)))
        return gw_cli_usage(cli->command, "--count: a number from 1 is expected, not", cli->count);
    if (cli->interval && (!gw_parse_duration(cli->interval, &interval_ms) || interval_ms < INTERVAL_MIN_MS ||
                          interval_ms > INTERVAL_MAX_MS))
        return gw_cli_usage(cli->command, "--interval: a duration from 100ms to 1h is expected, not", cli->interval);
    top.client = gw_cli_client(cli, &config, &status);
    if (top.client)
        status = top_run(&top, interval_ms, left);
    gw_buf_fini(&top.out);
    gw_buf_fini(&top.samples[0].text);
    gw_buf_fini(&top.samples[1].text);
    gw_http_client_free(top.client);
    gw_config_unref(config);
    return status;
}
