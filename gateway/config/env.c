/* env.c: ${VAR} and ${VAR:-default} in scalar values. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "config/tree.h"

static bool env_name_char(char c, bool first)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || (!first && c >= '0' && c <= '9');
}

/* `at` is behind "${". Returns how much of it was used, 0 after a problem. */
static size_t env_variable(const struct gw_node *node, const char *at, struct gw_buf *out,
                           struct gw_problems *problems)
{
    const char *close = strchr(at, '}');
    if (!close) {
        gw_problem_add(problems, node->line, node->column,
                       "'${' without '}' (${VAR} or ${VAR:-default}; $${ for a plain ${)");
        return 0;
    }
    size_t name_len = 0;
    while (at + name_len < close && env_name_char(at[name_len], name_len == 0))
        name_len++;
    const char *rest = at + name_len;
    bool has_default = rest + 1 < close && rest[0] == ':' && rest[1] == '-';
    if (!name_len || (rest != close && !has_default)) {
        gw_problem_add(problems, node->line, node->column,
                       "'${%.*s}' is no variable (${VAR} or ${VAR:-default} expected)", (int)(close - at), at);
        return 0;
    }
    struct gw_buf name = {0};
    gw_buf_add(&name, at, name_len);
    const char *value = getenv(name.data);
    if (has_default && (!value || !*value))
        gw_buf_add(out, rest + 2, (size_t)(close - rest - 2));
    else if (value)
        gw_buf_adds(out, value);
    else
        gw_problem_add(problems, node->line, node->column,
                       "the environment has no variable %s (set it, or write ${%s:-default}%s)", name.data, name.data,
                       islower((unsigned char)name.data[0]) ? "; a capture has no $" : "");
    gw_buf_fini(&name);
    return (size_t)(close + 1 - at);
}

static void env_expand(struct gw_node *node, struct gw_problems *problems)
{
    if (!strstr(node->text, "${"))
        return;
    struct gw_buf out = {0};
    gw_buf_reserve(&out, 0)[0] = '\0';
    for (const char *at = node->text; *at;) {
        if (!strncmp(at, "$${", 3)) {
            gw_buf_adds(&out, "${");
            at += 3;
        } else if (!strncmp(at, "${", 2)) {
            size_t used = env_variable(node, at + 2, &out, problems);
            at += used ? used + 2 : 2;
        } else {
            gw_buf_addc(&out, *at++);
        }
    }
    free(node->text);
    node->len = out.len;
    node->text = gw_buf_take(&out);
}

void gw_tree_expand(struct gw_tree *tree, struct gw_problems *problems)
{
    /* Values only: keys are for the reader of the file. */
    for (struct gw_node *node = tree->all; node; node = node->all_next) {
        for (size_t i = 0; i < node->count; i++) {
            if (node->items[i]->kind == GW_NODE_SCALAR)
                env_expand(node->items[i], problems);
        }
    }
}
