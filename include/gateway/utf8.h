/* utf8.h: strict UTF-8 (RFC 3629): no surrogates, nothing overlong, at most U+10FFFF. NUL is allowed. Thread: any. */
#ifndef GATEWAY_UTF8_H
#define GATEWAY_UTF8_H

#include <stdbool.h>
#include <stddef.h>

bool gw_utf8_valid(const char *data, size_t len);

/* Length of the valid sequence at the front, 0 if there is none. len is 1 or more. */
size_t gw_utf8_sequence(const char *data, size_t len);

#endif
