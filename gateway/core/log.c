#include "core/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "gateway/buf.h"

static atomic_int log_level = GW_LOG_INFO;
static const char *const log_names[] = {"error", "warn", "info", "debug"};

bool gw_log_set_level(const char *name)
{
    for (int i = 0; i <= GW_LOG_DEBUG; i++) {
        if (!strcmp(name, log_names[i])) {
            atomic_store(&log_level, i);
            return true;
        }
    }
    return false;
}

bool gw_log_enabled(enum gw_log_level level)
{
    return (int)level <= atomic_load_explicit(&log_level, memory_order_relaxed);
}

static void log_line(enum gw_log_level level, const char *subject, unsigned skipped, const char *format, va_list args)
    __attribute__((format(printf, 4, 0)));

static void log_line(enum gw_log_level level, const char *subject, unsigned skipped, const char *format, va_list args)
{
    struct gw_buf line;
    gw_buf_init(&line);
    int64_t now = gw_wall_ms();
    time_t seconds = (time_t)(now / 1000);
    struct tm parts;
    gmtime_r(&seconds, &parts);
    char stamp[32];
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &parts);
    gw_buf_printf(&line, "%s.%03dZ %-5s %s: ", stamp, (int)(now % 1000), log_names[level], subject);
    size_t text = line.len;
    gw_buf_vprintf(&line, format, args);
    /* Names from the network end up in here: a line stays a line. */
    for (size_t i = text; i < line.len; i++) {
        if ((unsigned char)line.data[i] < 0x20 || line.data[i] == 0x7f)
            line.data[i] = '?';
    }
    if (skipped)
        gw_buf_printf(&line, " (and %u more like it)", skipped);
    gw_buf_addc(&line, '\n');
    /* One write, so that lines of several threads don't mix. Nothing to do if it fails. */
    ssize_t written = write(STDERR_FILENO, line.data, line.len);
    (void)written;
    gw_buf_fini(&line);
}

void gw_log(enum gw_log_level level, const char *subject, const char *format, ...)
{
    if (!gw_log_enabled(level))
        return;
    va_list args;
    va_start(args, format);
    log_line(level, subject, 0, format, args);
    va_end(args);
}

void gw_log_limited(struct gw_log_limiter *limiter, enum gw_log_level level, const char *subject, const char *format,
                    ...)
{
    if (!gw_log_enabled(level))
        return;
    int64_t now = gw_monotonic_ms();
    int64_t next = atomic_load_explicit(&limiter->next_ms, memory_order_relaxed);
    if (now < next || !atomic_compare_exchange_strong(&limiter->next_ms, &next, now + 1000)) {
        atomic_fetch_add_explicit(&limiter->skipped, 1, memory_order_relaxed);
        return;
    }
    va_list args;
    va_start(args, format);
    log_line(level, subject, atomic_exchange(&limiter->skipped, 0), format, args);
    va_end(args);
}
