/* describe.h: the tables of fields as documents, so that what editors check and people read is what is configured by.
 * Thread: any. */
#ifndef GW_CONFIG_DESCRIBE_H
#define GW_CONFIG_DESCRIBE_H

#include "gateway/buf.h"

/* A JSON Schema (draft 7) of the configuration file, as editors use it. */
void gw_config_schema(struct gw_buf *out);
/* A table in Markdown, a row for each key. */
void gw_config_reference(struct gw_buf *out);
/* The same as paragraphs of a manual page (troff -man). */
void gw_config_man(struct gw_buf *out);

#endif
