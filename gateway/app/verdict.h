/* verdict.h: `sluice explain --as TOKEN`: what a client may do, and by which grant. Thread: main. */
#ifndef GW_APP_VERDICT_H
#define GW_APP_VERDICT_H

#include "gateway/config.h"
#include "route/routes.h"

/* `token`: a JWT or API key, `anonymous`, or `-` (the first line of standard input, so that it shows in no list of
 * processes). Appends for the channel, or for each channel that the topic feeds, or, with neither, all that is
 * granted. Returns the exit status: 0, or 2 with *problem filled if the token or the configuration is no good. */
int gw_verdict(struct gw_config *config, const struct gw_routes *routes, const char *token, const char *topic,
               const char *channel, struct gw_buf *out, struct gw_buf *problem);

#endif
