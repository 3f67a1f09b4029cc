/* builtins.h: gives the lower layers what is built in (include/gateway/builtins.h): a layer never reaches up for it.
 *
 * Call it before anything else. Thread: main, before any other one. */
#ifndef GW_APP_BUILTINS_H
#define GW_APP_BUILTINS_H

void gw_builtins_use(void);

#endif
