/* access.h: what a client may see, and who it is (access.c). Thread: the loop's. */
#ifndef GW_HUB_ACCESS_H
#define GW_HUB_ACCESS_H

#include "gateway/auth.h"
#include "gateway/session.h"

struct gw_channel;
struct gw_hub;

/* GW_OK, GW_ERR_FORBIDDEN, or GW_ERR_UNAUTHORIZED for a client that is not known. */
enum gw_err gw_session_check(const struct gw_session *session, enum gw_right right, const char *filter, size_t len);
/* The session is being closed. */
void gw_session_forget_identity(struct gw_session *session);
/* After a reload: every session's identity again. */
void gw_hub_identify_again(struct gw_hub *hub);

#endif
