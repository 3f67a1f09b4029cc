/* fetch.h: a small document over HTTPS, bounded in time and size, that can be called off. */
#ifndef GW_AUTH_FETCH_H
#define GW_AUTH_FETCH_H

#include <stdbool.h>

#include "gateway/buf.h"

struct gw_fetch;
/* `url` is borrowed. */
struct gw_fetch *gw_fetch_create(const char *url);
/* NULL is fine. */
void gw_fetch_free(struct gw_fetch *fetch);

/* Blocks for at most 5 s. True: `out` has the body of an answer 200, 1 MiB at most. False: `problem` has why, empty
 * if it was called off. Certificates are verified; redirects are followed to https only. Thread: one at a time. */
bool gw_fetch_run(struct gw_fetch *fetch, struct gw_buf *out, struct gw_buf *problem);

/* Ends the run that is under way, and every later one, at once. Thread: any. */
void gw_fetch_stop(struct gw_fetch *fetch);

#endif
