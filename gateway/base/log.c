#include "gateway/log.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "gateway/buf.h"
#include "gateway/clock.h"
#include "gateway/utf8.h"

static atomic_int log_level = GW_LOG_INFO;
static atomic_bool log_json;
static const char *const log_names[] = {"error", "warn", "info", "debug"};

void gw_log_setup(enum gw_log_level level, enum gw_log_format format)
{
    atomic_store(&log_level, (int)level);
    atomic_store(&log_json, format == GW_LOG_JSON || (format == GW_LOG_AUTO && !isatty(STDERR_FILENO)));
}

bool gw_log_enabled(enum gw_log_level level)
{
    return (int)level <= atomic_load_explicit(&log_level, memory_order_relaxed);
}

/* RFC 3339, UTC, milliseconds. */
static void log_stamp(char out[32])
{
    int64_t now = gw_wall_ms();
    time_t seconds = (time_t)(now / 1000);
    struct tm parts;
    gmtime_r(&seconds, &parts);
    size_t len = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(out + len, 32 - len, ".%03dZ", (int)(now % 1000));
}

/* Names from the network end up in here: a line stays a line, and text. */
static void log_clean(struct gw_buf *text)
{
    bool utf8 = gw_utf8_valid(text->data, text->len);
    for (size_t i = 0; i < text->len; i++) {
        unsigned char c = (unsigned char)text->data[i];
        if (c < 0x20 || c == 0x7f || (c >= 0x80 && !utf8))
            text->data[i] = '?';
    }
}

static void log_member(struct gw_buf *line, const char *key, const char *value)
{
    if (!value)
        return;
    gw_buf_printf(line, ",\"%s\":", key);
    gw_buf_add_json_string(line, value, strlen(value));
}

static void log_as_json(struct gw_buf *line, enum gw_log_level level, const char *part, const struct gw_buf *message,
                        const struct gw_log_about *about, unsigned skipped)
{
    char stamp[32];
    log_stamp(stamp);
    gw_buf_printf(line, "{\"time\":\"%s\",\"level\":\"%s\",\"part\":\"%s\",\"message\":", stamp, log_names[level],
                  part);
    gw_buf_add_json_string(line, message->data, message->len);
    if (about) {
        log_member(line, "session", about->session);
        log_member(line, "address", about->address);
    }
    if (skipped)
        gw_buf_printf(line, ",\"suppressed\":%u", skipped);
    gw_buf_adds(line, "}\n");
}

static void log_as_text(struct gw_buf *line, enum gw_log_level level, const char *part, const struct gw_buf *message,
                        const struct gw_log_about *about, unsigned skipped)
{
    char stamp[32];
    log_stamp(stamp);
    gw_buf_printf(line, "%s %-5s %s: ", stamp, log_names[level], part);
    gw_buf_add(line, message->data, message->len);
    if (about && about->session)
        gw_buf_printf(line, " session=%s", about->session);
    if (about && about->address)
        gw_buf_printf(line, " address=%s", about->address);
    if (skipped)
        gw_buf_printf(line, " (and %u more like it)", skipped);
    gw_buf_addc(line, '\n');
}

/* True: this one is to be written, and speaks for *skipped others. */
static bool log_passes(struct gw_log_limiter *limiter, unsigned *skipped)
{
    int64_t now = gw_monotonic_ms();
    int64_t next = atomic_load_explicit(&limiter->next_ms, memory_order_relaxed);
    if (now < next || !atomic_compare_exchange_strong(&limiter->next_ms, &next, now + 1000)) {
        atomic_fetch_add_explicit(&limiter->skipped, 1, memory_order_relaxed);
        return false;
    }
    *skipped = atomic_exchange(&limiter->skipped, 0);
    return true;
}

bool gw_log_due(struct gw_log_limiter *limiter, enum gw_log_level level)
{
    if (!gw_log_enabled(level))
        return false;
    bool due = gw_monotonic_ms() >= atomic_load_explicit(&limiter->next_ms, memory_order_relaxed);
    if (!due)
        atomic_fetch_add_explicit(&limiter->skipped, 1, memory_order_relaxed);
    return due;
}

void gw_log_vabout(struct gw_log_limiter *limiter, const struct gw_log_about *about, enum gw_log_level level,
                   const char *part, const char *format, va_list args)
{
    unsigned skipped = 0;
    if (!gw_log_enabled(level) || (limiter && !log_passes(limiter, &skipped)))
        return;
    struct gw_buf message = {0}, line = {0};
    gw_buf_vprintf(&message, format, args);
    log_clean(&message);
    if (atomic_load_explicit(&log_json, memory_order_relaxed))
        log_as_json(&line, level, part, &message, about, skipped);
    else
        log_as_text(&line, level, part, &message, about, skipped);
    /* One write, so that lines of several threads don't mix. Nothing to do if it fails. */
    ssize_t written = write(STDERR_FILENO, line.data, line.len);
    (void)written;
    gw_buf_fini(&message);
    gw_buf_fini(&line);
}

void gw_log_about(struct gw_log_limiter *limiter, const struct gw_log_about *about, enum gw_log_level level,
                  const char *part, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    gw_log_vabout(limiter, about, level, part, format, args);
    va_end(args);
}

void gw_log(enum gw_log_level level, const char *part, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    gw_log_vabout(NULL, NULL, level, part, format, args);
    va_end(args);
}
