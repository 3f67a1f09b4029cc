/* session_log.h: lines of the log that are about one session: its id goes along, as the client has it from `welcome`.
 * Thread: the session's loop. */
#ifndef GATEWAY_SESSION_LOG_H
#define GATEWAY_SESSION_LOG_H

#include "gateway/log.h"
#include "gateway/session.h"

#define GW_SESSION_NAME_MAX 32

/* "0-1f": worker and number in hexadecimal. The session must have been opened. */
void gw_session_name(const struct gw_session *session, char out[GW_SESSION_NAME_MAX]);

/* `limiter` NULL: every line is written. */
void gw_session_log_limited(struct gw_log_limiter *limiter, const struct gw_session *session, enum gw_log_level level,
                            const char *format, ...) __attribute__((format(printf, 4, 5)));

/* The arguments are evaluated only if the line is wanted. */
#define GW_SESSION_LOG(session, level, ...)                                                                          \
    do {                                                                                                             \
        if (gw_log_enabled(level))                                                                                   \
            gw_session_log_limited(NULL, session, level, __VA_ARGS__);                                               \
    } while (0)

#define GW_SESSION_LOG_ONCE_A_SECOND(session, level, ...)                                                            \
    do {                                                                                                             \
        static struct gw_log_limiter gw_limiter_;                                                                    \
        gw_session_log_limited(&gw_limiter_, session, level, __VA_ARGS__);                                           \
    } while (0)

#endif
