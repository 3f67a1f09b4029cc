/* log.h: lines to standard error. Thread: any.
 *
 *   text  2026-11-24T12:00:00.123Z warn  session: reads too slowly: 1048576 bytes wait session=0-1f (and 3 more like
 * it) json  {"time":"2026-11-24T12:00:00.123Z","level":"warn","part":"session","message":"reads too slowly: …",
 *          "session":"0-1f","suppressed":3}
 *
 * `part` is the part of the program that speaks: "mqtt", "web", "hub", "session", "config", "app". The message is the
 * same in both, so that people and programs can look for the same words. No payloads above debug, no secrets ever. */
#ifndef GATEWAY_LOG_H
#define GATEWAY_LOG_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum gw_log_level { GW_LOG_ERROR, GW_LOG_WARN, GW_LOG_INFO, GW_LOG_DEBUG };

/* GW_LOG_AUTO: text where standard error is a terminal, JSON otherwise. */
enum gw_log_format { GW_LOG_AUTO, GW_LOG_TEXT, GW_LOG_JSON };

/* Before the first call: info, and text. */
void gw_log_setup(enum gw_log_level level, enum gw_log_format format);
bool gw_log_enabled(enum gw_log_level level);

void gw_log(enum gw_log_level level, const char *part, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* At most once a second for each place in the code; the next line says how many were left out. */
struct gw_log_limiter {
    _Atomic int64_t next_ms;
    atomic_uint skipped;
};

/* Whom a line is about, as fields of their own. NULL: not told. */
struct gw_log_about {
    const char *session; /* as in `welcome`: worker, `-`, number in hexadecimal */
    const char *address; /* of the client */
};

/* `limiter` and `about` may be NULL. */
void gw_log_about(struct gw_log_limiter *limiter, const struct gw_log_about *about, enum gw_log_level level,
                  const char *part, const char *format, ...) __attribute__((format(printf, 5, 6)));
void gw_log_vabout(struct gw_log_limiter *limiter, const struct gw_log_about *about, enum gw_log_level level,
                   const char *part, const char *format, va_list args) __attribute__((format(printf, 5, 0)));

/* Would a line of this level and limiter be written now? If not, it is counted as left out. For what is worth working
 * out only then: log it right away with the same limiter. */
bool gw_log_due(struct gw_log_limiter *limiter, enum gw_log_level level);

#define GW_LOG_ONCE_A_SECOND(level, part, ...)                                                                       \
    do {                                                                                                             \
        static struct gw_log_limiter gw_limiter_;                                                                    \
        gw_log_about(&gw_limiter_, NULL, level, part, __VA_ARGS__);                                                  \
    } while (0)

#endif
