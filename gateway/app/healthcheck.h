/* healthcheck.h: `sluice healthcheck`: asks the gateway that runs with this configuration whether it is alive. */
#ifndef GW_APP_HEALTHCHECK_H
#define GW_APP_HEALTHCHECK_H

#include "gateway/config.h"

/* Says what is wrong on standard error. Returns the exit status: 0 alive, 1 not. */
int gw_healthcheck(const struct gw_config *config);

#endif
