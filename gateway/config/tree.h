/* tree.h: a YAML file as a tree of nodes that know where they stand. Only tree.c knows libyaml. Thread: any. */
#ifndef GW_CONFIG_TREE_H
#define GW_CONFIG_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "gateway/buf.h"

enum gw_node_kind { GW_NODE_SCALAR, GW_NODE_MAP, GW_NODE_LIST };

struct gw_node {
    enum gw_node_kind kind;
    int line, column; /* 1-based */
    char *text;       /* scalar */
    size_t len;
    bool quoted;                    /* a quoted 5 is a string, a plain one a number */
    bool comment;                   /* it is empty, and a comment follows */
    bool cut;                       /* ` #text` follows: a comment, or meant to be a part of it */
    struct gw_node **keys, **items; /* a map has both, a list items only */
    size_t count, allocated;
    struct gw_node *all_next; /* every node of the tree, for freeing */
};

struct gw_problem {
    int line, column;
    char *text;   /* "path: what (expected)" */
    bool warning; /* the file is taken all the same */
};

/* What is wrong with one file, collected so that one run reports all of it. */
struct gw_problems {
    const char *file;
    struct gw_problem *items;
    size_t count, allocated;
    size_t errors; /* those that are no warnings */
};

void gw_problem_add(struct gw_problems *problems, int line, int column, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* What may well be meant, but has let many in who should not have been. */
void gw_warning_add(struct gw_problems *problems, int line, int column, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* One line each, `file:line:column: …` or `file:line:column: warning: …`, in the order of the file. */
void gw_problems_print(const struct gw_problems *problems, struct gw_buf *out);
void gw_problems_fini(struct gw_problems *problems);

struct gw_tree {
    struct gw_node *root; /* NULL if the file could not be read or parsed */
    struct gw_node *all;
    size_t count;
};

/* Reads the file. Whatever is wrong goes to problems; the tree may still be usable. */
void gw_tree_load(struct gw_tree *tree, const char *file, struct gw_problems *problems);
/* The same from memory. */
void gw_tree_parse(struct gw_tree *tree, const char *text, size_t len, struct gw_problems *problems);
void gw_tree_free(struct gw_tree *tree);

/* The value of a key, NULL if it is not there. */
struct gw_node *gw_node_get(const struct gw_node *map, const char *key);

/* env.c: replaces ${VAR} and ${VAR:-default} in every scalar value by the environment; `$${` stands for `${`. After
 * parsing, so that a value can't bring in YAML. */
void gw_tree_expand(struct gw_tree *tree, struct gw_problems *problems);

#endif
