/* config.c: a file becomes a struct gw_config. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/access.h"
#include "config/check.h"
#include "config/fields.h"
#include "config/meant.h"
#include "config/options.h"
#include "config/pem.h"
#include "config/rollup.h"
#include "config/transform.h"
#include "config/values.h"
#include "gateway/alloc.h"
#include "gateway/random.h"
#include "gateway/series.h"
#include "gateway/topic.h"

struct gw_config *gw_config_ref(struct gw_config *config)
{
    atomic_fetch_add(&config->refs, 1);
    return config;
}

void gw_config_unref(struct gw_config *config)
{
    if (!config || atomic_fetch_sub(&config->refs, 1) != 1)
        return;
    gw_config_free_options(config);
    gw_fields_free(gw_fields_root, config);
    free(config->broker.host);
    for (size_t i = 0; i < config->listen_count; i++) {
        gw_fields_free(gw_fields_listen, &config->listen[i]);
        free(config->listen[i].host);
        free(config->listen[i].path);
        free(config->listen[i].cert_pem);
        gw_pem_free_key(config->listen[i].key_pem);
    }
    free(config->listen);
    for (size_t i = 0; i < config->route_count; i++) {
        gw_fields_free(gw_fields_route, &config->routes[i]);
        gw_route_free_transform(&config->routes[i]);
        gw_rollup_unref(config->routes[i].rollup);
    }
    free(config->routes);
    gw_access_free(config);
    free(config->file);
    free(config);
}

/* The first line of the file, without its end. */
static char *config_password(const struct gw_node *node, struct gw_problems *problems)
{
    char line[1024];
    FILE *file = fopen(node->text, "re");
    if (!file || !fgets(line, sizeof line, file)) {
        gw_problem_add(problems, node->line, node->column,
                       "broker.password_file: can't read '%s': %s (a readable file expected)", node->text,
                       file ? "it is empty" : strerror(errno));
        if (file)
            fclose(file);
        return NULL;
    }
    fclose(file);
    line[strcspn(line, "\r\n")] = '\0';
    return gw_strdup(line);
}

static char *config_default_client_id(void)
{
    char host[65] = "";
    uint32_t random;
    gethostname(host, sizeof host - 1);
    gw_random(&random, sizeof random);
    struct gw_buf id = {0};
    gw_buf_printf(&id, "sluice-%s-%08x", host, random);
    return gw_buf_take(&id);
}

static void config_read_broker(struct gw_config *config, const struct gw_node *map, struct gw_problems *problems)
{
    struct gw_cfg_broker *broker = &config->broker;
    const struct gw_node *url = gw_node_get(map, "url"), *file = gw_node_get(map, "password_file");
    const struct gw_node *password = gw_node_get(map, "password"), *tls = gw_node_get(map, "tls");
    const struct gw_node *expiry = gw_node_get(map, "session_expiry");
    if (broker->url && url) {
        const char *wrong = gw_parse_broker_url(broker->url, &broker->host, &broker->port, &broker->tls_enabled);
        if (wrong)
            gw_problem_add(problems, url->line, url->column, "broker.url: %s", wrong); /* it may hold a password */
    }
    if (file && password)
        gw_problem_add(problems, file->line, file->column,
                       "broker.password_file: there is a password as well (one of the two expected)");
    else if (broker->password_file && !access(broker->password_file, R_OK))
        broker->password = config_password(file, problems);
    if (broker->password && !broker->username) {
        const struct gw_node *at = file ? file : password;
        gw_problem_add(problems, at->line, at->column,
                       "broker.%s: a password without a user name (username expected)",
                       file ? "password_file" : "password");
    }
    if (tls && broker->host && !broker->tls_enabled)
        gw_problem_add(problems, tls->line, tls->column, "broker.tls: the URL is mqtt:// (mqtts:// expected)");
    if (tls && !broker->tls.cert_file != !broker->tls.key_file)
        gw_problem_add(problems, tls->line, tls->column,
                       "broker.tls: cert_file and key_file belong together (both or none expected)");
    if (broker->session_expiry_ms > 0 && !broker->client_id)
        gw_problem_add(problems, expiry->line, expiry->column,
                       "broker.session_expiry: the broker finds the session by its client_id (a client_id expected)");
    if (broker->reconnect_max_ms < broker->reconnect_min_ms) {
        const struct gw_node *at = gw_node_get(map, "reconnect");
        gw_problem_add(problems, at->line, at->column,
                       "broker.reconnect.max: it is below min (%lldms or more expected)",
                       (long long)broker->reconnect_min_ms);
    }
    if (broker->response_topic && !gw_topic_name_valid(broker->response_topic, strlen(broker->response_topic))) {
        const struct gw_node *at = gw_node_get(map, "response_topic");
        gw_problem_add(problems, at->line, at->column,
                       "broker.response_topic: '%s' is no topic name (without + and # expected)",
                       broker->response_topic);
    }
    if (!broker->client_id) {
        broker->client_id = config_default_client_id();
        broker->client_id_made = true;
    }
}

/* `unix:/path`: sun_path holds 107 bytes and the NUL. */
static void config_read_unix(struct gw_cfg_listen *listen_cfg, const struct gw_node *map, const char *path,
                             struct gw_problems *problems)
{
    const struct gw_node *at = gw_node_get(map, "address"), *mode = gw_node_get(map, "mode");
    const char *file = listen_cfg->address + 5;
    if (file[0] != '/' || strlen(file) > 107)
        gw_problem_add(problems, at->line, at->column,
                       "%s.address: '%s' is no path of a Unix socket (unix:/path of at most 107 bytes expected)",
                       path, listen_cfg->address);
    else
        listen_cfg->path = gw_strdup(file);
    size_t digits = listen_cfg->mode ? strspn(listen_cfg->mode, "01234567") : 0;
    if (mode && (digits < 3 || digits > 4 || listen_cfg->mode[digits]))
        gw_problem_add(problems, mode->line, mode->column,
                       "%s.mode: '%s' is no file mode (octal digits such as 0660 expected)", path, listen_cfg->mode);
}

static void config_read_listen(struct gw_config *config, const struct gw_node *list, struct gw_problems *problems)
{
    if (list && (list->kind != GW_NODE_LIST || !list->count)) {
        gw_meant_shape(gw_fields_find(gw_fields_root, "listen"), list, "listen", "a list", problems);
        return;
    }
    config->listen_count = list ? list->count : 1;
    config->listen = gw_calloc(config->listen_count, sizeof *config->listen);
    for (size_t i = 0; i < config->listen_count; i++) {
        struct gw_cfg_listen *listen_cfg = &config->listen[i];
        char path[40];
        snprintf(path, sizeof path, "listen[%zu]", i);
        const struct gw_node *map = list ? list->items[i] : NULL;
        if (map && map->kind != GW_NODE_MAP) {
            gw_meant_entry(map, path, "address", problems);
            continue;
        }
        gw_fields_read(gw_fields_listen, map, path, listen_cfg, problems);
        if (!map)
            listen_cfg->address = gw_strdup("0.0.0.0:8080");
        const struct gw_node *at = gw_node_get(map, "address");
        if (listen_cfg->address && !strncmp(listen_cfg->address, "unix:", 5))
            config_read_unix(listen_cfg, map, path, problems);
        else if (listen_cfg->address &&
                 !gw_parse_address(listen_cfg->address, &listen_cfg->host, &listen_cfg->port) && at)
            gw_problem_add(problems, at->line, at->column,
                           "%s.address: '%s' is no address (a numeric address and a port such as 0.0.0.0:8080 or "
                           "[::]:8080 expected)",
                           path, listen_cfg->address);
        else if (gw_node_get(map, "mode"))
            gw_problem_add(problems, gw_node_get(map, "mode")->line, gw_node_get(map, "mode")->column,
                           "%s.mode: it has no effect here (for unix:/path only)", path);
        if (gw_node_get(map, "tls"))
            gw_pem_read(listen_cfg, gw_node_get(map, "tls"), path, problems);
        for (size_t j = 0; j < i && at; j++) {
            const struct gw_cfg_listen *other = &config->listen[j];
            bool same_tcp = listen_cfg->host && listen_cfg->port && other->host && other->port == listen_cfg->port &&
                            !strcmp(other->host, listen_cfg->host);
            if (same_tcp || (listen_cfg->path && other->path && !strcmp(listen_cfg->path, other->path)))
                gw_problem_add(problems, at->line, at->column,
                               "%s.address: listen[%zu] has it already (each address once)", path, j);
        }
    }
}

static void config_read_routes(struct gw_config *config, const struct gw_node *list, struct gw_problems *problems)
{
    if (!list)
        return; /* told as missing */
    if (list->kind != GW_NODE_LIST || !list->count) {
        gw_meant_shape(gw_fields_find(gw_fields_root, "routes"), list, "routes", "a list", problems);
        return;
    }
    config->route_count = list->count;
    config->routes = gw_calloc(list->count, sizeof *config->routes);
    for (size_t i = 0; i < list->count; i++) {
        const struct gw_node *map = list->items[i];
        struct gw_cfg_route *route = &config->routes[i];
        char path[40];
        snprintf(path, sizeof path, "routes[%zu]", i);
        route->line = map->line;
        route->column = map->column;
        if (map->kind != GW_NODE_MAP) {
            gw_meant_entry(map, path, "topic", problems);
            continue;
        }
        gw_fields_read(gw_fields_route, map, path, route, problems);
        gw_route_read_rollup(route, map, path, problems);
        gw_route_read_transform(route, gw_node_get(map, "transform"), path, problems);
        const struct gw_node *publish = gw_node_get(map, "publish");
        route->publish = publish && !(gw_node_is_bool(publish) && !strcmp(publish->text, "false"));
        const struct gw_node *confirm = gw_node_get(publish, "confirm");
        route->confirm = route->publish && confirm && !(gw_node_is_bool(confirm) && !strcmp(confirm->text, "false"));
    }
    gw_check_routes(config, list, problems);
}

enum gw_err gw_config_load(const char *file, struct gw_config **out, struct gw_buf *text)
{
    struct gw_problems problems = {.file = file};
    struct gw_tree tree;
    struct gw_config *config = gw_calloc(1, sizeof *config);
    atomic_init(&config->refs, 1);
    config->file = gw_strdup(file);
    gw_tree_load(&tree, file, &problems);
    if (tree.root) {
        gw_tree_expand(&tree, &problems);
        gw_fields_read(gw_fields_root, tree.root, "", config, &problems);
        const struct gw_node *broker = gw_node_get(tree.root, "broker");
        if (broker && broker->kind == GW_NODE_MAP)
            config_read_broker(config, broker, &problems);
        config_read_listen(config, gw_node_get(tree.root, "listen"), &problems);
        config_read_routes(config, gw_node_get(tree.root, "routes"), &problems);
        gw_access_read(config, tree.root, &problems);
        gw_config_read_options(config, tree.root, &problems);
        gw_check_engine(config, tree.root, &problems);
        const struct gw_cfg_listen *open = problems.errors ? NULL : gw_access_open_to_all(config);
        if (open) {
            const struct gw_node *at = gw_node_get(tree.root, "listen");
            gw_warning_add(&problems, at ? at->line : 1, at ? at->column : 1,
                           "listen: %s is open to everybody who reaches this machine: there is no auth:, so they may "
                           "read and publish what the routes allow (auth:, or an address such as 127.0.0.1:8080, "
                           "expected)",
                           open->address);
        }
        if (config->web.poll_wait_ms > config->web.poll_wait_max_ms) /* the cap holds for the default as well */
            config->web.poll_wait_ms = config->web.poll_wait_max_ms;
    }
    gw_tree_free(&tree);
    bool good = problems.errors == 0;
    gw_problems_print(&problems, text);
    gw_problems_fini(&problems);
    if (!good) {
        gw_config_unref(config);
        config = NULL;
    }
    *out = config;
    return good ? GW_OK : GW_ERR_BAD_REQUEST;
}
