/* origin.h: origins of web pages as the configuration lists them (RFC 6454 section 6.2: scheme, host, port). Beside
 * those of http and https there are the origins of apps (capacitor://localhost, chrome-extension://ID), `file://` and
 * `null`. Pure functions; thread: any. */
#ifndef GW_CONFIG_ORIGIN_H
#define GW_CONFIG_ORIGIN_H

#include <stdbool.h>

#include "gateway/buf.h"

enum gw_origin_match {
    GW_ORIGIN_OTHER,
    GW_ORIGIN_EXACT,
    GW_ORIGIN_PATTERN /* it is one of many: by a wildcard, or one that unrelated pages share (`null`, `file://`) */
};

/* Can an Origin header ever have this value, or match it? If not, *hint gets what was probably meant, and stays empty
 * where that can't be guessed. Takes also `*.` before a host, which is one or more labels, and `*` as the port. */
bool gw_origin_valid(const char *text, struct gw_buf *hint);

/* `listed` is valid. */
enum gw_origin_match gw_origin_match(const char *listed, struct gw_slice origin);

#endif
