/* reload.h: `sluice reload`: asks the running gateway to read its configuration again. */
#ifndef GW_APP_RELOAD_H
#define GW_APP_RELOAD_H

/* Finds the process that runs with this file and sends it SIGHUP. Returns an exit status; says on standard output or
 * standard error what happened. The caller has checked the file. */
int gw_reload(const char *file);

#endif
