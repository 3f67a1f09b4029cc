/* explain.c: `sluice explain`. */
#include <string.h>

#include "app/cli.h"
#include "app/verdict.h"
#include "gateway/transport.h"
#include "route/routes.h"

struct explanation {
    const struct gw_config *config;
    struct gw_buf *out;
};

/* What transports add to the routes' part. */
static void explain_clients(const struct explanation *explanation, const char *channel, size_t len)
{
    for (size_t i = 0; gw_transports[i]; i++) {
        if (gw_transports[i]->explain && gw_transport_on(gw_transports[i], explanation->config))
            gw_transports[i]->explain(explanation->config, channel, len, explanation->out);
    }
}

static void explain_routed(void *context, const struct gw_routed *routed)
{
    const struct explanation *explanation = context;
    struct gw_buf lines = {0};
    if (routed->channel)
        explain_clients(&(struct explanation){explanation->config, &lines}, routed->channel, routed->channel_len);
    if (lines.len)
        gw_buf_printf(explanation->out, "channel '%.*s'\n%s", (int)routed->channel_len, routed->channel, lines.data);
    gw_buf_fini(&lines);
}

int gw_cli_explain(const struct gw_cli *cli)
{
    if (!cli->topic && !cli->channel && !cli->as)
        return gw_cli_usage(cli->command, "--topic TOPIC, --channel CHANNEL or --as TOKEN is expected after explain",
                            NULL);
    struct gw_config *config = gw_cli_load(cli->file, false);
    if (!config)
        return 2;
    struct gw_routes *routes = gw_routes_build(config);
    struct gw_buf text = {0}, problem = {0};
    int status = 0;
    struct explanation explanation = {config, &text};
    if (cli->topic && !gw_routes_explain_topic(routes, cli->topic, &text))
        status = 1;
    else if (cli->topic)
        gw_routes_match(routes, cli->topic, strlen(cli->topic), explain_routed, &explanation);
    if (cli->channel && !gw_routes_explain_channel(routes, cli->channel, &text))
        status = 1;
    else if (cli->channel)
        explain_clients(&explanation, cli->channel, strlen(cli->channel));
    if (cli->as) {
        int verdict = gw_verdict(config, routes, cli->as, cli->topic, cli->channel, &text, &problem);
        status = verdict ? verdict : status;
    }
    if (text.len)
        fputs(text.data, stdout);
    if (problem.len)
        fprintf(stderr, "sluice: %s: %s\n", cli->file, problem.data);
    gw_buf_fini(&text);
    gw_buf_fini(&problem);
    gw_routes_unref(routes);
    gw_config_unref(config);
    return status;
}
