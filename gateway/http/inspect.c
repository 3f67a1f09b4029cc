/* inspect.c: GET /explain: which routes lead to a channel, and which there are. */
#include <string.h>

#include "gateway/identity.h"
#include "gateway/protocol.h"
#include "gateway/topic.h"
#include "gateway/transport.h"
#include "http/api.h"
#include "http/conn.h"
#include "route/routes.h"

#define INSPECT_ROUTES 100 /* are listed */

/* Routes tell of topics, and of channels that one may not see: they are for those who may see every channel. */
static bool inspect_allowed(struct gw_conn *conn)
{
    if (!conn->identity || gw_grants_contain(conn->identity->grants, GW_RIGHT_SUBSCRIBE, "#", 1))
        return true;
    GW_STAT_ADD(gw_hub_stats(gw_conn_hub(conn)), forbidden, 1);
    gw_http_error(conn, GW_ERR_FORBIDDEN, "routes are shown to those who may read every channel (#)");
    return false;
}

static void inspect_channel(const struct gw_hub *hub, const struct gw_buf *channel, struct gw_buf *body)
{
    struct gw_buf text = {0};
    gw_routes_explain_channel(gw_hub_routes(hub), channel->data, &text);
    gw_buf_adds(body, "\"channel\":");
    gw_buf_add_json_string(body, channel->data, channel->len);
    gw_buf_adds(body, ",\"text\":");
    gw_buf_add_json_string(body, text.data, text.len);
    gw_buf_fini(&text);
}

void gw_api_explain(struct gw_conn *conn, const struct gw_request *request)
{
    if (!inspect_allowed(conn))
        return;
    const struct gw_hub *hub = gw_conn_hub(conn);
    struct gw_params params = {.query = request->query};
    struct gw_buf channel = {0};
    bool given = false;
    while (gw_params_next(&params)) {
        if (strcmp(params.key.data, "channel") != 0)
            continue;
        given = true;
        gw_buf_clear(&channel);
        gw_buf_add(&channel, params.value.data, params.value.len);
    }
    gw_params_end(&params, NULL);
    if (params.bad || (given && !gw_topic_name_valid(channel.data, channel.len))) {
        gw_http_error(conn, GW_ERR_BAD_REQUEST, "channel is the name of a channel (such as rooms/kitchen/t)");
    } else {
        struct gw_buf body = {0};
        gw_buf_addc(&body, '{');
        if (given) {
            inspect_channel(hub, &channel, &body);
        } else {
            const char *url = gw_hub_config(hub)->broker.url;
            gw_buf_adds(&body, "\"broker\":");
            gw_buf_add_json_string(&body, url, strlen(url));
        }
        gw_buf_adds(&body, ",\"routes\":");
        gw_routes_describe(gw_hub_routes(hub), given ? channel.data : NULL, channel.len, INSPECT_ROUTES, &body);
        gw_buf_addc(&body, '}');
        gw_http_reply(conn, 200, NULL, "application/json", body.data, body.len);
        gw_buf_fini(&body);
    }
    gw_buf_fini(&channel);
}
