/* Credentials of strangers. What is not signed with the secret is never let in; and whatever claims are signed, they
 * are filled into filters as one level at most. The first byte chooses: the rest is a token as it is; or header and
 * claims, with a line end in between, which are signed here. */
#include <gnutls/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/encode.h"
#include "base/base64.h"
#include "gateway/auth.h"
#include "gateway/random.h"
#include "gateway/topic.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW_MS INT64_C(1800000000000)

static struct gw_auth *auth;
static char secret[GW_BASE64URL_32];

static void start(void)
{
    static char plants[] = "plants/{claims.site}/#", nested[] = "{claims.a.b}/x/{claims.site}", rooms[] = "rooms/+",
                viewer[] = "viewer", claim[] = "roles";
    static char *subscribe[] = {plants, nested, rooms}, *anonymous[] = {viewer};
    static struct gw_cfg_role roles[] = {{.name = viewer, .subscribe = {subscribe, 3}}};
    static struct gw_config config = {.refs = 1, .roles = roles, .role_count = 1};
    char file[] = "/tmp/sluice-fuzz-XXXXXX";
    uint8_t bytes[32];
    struct gw_buf problem = {0};
    gw_random(bytes, sizeof bytes);
    gw_base64url_32(bytes, secret);
    int fd = mkstemp(file);
    if (fd < 0 || write(fd, secret, strlen(secret)) != (ssize_t)strlen(secret))
        abort();
    close(fd);
    config.auth = (struct gw_cfg_auth){.enabled = true,
                                       .has_jwt = true,
                                       .anonymous = {anonymous, 1},
                                       .jwt = {.secret_file = file, .leeway_ms = 10000, .roles_claim = claim}};
    if (gw_auth_create(&config, NULL, &auth, &problem) != GW_OK)
        abort();
    config.auth.jwt.secret_file = NULL;
    unlink(file);
    gw_buf_fini(&problem);
}

static void add_base64url(struct gw_buf *out, const void *data, size_t len)
{
    size_t from = out->len;
    gw_base64_encode(out, data, len);
    while (out->len > from && out->data[out->len - 1] == '=')
        out->data[--out->len] = '\0';
    for (size_t i = from; i < out->len; i++)
        out->data[i] = out->data[i] == '+' ? '-' : out->data[i] == '/' ? '_' : out->data[i];
}

/* `plants/X/#`, `X/x/Y` or `rooms/+`, where X and Y are one level without a wildcard. */
static void check_grant(void *context, enum gw_right right, const char *filter, bool projected)
{
    (void)context;
    (void)projected;
    size_t len = strlen(filter), slashes = 0;
    for (size_t i = 0; i < len; i++)
        slashes += filter[i] == '/';
    if (!gw_topic_filter_valid(filter, len) || right == GW_RIGHT_PUBLISH)
        abort();
    if (!strcmp(filter, "rooms/+"))
        return;
    bool plants = !strncmp(filter, "plants/", 7) && len > 9 && !strcmp(filter + len - 2, "/#");
    if (slashes != 2 || filter[0] == '$' || memchr(filter, '#', len - (plants ? 1 : 0)) || strchr(filter, '+') ||
        (!plants && !strstr(filter, "/x/")))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gw_identity *identity;
    const char *why;
    if (!auth)
        start();
    if (!size)
        return 0;
    const char *text = (const char *)data + 1;
    size_t len = size - 1;
    const char *line = memchr(text, '\n', len);
    if (!(data[0] & 1) || !line) {
        if (gw_auth_token(auth, text, len, NOW_MS, &identity, &why) == GW_OK || identity || !why)
            abort();
        return 0;
    }
    struct gw_buf token = {0};
    uint8_t mac[32];
    add_base64url(&token, text, (size_t)(line - text));
    gw_buf_addc(&token, '.');
    add_base64url(&token, line + 1, len - (size_t)(line + 1 - text));
    gnutls_hmac_fast(GNUTLS_MAC_SHA256, secret, strlen(secret), token.data, token.len, mac);
    gw_buf_addc(&token, '.');
    add_base64url(&token, mac, sizeof mac);
    if (gw_auth_token(auth, token.data, token.len, NOW_MS, &identity, &why) == GW_OK) {
        gw_grants_list(identity->grants, check_grant, NULL);
        if (identity->expires_ms <= NOW_MS)
            abort();
        struct gw_identity *again = gw_auth_again(auth, identity);
        if (!again || again->grants != identity->grants)
            abort();
        gw_identity_unref(again);
        gw_identity_unref(identity);
    } else if (identity || !why) {
        abort();
    }
    gw_buf_fini(&token);
    return 0;
}
