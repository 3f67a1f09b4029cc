/* token.c: `sluice token`: a JWT for trying, which this configuration takes. */
#include <stdio.h>
#include <string.h>

#include "app/cli.h"
#include "auth/sign.h"
#include "base/units.h"
#include "gateway/auth.h"
#include "gateway/clock.h"

#define DEFAULT_MS 3600000 /* 1 h */

/* What was made is shown to the same code that will see it in the gateway: a token that is refused there, for
 * whatever reason, is not printed. */
static bool token_try(struct gw_config *config, const struct gw_buf *token, int64_t now_ms, struct gw_buf *problem)
{
    struct gw_auth *auth;
    struct gw_identity *identity = NULL;
    const char *why = "";
    if (gw_auth_create(config, NULL, &auth, problem) != GW_OK)
        return false;
    bool good = gw_auth_token(auth, token->data, token->len, now_ms, &identity, &why) == GW_OK;
    if (!good)
        gw_buf_printf(problem, "the gateway would refuse the token: %s", why);
    gw_identity_unref(identity);
    gw_auth_unref(auth);
    return good;
}

int gw_cli_token(const struct gw_cli *cli)
{
    int64_t lifetime_ms = DEFAULT_MS;
    if (!cli->subject)
        return gw_cli_usage(cli->command, "--subject NAME is expected after token", NULL);
    if (cli->expires && (!gw_parse_duration(cli->expires, &lifetime_ms) || lifetime_ms < 1000))
        return gw_cli_usage(cli->command, "--expires: a duration such as 15m or 1h, of at least 1s, is expected, not",
                            cli->expires);
    struct gw_config *config = gw_cli_load(cli->file, false);
    if (!config)
        return 2;
    int64_t now_ms = gw_wall_ms();
    const struct gw_sign sign = {.subject = cli->subject,
                                 .roles = cli->roles.items,
                                 .role_count = cli->roles.count,
                                 .claims = cli->claims.items,
                                 .claim_count = cli->claims.count,
                                 .now_ms = now_ms,
                                 .expires_ms = now_ms + lifetime_ms};
    struct gw_buf token = {0}, problem = {0};
    bool good = gw_sign_token(config, &sign, &token, &problem) && token_try(config, &token, now_ms, &problem);
    if (good)
        puts(token.data);
    else
        fprintf(stderr, "sluice: %s: %s\n", cli->file, problem.data);
    gw_buf_fini(&token);
    gw_buf_fini(&problem);
    gw_config_unref(config);
    return good ? 0 : 2;
}
