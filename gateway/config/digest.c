/* digest.c: one number for what gateways with one sequence must have in common. */
#include <string.h>

#include "config/options.h"
#include "gateway/codec.h"
#include "gateway/hash.h"
#include "gateway/transform.h"

static void digest_text(struct gw_buf *all, const char *text)
{
    gw_buf_adds(all, text ? text : "");
    gw_buf_add(all, "", 1);
}

/* What decides which messages there are, and in which channels. */
static void digest_route(struct gw_buf *all, const struct gw_cfg_route *route)
{
    digest_text(all, route->topic);
    digest_text(all, route->channel);
    for (size_t i = 0; i < route->except.count; i++)
        digest_text(all, route->except.items[i]);
    digest_text(all, route->codec->name);
    digest_text(all, route->content_type);
    digest_text(all, route->transform ? route->transform->name : NULL);
    digest_text(all, route->rate_pointer);
    digest_text(all, route->available_topic);
    gw_buf_printf(all, "%lld ", (long long)route->stale_ms);
    gw_buf_printf(all, "%d %g %u %zu %lld;", route->rate == GW_RATE_ON_CHANGE, route->rate_deadband,
                  route->history.count, route->history.bytes, (long long)route->history.age_ms);
}

uint64_t gw_config_digest(const struct gw_config *config)
{
    struct gw_buf all = {0};
    for (size_t i = 0; i < config->route_count; i++)
        digest_route(&all, &config->routes[i]);
    uint64_t digest = gw_hash(all.data ? all.data : "", all.len);
    gw_buf_fini(&all);
    return digest;
}
