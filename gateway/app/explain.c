/* explain.c: `sluice explain`. */
#include "app/cli.h"
#include "app/verdict.h"
#include "route/routes.h"

int gw_cli_explain(const struct gw_cli *cli)
{
    if (!cli->topic && !cli->channel && !cli->as)
        return gw_cli_usage(NULL, "--topic TOPIC, --channel CHANNEL or --as TOKEN is expected after explain", NULL);
    struct gw_config *config = gw_cli_load(cli->file, false);
    if (!config)
        return 2;
    struct gw_routes *routes = gw_routes_build(config);
    struct gw_buf text = {0}, problem = {0};
    int status = 0;
    if (cli->topic && !gw_routes_explain_topic(routes, cli->topic, &text))
        status = 1;
    if (cli->channel && !gw_routes_explain_channel(routes, cli->channel, &text))
        status = 1;
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
