/* presence.c: tells extensions who subscribes to what (include/gateway/presence.h). */
#include "hub/session/presence.h"

#include "gateway/alloc.h"
#include "hub/hub_private.h"
#include "hub/session/subscription.h"

static const struct gw_presence *const none[] = {NULL};
const struct gw_presence *const *gw_presences = none;

void gw_presences_use(const struct gw_presence *const *list)
{
    gw_presences = list;
}

const struct gw_presence **gw_presence_select(const struct gw_config *config)
{
    const struct gw_presence **list = NULL;
    size_t count = 0;
    for (size_t i = 0; gw_presences[i]; i++) {
        if (gw_presences[i]->options && !gw_options_of(config, gw_presences[i]->options))
            continue;
        list = gw_reallocarray(list, count + 2, sizeof *list);
        list[count++] = gw_presences[i];
        list[count] = NULL;
    }
    return list;
}

void gw_presence_subscribed(const struct gw_presence *const *list, const struct gw_session *session,
                            const char *filter, size_t len)
{
    for (; *list; list++)
        (*list)->subscribed(session, filter, len);
}

void gw_presence_unsubscribed(const struct gw_presence *const *list, const struct gw_session *session,
                              const char *filter, size_t len)
{
    for (; *list; list++)
        (*list)->unsubscribed(session, filter, len);
}

void gw_presence_closed(const struct gw_presence *const *list, const struct gw_session *session)
{
    for (uint32_t i = 0; i < session->sub_count; i++)
        gw_presence_unsubscribed(list, session, session->subs[i]->filter->text, session->subs[i]->filter->len);
    for (; *list; list++)
        (*list)->closed(session);
}
