#include "app/verdict.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "gateway/auth.h"
#include "gateway/clock.h"
#include "gateway/topic.h"

static const char *const verdict_rights[GW_RIGHTS] = {"subscribe", "publish", "history"};

struct search {
    enum gw_right right;
    const char *channel;
    size_t len;
    const char *found; /* the grant that contains it */
    bool projected;
};

static void search_grant(void *context, enum gw_right right, const char *filter, bool projected)
{
    struct search *search = context;
    if (right == search->right && gw_topic_filter_covers(filter, strlen(filter), search->channel, search->len) &&
        (!search->found || (search->projected && !projected))) {
        search->found = filter;
        search->projected = projected;
    }
}

struct verdict {
    const struct gw_routes *routes;
    const struct gw_grants *grants;
    struct gw_buf *out;
};

static void verdict_channel(const struct verdict *verdict, const char *channel, size_t len)
{
    struct gw_buf *out = verdict->out;
    gw_buf_printf(out, "channel '%.*s'\n", (int)len, channel);
    for (enum gw_right right = 0; right < GW_RIGHTS; right++) {
        struct search search = {right, channel, len, NULL, false};
        gw_grants_list(verdict->grants, search_grant, &search);
        gw_buf_printf(out, "  %-9s ", verdict_rights[right]);
        if (!search.found)
            gw_buf_adds(out, "refused: no grant contains it\n");
        else
            gw_buf_printf(out, "allowed by '%s'%s\n", search.found, search.projected ? ", some fields only" : "");
    }
    if (!gw_routes_channel_possible(verdict->routes, channel, len))
        gw_buf_adds(out, "  but no route leads to this channel\n");
}

static void verdict_visit(void *context, const struct gw_routed *routed)
{
    if (routed->channel) /* what a transform makes depends on the payload */
        verdict_channel(context, routed->channel, routed->channel_len);
}

static void verdict_list(void *context, enum gw_right right, const char *filter, bool projected)
{
    gw_buf_printf(context, "  %-9s %s%s\n", verdict_rights[right], filter, projected ? " (some fields only)" : "");
}

static void verdict_who(const struct gw_identity *identity, struct gw_buf *out)
{
    static const char *const kinds[] = {
        [GW_ANONYMOUS] = "no credentials", [GW_API_KEY] = "API key", [GW_TOKEN] = "token"};
    gw_buf_printf(out, "as '%s' (%s", identity->name, kinds[identity->kind]);
    if (identity->expires_ms != INT64_MAX) {
        time_t seconds = (time_t)(identity->expires_ms / 1000);
        char text[32];
        struct tm parts;
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &parts));
        gw_buf_printf(out, ", until %s", text);
    }
    gw_buf_adds(out, ")\n");
}

static struct gw_identity *verdict_identify(struct gw_auth *auth, const char *token, struct gw_buf *problem)
{
    struct gw_identity *identity = NULL;
    const char *why = "nobody is let in without credentials (auth.anonymous expected)";
    char line[16384];
    if (!strcmp(token, "-")) {
        if (!fgets(line, sizeof line, stdin))
            line[0] = '\0';
        line[strcspn(line, "\r\n")] = '\0';
        token = line;
    }
    enum gw_err err = GW_ERR_UNAUTHORIZED;
    if (!strcmp(token, "anonymous")) {
        identity = gw_auth_anonymous(auth);
        err = identity ? GW_OK : err;
    } else {
        err = gw_auth_token(auth, token, strlen(token), gw_wall_ms(), &identity, &why);
    }
    if (err != GW_OK)
        gw_buf_printf(problem, "%s: %s", gw_err_code(err), why);
    return identity;
}

int gw_verdict(struct gw_config *config, const struct gw_routes *routes, const char *token, const char *topic,
               const char *channel, struct gw_buf *out, struct gw_buf *problem)
{
    struct gw_auth *auth;
    if (gw_auth_create(config, NULL, &auth, problem) != GW_OK)
        return 2;
    if (!auth) {
        gw_buf_adds(problem, "the configuration has no auth: (everybody may do everything that routes allow)");
        return 2;
    }
    if (!gw_auth_start(auth, problem)) {
        gw_auth_unref(auth);
        return 2;
    }
    gw_auth_wait(auth, 6000);
    struct gw_identity *identity = verdict_identify(auth, token, problem);
    if (identity) {
        const struct verdict verdict = {routes, identity->grants, out};
        verdict_who(identity, out);
        if (channel)
            verdict_channel(&verdict, channel, strlen(channel));
        if (topic)
            gw_routes_match(routes, topic, strlen(topic), verdict_visit, (void *)(uintptr_t)&verdict);
        if (!channel && !topic)
            gw_grants_list(identity->grants, verdict_list, out);
    }
    int status = identity ? 0 : 2;
    gw_identity_unref(identity);
    gw_auth_unref(auth);
    return status;
}
