/* confirm.h: publishes that wait until their device's state shows them (confirm.c). Thread: the loop's. */
#ifndef GW_HUB_PUBLISH_CONFIRM_H
#define GW_HUB_PUBLISH_CONFIRM_H

#include "gateway/error.h"
#include "gateway/session.h"
#include "hub/publish/wanted.h"

struct gw_confirm;
struct gw_hub;
struct gw_message;
struct gw_pending;
struct gw_publish_target;

#define GW_CONFIRM_BUCKETS 64

/* Those that wait, by their channel. */
struct gw_confirms {
    struct gw_confirm *buckets[GW_CONFIRM_BUCKETS];
    uint32_t count;
};

/* One of them, from before the publish is handed over. `json` is the value that was sent, as its channel has it, or
 * the payload where another topic shows the state (gw_confirm_reads_payload()). GW_ERR_UNSUPPORTED: the route
 * confirms nothing; GW_ERR_OVERLOADED: limits.confirms; GW_ERR_BAD_PAYLOAD: there is nothing to compare. */
GW_MUST_CHECK enum gw_err gw_confirm_create(struct gw_hub *hub, const struct gw_publish_target *target,
                                            struct gw_slice channel, struct gw_slice data, bool json,
                                            struct gw_slice payload, struct gw_confirm **out, const char **why);
/* It waits from here on. */
void gw_confirm_begin(struct gw_confirm *confirm, struct gw_pending *pending, bool acknowledged);
/* NULL is fine. */
void gw_confirm_free(struct gw_confirm *confirm);

/* The broker has the publish. True: the state showed already. */
bool gw_confirm_acknowledged(struct gw_confirm *confirm);
int64_t gw_confirm_within_ms(const struct gw_confirm *confirm);

/* A live message that is the channel's last value now, or was no news beside it. Only with hub->confirms.count. */
void gw_confirms_see(struct gw_hub *hub, const struct gw_message *msg);

/* Counts it. What the session hears: the cursor of what showed it, or what is there when its time is up. Without a
 * session nobody knows who may see that. */
struct gw_confirmed gw_confirm_outcome(struct gw_confirm *confirm, struct gw_session *session, bool confirmed);

#endif
