/* sandbox.h: the process gives up what a gateway never needs. Thread: main, after everything is bound, before any
 * other thread starts (what is given up is given up for each thread by itself). */
#ifndef GW_APP_SANDBOX_H
#define GW_APP_SANDBOX_H

#include <stdbool.h>

#include "gateway/config.h"

/* Becomes config->user if there is one, and with config->sandbox: no new privileges, no capabilities, and a list of
 * system calls that fail with EPERM from here on. False after an error that makes it unsafe to go on (it was logged):
 * the user does not exist or can't be become. What the kernel does not offer is logged and left out. */
bool gw_sandbox_enter(const struct gw_config *config);

/* From here on no other process of the same user can read this one's memory or environment, and a crash leaves no
 * core file: all three hold secrets. Call it before a configuration is read. `sandbox: false` takes it back. */
void gw_sandbox_hide(void);

#endif
