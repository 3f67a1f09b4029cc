/* values.h: the typed values of the configuration, out of text. Thread: any. */
#ifndef GW_CONFIG_VALUES_H
#define GW_CONFIG_VALUES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/units.h"

bool gw_parse_int(const char *text, int64_t *number);

/* `0.0.0.0:8080`, `[::]:8080`. *host is malloc'd. */
bool gw_parse_address(const char *text, char **host, uint16_t *port);
/* mqtt://host[:port], mqtts://…. *host is malloc'd. NULL if it is well, else what is wrong. */
const char *gw_parse_broker_url(const char *text, char **host, uint16_t *port, bool *tls);

#endif
