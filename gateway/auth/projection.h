/* projection.h: what a client sees of a message if it may not see all of it. Thread: any. */
#ifndef GW_AUTH_PROJECTION_H
#define GW_AUTH_PROJECTION_H

#include "gateway/identity.h"
#include "gateway/message.h"

/* JSON text of `data` reduced to the members on the list: those of an object, of each object of an array; whatever
 * else it is becomes null. Appends. */
void gw_projection_json(const struct gw_projection *projection, const char *json, size_t len, struct gw_buf *out);

/* Is what the JSON pointer leads to, in an object, among the members? */
bool gw_projection_shows(const struct gw_projection *projection, const char *pointer);

/* The message as it is seen, borrowed from msg: made the first time that anybody asks, on whatever thread. */
struct gw_message *gw_projection_of(struct gw_projection *projection, struct gw_message *msg, const char *epoch);

#endif
