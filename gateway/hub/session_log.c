#include "gateway/session_log.h"

#include <stdio.h>

#include "gateway/hub.h"

void gw_session_name(const struct gw_session *session, char out[GW_SESSION_NAME_MAX])
{
    snprintf(out, GW_SESSION_NAME_MAX, "%u-%llx", gw_hub_worker(session->hub), (unsigned long long)session->id);
}

void gw_session_log_limited(struct gw_log_limiter *limiter, const struct gw_session *session, enum gw_log_level level,
                            const char *format, ...)
{
    char name[GW_SESSION_NAME_MAX];
    gw_session_name(session, name);
    const struct gw_log_about about = {.session = name};
    va_list args;
    va_start(args, format);
    gw_log_vabout(limiter, &about, level, "session", format, args);
    va_end(args);
}
