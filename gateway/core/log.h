/* log.h: lines to standard error, `2026-11-24T12:00:00.123Z LEVEL subject: text`. Thread: any. */
#ifndef GW_CORE_LOG_H
#define GW_CORE_LOG_H

#include <stdbool.h>
#include <stdatomic.h>
#include <stdint.h>

enum gw_log_level { GW_LOG_ERROR, GW_LOG_WARN, GW_LOG_INFO, GW_LOG_DEBUG };

/* "error", "warn", "info", "debug"; false if it is none of them. */
bool gw_log_set_level(const char *name);
bool gw_log_enabled(enum gw_log_level level);

/* `subject` is the part of the program: "mqtt", "web", "config". No payloads above debug, no secrets ever. */
void gw_log(enum gw_log_level level, const char *subject, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* At most once a second for each place in the code; the next line says how many were left out. */
struct gw_log_limiter {
    _Atomic int64_t next_ms;
    atomic_uint skipped;
};
void gw_log_limited(struct gw_log_limiter *limiter, enum gw_log_level level, const char *subject, const char *format,
                    ...) __attribute__((format(printf, 4, 5)));

#define GW_LOG_ONCE_A_SECOND(level, subject, ...)                                                                     \
    do {                                                                                                               \
        static struct gw_log_limiter gw_limiter_;                                                                      \
        gw_log_limited(&gw_limiter_, level, subject, __VA_ARGS__);                                                     \
    } while (0)

#endif
