/* api.h: the pieces of the HTTP interface in files of their own. Thread: any worker's. */
#ifndef GW_HTTP_API_H
#define GW_HTTP_API_H

#include <stdbool.h>
#include <stddef.h>

#include "gateway/buf.h"
#include "gateway/identity.h"

struct gw_worker;
struct gw_conn;
struct gw_exposition;
struct gw_request;

/* metrics.c: everything there is to tell, all workers added up. Thread: that worker's. */
void gw_metrics_write(const struct gw_worker *worker, struct gw_exposition *to);

/* Files inside the binary, made from client/ by the build; ends with a NULL path. */
struct gw_asset {
    const char *path;
    const char *type;
    const unsigned char *data;
    size_t len;
    const char *etag;          /* with its quotes */
    const unsigned char *gzip; /* the same, compressed; NULL: the build had no gzip */
    size_t gzip_len;
    const char *gzip_etag;
};
extern const struct gw_asset gw_assets[];

/* assets.c. NULL: the request is for none of them. */
const struct gw_asset *gw_asset_find(const struct gw_request *request);
void gw_asset_reply(struct gw_conn *conn, const struct gw_request *request, const struct gw_asset *asset);
/* What the values of Accept-Encoding and If-None-Match mean. Pure; thread: any. */
bool gw_asset_takes_gzip(struct gw_slice accept);
bool gw_asset_is_known(struct gw_slice if_none_match, const char *etag);

/* GET /channels[?filter=F]. Thread: the worker's. */
void gw_api_channels(struct gw_conn *conn, const struct gw_request *request);

/* Before anything is said of the channel: false, and refused, unless the client has the right to it. */
bool gw_api_may(struct gw_conn *conn, enum gw_right right, const struct gw_buf *name);

/* What the client may do; NULL: everything. */
const struct gw_grants *gw_api_grants(const struct gw_conn *conn);

/* 200, and takes the content of *body. `cursor`: the position of a client that has read this answer; NULL: at the
 * head.
 */
void gw_api_reply_json(struct gw_conn *conn, struct gw_buf *body, const char *cursor);

/* GET /channels/NAME/history[?limit=N][&cursor=C|&since=T]. Thread: the worker's. */
void gw_api_history(struct gw_conn *conn, const struct gw_request *request, const struct gw_buf *name);

/* GET /channels/NAME/series[?field=F][&from=T][&to=T][&points=N]. Thread: the worker's. */
void gw_api_series(struct gw_conn *conn, const struct gw_request *request, const struct gw_buf *name);

/* /grafana and what is below it. Thread: the worker's. */
void gw_api_grafana(struct gw_conn *conn, const struct gw_request *request);

/* GET /channels/NAME/raw[?v=TAG]. Thread: the worker's. */
void gw_api_payload(struct gw_conn *conn, const struct gw_request *request, const struct gw_buf *name);

/* POST /channels/NAME[?as=json][&reply=5s]. Thread: the worker's. */
void gw_api_post(struct gw_conn *conn, const struct gw_request *request, const struct gw_buf *name);

/* GET /explain. */
void gw_api_explain(struct gw_conn *conn, const struct gw_request *request);

#endif
