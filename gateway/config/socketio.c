/* socketio.c: `socketio:`: its path, and names that clients of Socket.IO can use. */
#include "config/socketio.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "config/fields.h"

bool gw_socketio_event_reserved(const char *name, size_t len)
{
    static const char *const reserved[] = {"connect",       "connect_error", "disconnect",
                                           "disconnecting", "newListener",   "removeListener"};
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++) {
        if (strlen(reserved[i]) == len && !memcmp(reserved[i], name, len))
            return true;
    }
    return false;
}

/* The first level of paths that have another meaning. */
static bool socketio_path_taken(const char *path)
{
    static const char *const taken[] = {"ws",      "sse",    "poll",    "channels", "explain",
                                        "healthz", "readyz", "metrics", "ticket"};
    size_t len = strcspn(path + 1, "/");
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        if (strlen(taken[i]) == len && !memcmp(taken[i], path + 1, len))
            return true;
    }
    return !len;
}

static void socketio_check_path(struct gw_cfg_socketio *socketio, const struct gw_node *node,
                                struct gw_problems *problems)
{
    size_t len = strlen(socketio->path);
    if (socketio->path[0] != '/' || strpbrk(socketio->path, " ?#%") || socketio_path_taken(socketio->path)) {
        gw_problem_add(problems, node->line, node->column,
                       "socketio.path: '%s' can't be used (a path of its own such as /socket.io/ expected)",
                       socketio->path);
        return;
    }
    if (socketio->path[len - 1] == '/')
        return;
    char *whole = gw_malloc(len + 2);
    memcpy(whole, socketio->path, len);
    memcpy(whole + len, "/", 2);
    free(socketio->path);
    socketio->path = whole;
}

static void socketio_check_event(const struct gw_node *events, const char *key, const char *name,
                                 struct gw_problems *problems)
{
    const struct gw_node *node = gw_node_get(events, key);
    if (node && name && (!*name || gw_socketio_event_reserved(name, strlen(name))))
        gw_problem_add(problems, node->line, node->column,
                       "socketio.events.%s: '%s' can't be used (a name that is not an event of the client library "
                       "itself, such as connect, expected)",
                       key, name);
}

static void socketio_check_events(const struct gw_cfg_socketio *socketio, const struct gw_node *events,
                                  struct gw_problems *problems)
{
    static const char *const keys[] = {"subscribe", "unsubscribe", "publish"};
    const char *names[] = {socketio->events.subscribe, socketio->events.unsubscribe, socketio->events.publish};
    socketio_check_event(events, "message", socketio->events.message, problems);
    for (size_t i = 0; i < 3; i++) {
        socketio_check_event(events, keys[i], names[i], problems);
        const struct gw_node *node = gw_node_get(events, keys[i]);
        for (size_t j = 0; j < i && node && names[i]; j++) {
            if (names[j] && !strcmp(names[i], names[j]))
                gw_problem_add(problems, node->line, node->column,
                               "socketio.events.%s: '%s' is the name of %s, too (another name expected)", keys[i],
                               names[i], keys[j]);
        }
        for (size_t j = 0; j < 3 && node && names[i]; j++) {
            if (j != i && !strcmp(names[i], keys[j]))
                gw_problem_add(problems, node->line, node->column,
                               "socketio.events.%s: '%s' is always the name of %s (another name expected)", keys[i],
                               names[i], keys[j]);
        }
    }
}

static void socketio_check_members(const struct gw_cfg_socketio *socketio, const struct gw_node *members,
                                   struct gw_problems *problems)
{
    const char *channel = socketio->members.channel, *data = socketio->members.data;
    if (members && channel && data && !strcmp(channel, data))
        gw_problem_add(problems, members->line, members->column,
                       "socketio.members: channel and data are both '%s' (two names expected)", data);
    if (members && socketio->preset == GW_SOCKETIO_TOPIC)
        gw_problem_add(problems, members->line, members->column,
                       "socketio.members: it has no effect with preset topic (another preset expected)");
}

static void socketio_check_namespaces(const struct gw_cfg_socketio *socketio, const struct gw_node *node,
                                      struct gw_problems *problems)
{
    for (size_t i = 0; node && i < socketio->namespaces.count; i++) {
        const char *name = socketio->namespaces.items[i];
        if (name[0] != '/' || !name[1] || strpbrk(name, ",?"))
            gw_problem_add(problems, node->line, node->column,
                           "socketio.namespaces: '%s' can't be used (a name such as /custom expected; / is always "
                           "there)",
                           name);
    }
}

void gw_socketio_read(struct gw_config *config, const struct gw_node *node, struct gw_problems *problems)
{
    struct gw_cfg_socketio *socketio = &config->socketio;
    bool is_bool = node && gw_node_is_bool(node);
    socketio->enabled = node && !(is_bool && !strcmp(node->text, "false"));
    if (!node || is_bool || node->kind != GW_NODE_MAP)
        return;
    const struct gw_node *path = gw_node_get(node, "path");
    if (socketio->path)
        socketio_check_path(socketio, path ? path : node, problems);
    socketio_check_events(socketio, gw_node_get(node, "events"), problems);
    socketio_check_members(socketio, gw_node_get(node, "members"), problems);
    socketio_check_namespaces(socketio, gw_node_get(node, "namespaces"), problems);
}
