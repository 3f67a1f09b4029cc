#include "config/access.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/fields.h"
#include "config/origin.h"
#include "gateway/alloc.h"
#include "gateway/topic.h"

void gw_access_free(struct gw_config *config)
{
    for (size_t i = 0; i < config->role_count; i++) {
        gw_fields_free(gw_fields_role, &config->roles[i]);
        free(config->roles[i].name);
    }
    free(config->roles);
    for (size_t i = 0; i < config->auth.api_key_count; i++)
        gw_fields_free(gw_fields_api_key, &config->auth.api_keys[i]);
    free(config->auth.api_keys);
}

/* Item i of a list of texts, or the one text. */
static const struct gw_node *access_item(const struct gw_node *node, size_t i)
{
    return node->kind == GW_NODE_LIST && i < node->count ? node->items[i] : node;
}

/* --- roles ----------------------------------------------------------------------------------------------------- */

/* A filter with `x` for each {claims.NAME} must be a filter. */
static bool access_grant_valid(const char *text)
{
    struct gw_buf filled = {0};
    bool good = true;
    for (const char *at = text; *at && good;) {
        if (!strncmp(at, "{claims.", 8)) {
            const char *close = strchr(at, '}');
            good = close && close > at + 8 && !memchr(at + 8, '/', (size_t)(close - at - 8));
            gw_buf_addc(&filled, 'x');
            at = close ? close + 1 : at;
        } else {
            good = *at != '{' && *at != '}';
            gw_buf_addc(&filled, *at++);
        }
    }
    good = good && gw_topic_filter_valid(filled.data ? filled.data : "", filled.len);
    gw_buf_fini(&filled);
    return good;
}

static void access_check_grants(const struct gw_strings *grants, const struct gw_node *map, const char *path,
                                const char *key, struct gw_problems *problems)
{
    const struct gw_node *list = gw_node_get(map, key);
    for (size_t i = 0; list && i < grants->count; i++) {
        const struct gw_node *node = access_item(list, i);
        if (!access_grant_valid(grants->items[i]))
            gw_problem_add(problems, node->line, node->column,
                           "%s.%s: '%s' is no channel filter (such as rooms/+/t or plants/{claims.site}/# expected)",
                           path, key, grants->items[i]);
    }
}

static void access_read_roles(struct gw_config *config, const struct gw_node *map, struct gw_problems *problems)
{
    if (!map)
        return;
    if (map->kind != GW_NODE_MAP) {
        gw_problem_add(problems, map->line, map->column, "roles: not a mapping (NAME: { subscribe: … } expected)");
        return;
    }
    config->roles = gw_calloc(map->count ? map->count : 1, sizeof *config->roles);
    for (size_t i = 0; i < map->count; i++) {
        const struct gw_node *item = map->items[i];
        struct gw_cfg_role *role = &config->roles[config->role_count++];
        char path[128];
        snprintf(path, sizeof path, "roles.%.100s", map->keys[i]->text);
        role->name = gw_strdup(map->keys[i]->text);
        if (item->kind != GW_NODE_MAP) {
            gw_problem_add(problems, item->line, item->column,
                           "%s: not a mapping (subscribe, publish, history or fields expected)", path);
            continue;
        }
        gw_fields_read(gw_fields_role, item, path, role, problems);
        role->has_history = gw_node_get(item, "history") != NULL;
        access_check_grants(&role->subscribe, item, path, "subscribe", problems);
        access_check_grants(&role->publish, item, path, "publish", problems);
        access_check_grants(&role->history, item, path, "history", problems);
    }
}

static void access_check_roles(const struct gw_config *config, const struct gw_strings *names,
                               const struct gw_node *list, const char *path, struct gw_problems *problems)
{
    for (size_t i = 0; list && i < names->count; i++) {
        bool known = false;
        for (size_t j = 0; j < config->role_count; j++)
            known |= !strcmp(config->roles[j].name, names->items[i]);
        const struct gw_node *node = access_item(list, i);
        if (!known)
            gw_problem_add(problems, node->line, node->column,
                           "%s: there is no role '%s' (a name under roles: expected)", path, names->items[i]);
    }
}

/* --- auth ------------------------------------------------------------------------------------------------------ */

static const char *const access_algorithms[] = {"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256",
                                                "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"};

static void access_check_jwt(struct gw_config *config, const struct gw_node *jwt, struct gw_problems *problems)
{
    const struct gw_cfg_jwt *cfg = &config->auth.jwt;
    if (!cfg->key_file && !cfg->secret_file && !cfg->jwks_file && !cfg->jwks_url)
        gw_problem_add(problems, jwt->line, jwt->column,
                       "auth.jwt: there is no key (key_file, secret_file, jwks_file or jwks_url expected)");
    const struct gw_node *audience = gw_node_get(jwt, "audience");
    if (!gw_node_get(jwt, "issuer"))
        gw_warning_add(
            problems, jwt->line, jwt->column,
            "auth.jwt.issuer: it is missing, so a token of any issuer is taken whose signature fits a key");
    if (!audience || (audience->kind == GW_NODE_LIST && !audience->count))
        gw_warning_add(problems, audience ? audience->line : jwt->line, audience ? audience->column : jwt->column,
                       "auth.jwt.audience: it is %s, so a token that was made for another service is taken as well",
                       audience ? "empty" : "missing");
    const struct gw_node *url = gw_node_get(jwt, "jwks_url"), *algorithms = gw_node_get(jwt, "algorithms");
    static const char *const good[] = {"https://",     "http://127.0.0.1:", "http://127.0.0.1/",
                                       "http://[::1]", "http://localhost:", "http://localhost/"};
    bool allowed = false;
    for (size_t i = 0; url && cfg->jwks_url && i < sizeof good / sizeof *good; i++)
        allowed |= !strncmp(cfg->jwks_url, good[i], strlen(good[i]));
    if (url && cfg->jwks_url && !allowed)
        gw_problem_add(
            problems, url->line, url->column,
            "auth.jwt.jwks_url: keys must come over a trusted way (https://…, or http:// to loopback, expected)");
    for (size_t i = 0; algorithms && i < cfg->algorithms.count; i++) {
        bool known = false;
        for (size_t j = 0; j < sizeof access_algorithms / sizeof *access_algorithms; j++)
            known |= !strcmp(access_algorithms[j], cfg->algorithms.items[i]);
        const struct gw_node *node = access_item(algorithms, i);
        if (!known)
            gw_problem_add(problems, node->line, node->column,
                           "auth.jwt.algorithms: '%s' is no signature that can be taken (HS256, RS256, PS256, ES256, "
                           "their 384 and 512, or EdDSA expected)",
                           cfg->algorithms.items[i]);
    }
}

static bool access_hash_valid(const char *hash)
{
    return !strncmp(hash, "sha256:", 7) && strlen(hash) == 7 + 64 && strspn(hash + 7, "0123456789abcdef") == 64;
}

static void access_read_keys(struct gw_config *config, const struct gw_node *list, struct gw_problems *problems)
{
    if (!list)
        return;
    if (list->kind != GW_NODE_LIST) {
        gw_problem_add(problems, list->line, list->column, "auth.api_keys: not a list (- name: … expected)");
        return;
    }
    config->auth.api_keys = gw_calloc(list->count ? list->count : 1, sizeof *config->auth.api_keys);
    for (size_t i = 0; i < list->count; i++) {
        const struct gw_node *map = list->items[i];
        struct gw_cfg_api_key *key = &config->auth.api_keys[config->auth.api_key_count++];
        char path[48], roles[64];
        snprintf(path, sizeof path, "auth.api_keys[%zu]", i);
        snprintf(roles, sizeof roles, "%s.roles", path);
        if (map->kind != GW_NODE_MAP) {
            gw_problem_add(problems, map->line, map->column, "%s: not a mapping (name, hash and roles expected)",
                           path);
            continue;
        }
        gw_fields_read(gw_fields_api_key, map, path, key, problems);
        const struct gw_node *hash = gw_node_get(map, "hash");
        if (hash && key->hash && !access_hash_valid(key->hash))
            gw_problem_add(problems, hash->line, hash->column,
                           "%s.hash: it is no hash of a key (sha256: and 64 hexadecimal digits, as sluice apikey "
                           "prints it, expected)",
                           path);
        access_check_roles(config, &key->roles, gw_node_get(map, "roles"), roles, problems);
    }
}

/* --- lists of the web side -------------------------------------------------------------------------------------- */

/* `self`: the gateway's own pages, where that has a meaning. */
static void access_check_origins(const struct gw_strings *list, const struct gw_node *node, const char *path,
                                 bool self, struct gw_problems *problems)
{
    for (size_t i = 0; node && i < list->count; i++) {
        const struct gw_node *item = access_item(node, i);
        const char *text = list->items[i];
        struct gw_buf hint = {0};
        bool framed = !self || strcmp(text, "null") != 0; /* no page can be told by that */
        if (self && !strcmp(text, "self"))
            continue;
        if (framed && gw_origin_valid(text, &hint))
            continue;
        if (hint.len && framed)
            gw_problem_add(problems, item->line, item->column, "%s: '%s' is no origin (%s expected)", path, text,
                           hint.data);
        else
            gw_problem_add(problems, item->line, item->column,
                           "%s: '%s' is no origin (such as https://dash.example, http://localhost:3000, "
                           "https://*.preview.example%s or * expected)",
                           path, text, self ? ", self" : ", capacitor://localhost");
        gw_buf_fini(&hint);
    }
}

/* Ends up as NULL or `/prefix`. */
static void access_check_base(struct gw_config *config, const struct gw_node *node, struct gw_problems *problems)
{
    char *path = config->web.base_path;
    if (!path || !node)
        return;
    size_t len = strlen(path);
    while (len && path[len - 1] == '/')
        path[--len] = '\0';
    if (!len && node->text[0] == '/') {
        free(path);
        config->web.base_path = NULL;
        return;
    }
    bool good = path[0] == '/' && !strstr(path, "//") && !strstr(path, "/.") &&
                !path[strspn(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~/")];
    if (!good)
        gw_problem_add(problems, node->line, node->column,
                       "web.base_path: '%s' is no prefix of paths (such as /sluice, of letters, digits and -_.~ "
                       "expected)",
                       node->text);
}

const struct gw_cfg_listen *gw_access_open_to_all(const struct gw_config *config)
{
    for (size_t i = 0; i < config->listen_count && !config->auth.enabled; i++) {
        const char *host = config->listen[i].host;
        if (host && (!strcmp(host, "0.0.0.0") || !strcmp(host, "::")))
            return &config->listen[i];
    }
    return NULL;
}

/* Without a port, since what counts is who resolves the name. */
static bool access_host_valid(const char *name)
{
    return *name && !name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")];
}

static bool access_network_valid(const char *text)
{
    unsigned char binary[16];
    char address[64];
    size_t len = strcspn(text, "/");
    if (!strcmp(text, "unix"))
        return true;
    if (len >= sizeof address)
        return false;
    memcpy(address, text, len);
    address[len] = '\0';
    bool v4 = inet_pton(AF_INET, address, binary) == 1;
    if (!v4 && inet_pton(AF_INET6, address, binary) != 1)
        return false;
    if (!text[len])
        return true;
    const char *bits = text + len + 1;
    return *bits && strspn(bits, "0123456789") == strlen(bits) && strlen(bits) <= 3 && atoi(bits) <= (v4 ? 32 : 128);
}

static void access_check_list(const struct gw_strings *list, const struct gw_node *node, bool (*valid)(const char *),
                              const char *path, const char *expected, struct gw_problems *problems)
{
    for (size_t i = 0; node && i < list->count; i++) {
        const struct gw_node *item = access_item(node, i);
        if (!valid(list->items[i]))
            gw_problem_add(problems, item->line, item->column, "%s: '%s' is none (%s expected)", path, list->items[i],
                           expected);
    }
}

void gw_access_read(struct gw_config *config, const struct gw_node *root, struct gw_problems *problems)
{
    const struct gw_node *auth = gw_node_get(root, "auth"), *web = gw_node_get(root, "web");
    access_read_roles(config, gw_node_get(root, "roles"), problems);
    if (auth && auth->kind == GW_NODE_MAP) {
        const struct gw_node *jwt = gw_node_get(auth, "jwt");
        config->auth.enabled = true;
        config->auth.has_jwt = jwt && jwt->kind == GW_NODE_MAP;
        if (config->auth.has_jwt)
            access_check_jwt(config, jwt, problems);
        access_read_keys(config, gw_node_get(auth, "api_keys"), problems);
        access_check_roles(config, &config->auth.anonymous, gw_node_get(auth, "anonymous"), "auth.anonymous",
                           problems);
        if (!config->auth.has_jwt && !config->auth.api_key_count && !config->auth.anonymous.count)
            gw_problem_add(problems, auth->line, auth->column,
                           "auth: nobody could come in (jwt, api_keys or anonymous expected)");
    } else if (auth) { /* never open by a slip: an empty block is no permission for everybody */
        gw_problem_add(problems, auth->line, auth->column, "auth: it is empty (jwt, api_keys or anonymous expected)");
    } else if (gw_node_get(root, "roles")) {
        const struct gw_node *roles = gw_node_get(root, "roles");
        gw_problem_add(problems, roles->line, roles->column,
                       "roles: they have no effect without auth: (auth: expected)");
    }
    access_check_origins(&config->web.origins, gw_node_get(web, "origins"), "web.origins", false, problems);
    access_check_origins(&config->web.frame_ancestors, gw_node_get(web, "frame_ancestors"), "web.frame_ancestors",
                         true, problems);
    access_check_base(config, gw_node_get(web, "base_path"), problems);
    access_check_list(&config->web.hosts, gw_node_get(web, "hosts"), access_host_valid, "web.hosts",
                      "a name such as dash.example, without scheme and port", problems);
    access_check_list(&config->web.trusted_proxies, gw_node_get(web, "trusted_proxies"), access_network_valid,
                      "web.trusted_proxies", "an address, a network such as 10.0.0.0/8, or unix", problems);
}
