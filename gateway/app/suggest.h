/* suggest.h: routes for the topics that were seen. Thread: main. */
#ifndef GW_APP_SUGGEST_H
#define GW_APP_SUGGEST_H

#include <stddef.h>

#include "gateway/buf.h"

struct gw_suggest;

struct gw_suggest *gw_suggest_create(void);
void gw_suggest_free(struct gw_suggest *suggest); /* NULL is fine */

/* A message: notes the topic and what its payload is. Beyond 10,000 topics only those that are known are looked at.
 * `context` is the struct gw_suggest. */
void gw_suggest_note(void *context, const char *topic, const char *payload, size_t len);

size_t gw_suggest_topics(const struct gw_suggest *suggest);

/* Adds the entries of `routes:`. Together they match every topic that was noted. */
void gw_suggest_routes(struct gw_suggest *suggest, struct gw_buf *out);

#endif
