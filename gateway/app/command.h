/* command.h: the command line. Thread: main. */
#ifndef GW_APP_COMMAND_H
#define GW_APP_COMMAND_H

#include "gateway/config.h"

/* Read where no -c FILE is given. */
#define GW_DEFAULT_FILE "/etc/sluice/sluice.yaml"

/* Does what the arguments say; `run` is the gateway itself. Returns the exit status: 0, 1 for run time, 2 for usage
 * and configuration. */
int gw_command(int argc, char **argv, int (*run)(struct gw_config *config));

#endif
