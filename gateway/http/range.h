/* range.h: a Range header (RFC 9110 section 14.2). Pure; thread: any. */
#ifndef GW_HTTP_RANGE_H
#define GW_HTTP_RANGE_H

#include <stddef.h>

#include "gateway/buf.h"

enum gw_range {
    GW_RANGE_NONE,         /* there is none, or one that may be ignored: another unit, several ranges, malformed */
    GW_RANGE_PART,         /* [*from, *from + *len), never empty */
    GW_RANGE_UNSATISFIABLE /* nothing of it is there */
};

/* What `value`, which may be empty, asks for of a body of `size` bytes. */
enum gw_range gw_range_read(struct gw_slice value, size_t size, size_t *from, size_t *len);

#endif
