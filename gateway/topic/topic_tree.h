/* topic_tree.h: a trie over topic levels that holds names and filters, so that both questions cost what the answer
 * costs and not what the tree holds: which filters match this name, and which names match this filter.
 *
 * Each distinct key has one value. Thread: the owner's. */
#ifndef GW_TOPIC_TOPIC_TREE_H
#define GW_TOPIC_TOPIC_TREE_H

#include <stdbool.h>
#include <stddef.h>

struct gw_topic_tree;

struct gw_topic_tree *gw_topic_tree_create(void);
/* Does not touch the values. NULL is fine. */
void gw_topic_tree_destroy(struct gw_topic_tree *tree);

/* Returns the place of the key's value, making it (NULL) if it is not there. The place is valid until the key is
 * removed. */
void **gw_topic_tree_insert(struct gw_topic_tree *tree, const char *key, size_t len);
/* Removes the key and every level that only it needed; returns its value or NULL. */
void *gw_topic_tree_remove(struct gw_topic_tree *tree, const char *key, size_t len);

/* Return false to stop. The tree must not be changed from inside. */
typedef bool (*gw_topic_tree_visit)(void *context, void *value);

/* Values of the stored filters that match `name` ($-rule of 4.7.2 included), each once, in no particular order.
 * No recursion deeper than a constant: names of 65535 levels are legal. */
void gw_topic_tree_match_name(const struct gw_topic_tree *tree, const char *name, size_t len,
                              gw_topic_tree_visit visit, void *context);

/* Values of the stored names (keys without wildcards) that `filter` matches, each once, until *steps levels of names
 * have been looked at; *steps is what is left of them. False: it stopped before the end, because of that or of the
 * visitor. */
bool gw_topic_tree_match_some(const struct gw_topic_tree *tree, const char *filter, size_t len, size_t *steps,
                              gw_topic_tree_visit visit, void *context);

#endif
