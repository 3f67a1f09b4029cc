#include "topic/topic_tree.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/hash.h"

/* One level of a key. Children are in a hash table of their own, so that a node with 100,000 children finds one as
 * fast as a node with two. `+` and `#` have their own places, which only filters need: they are looked for at every
 * step of a match. There is a node for every channel, most of them without children, so it is kept small: levels are
 * shorter than 64 KiB. */
struct below {
    struct node *plus, *hash;
    struct node **buckets; /* a power of two, NULL while there is no other child */
    uint32_t bucket_count, child_count;
};

struct node {
    struct node *parent;
    struct node *bucket_next;
    struct below *below; /* NULL: there was never a child */
    void *value;
    uint32_t level_hash;
    uint16_t level_len;
    bool has_value;
    char level[];
};

static struct node *node_plus(const struct node *node)
{
    return node->below ? node->below->plus : NULL;
}

static struct node *node_hash(const struct node *node)
{
    return node->below ? node->below->hash : NULL;
}

static bool node_has_child(const struct node *node)
{
    return node->below && (node->below->child_count || node->below->plus || node->below->hash);
}

struct gw_topic_tree {
    struct node *root;
};

static uint32_t level_hash(const char *level, size_t len)
{
    uint64_t hash = gw_hash(level, len);
    return (uint32_t)(hash ^ hash >> 32);
}

static struct node *node_create(struct node *parent, const char *level, size_t len, uint32_t hash)
{
    struct node *node = gw_calloc(1, offsetof(struct node, level) + len + 1);
    node->parent = parent;
    node->level_hash = hash;
    node->level_len = (uint16_t)len;
    memcpy(node->level, level, len);
    return node;
}

static bool is_wild(const char *level, size_t len, char c)
{
    return len == 1 && level[0] == c;
}

static struct node *node_child(const struct node *node, const char *level, size_t len)
{
    if (is_wild(level, len, '+'))
        return node_plus(node);
    if (is_wild(level, len, '#'))
        return node_hash(node);
    const struct below *below = node->below;
    if (!below || !below->child_count)
        return NULL;
    uint32_t hash = level_hash(level, len);
    struct node *child = below->buckets[hash & (below->bucket_count - 1)];
    while (child && (child->level_hash != hash || child->level_len != len || memcmp(child->level, level, len) != 0))
        child = child->bucket_next;
    return child;
}

static void below_rehash(struct below *below, uint32_t bucket_count)
{
    struct node **buckets = gw_calloc(bucket_count, sizeof *buckets);
    for (size_t i = 0; i < below->bucket_count; i++) {
        for (struct node *child = below->buckets[i], *next; child; child = next) {
            next = child->bucket_next;
            struct node **bucket = &buckets[child->level_hash & (bucket_count - 1)];
            child->bucket_next = *bucket;
            *bucket = child;
        }
    }
    free(below->buckets);
    below->buckets = buckets;
    below->bucket_count = bucket_count;
}

static struct node *node_add(struct node *node, const char *level, size_t len)
{
    if (!node->below)
        node->below = gw_calloc(1, sizeof *node->below);
    struct below *below = node->below;
    if (is_wild(level, len, '+') || is_wild(level, len, '#'))
        return *(level[0] == '+' ? &below->plus : &below->hash) = node_create(node, level, len, 0);
    if (below->child_count >= below->bucket_count)
        below_rehash(below, below->bucket_count ? below->bucket_count * 2 : 2);
    struct node *child = node_create(node, level, len, level_hash(level, len));
    struct node **bucket = &below->buckets[child->level_hash & (below->bucket_count - 1)];
    child->bucket_next = *bucket;
    *bucket = child;
    below->child_count++;
    return child;
}

static void node_free(struct node *node)
{
    if (node->below)
        free(node->below->buckets);
    free(node->below);
    free(node);
}

/* Takes a node without value and children out of its parent; returns the parent. */
static struct node *node_prune(struct node *node)
{
    struct node *parent = node->parent;
    struct below *below = parent->below;
    if (below->plus == node) {
        below->plus = NULL;
    } else if (below->hash == node) {
        below->hash = NULL;
    } else {
        struct node **link = &below->buckets[node->level_hash & (below->bucket_count - 1)];
        while (*link != node)
            link = &(*link)->bucket_next;
        *link = node->bucket_next;
        below->child_count--;
    }
    node_free(node);
    return parent;
}

struct gw_topic_tree *gw_topic_tree_create(void)
{
    struct gw_topic_tree *tree = gw_calloc(1, sizeof *tree);
    tree->root = node_create(NULL, "", 0, 0);
    return tree;
}

/* A child that is left, taken out of its parent's lists. */
static struct node *node_take_child(struct node *node)
{
    struct below *below = node->below;
    if (!below)
        return NULL;
    struct node *child = below->plus ? below->plus : below->hash;
    if (child) {
        *(child == below->plus ? &below->plus : &below->hash) = NULL;
        return child;
    }
    while (below->bucket_count) {
        struct node **bucket = &below->buckets[below->bucket_count - 1];
        if (*bucket) {
            child = *bucket;
            *bucket = child->bucket_next;
            return child;
        }
        below->bucket_count--;
    }
    return NULL;
}

void gw_topic_tree_destroy(struct gw_topic_tree *tree)
{
    if (!tree)
        return;
    struct node *node = tree->root;
    while (node) {
        struct node *child = node_take_child(node);
        if (child) {
            node = child;
        } else {
            struct node *parent = node->parent;
            node_free(node);
            node = parent;
        }
    }
    free(tree);
}

/* The end of the level that starts at text + at. */
static size_t level_end(const char *text, size_t len, size_t at)
{
    const char *slash = at < len ? memchr(text + at, '/', len - at) : NULL;
    return slash ? (size_t)(slash - text) : len;
}

void **gw_topic_tree_insert(struct gw_topic_tree *tree, const char *key, size_t len)
{
    struct node *node = tree->root;
    for (size_t at = 0; at <= len;) {
        size_t end = level_end(key, len, at);
        struct node *child = node_child(node, key + at, end - at);
        node = child ? child : node_add(node, key + at, end - at);
        at = end + 1;
    }
    if (!node->has_value) {
        node->has_value = true;
        node->value = NULL;
    }
    return &node->value;
}

static struct node *tree_find(const struct gw_topic_tree *tree, const char *key, size_t len)
{
    struct node *node = tree->root;
    for (size_t at = 0; at <= len && node;) {
        size_t end = level_end(key, len, at);
        node = node_child(node, key + at, end - at);
        at = end + 1;
    }
    return node && node->has_value ? node : NULL;
}

void *gw_topic_tree_remove(struct gw_topic_tree *tree, const char *key, size_t len)
{
    struct node *node = tree_find(tree, key, len);
    if (!node)
        return NULL;
    void *value = node->value;
    node->has_value = false;
    node->value = NULL;
    while (node != tree->root && !node->has_value && !node_has_child(node))
        node = node_prune(node);
    return value;
}

/* --- matching ------------------------------------------------------------------------------------------------- */

/* Where a walk over filters still has to go: a node, and the byte where its next level begins (len + 1: none is
 * left). Every node is pushed at most once in a walk, because each has one parent and the levels fix its depth. */
struct step {
    const struct node *node;
    size_t at;
};

struct walk {
    struct step *steps;
    size_t count, allocated;
    struct step first[32];
};

static void walk_init(struct walk *walk)
{
    walk->steps = walk->first;
    walk->count = 0;
    walk->allocated = sizeof walk->first / sizeof *walk->first;
}

static void walk_push(struct walk *walk, const struct node *node, size_t at)
{
    if (!node)
        return;
    GW_GROW_FROM(walk->first, walk->steps, walk->count, walk->allocated);
    walk->steps[walk->count++] = (struct step){node, at};
}

static void walk_fini(struct walk *walk)
{
    if (walk->steps != walk->first)
        free(walk->steps);
}

static bool visit_value(const struct node *node, gw_topic_tree_visit visit, void *context)
{
    return !node || !node->has_value || visit(context, node->value);
}

void gw_topic_tree_match_name(const struct gw_topic_tree *tree, const char *name, size_t len,
                              gw_topic_tree_visit visit, void *context)
{
    struct walk walk;
    walk_init(&walk);
    walk_push(&walk, tree->root, 0);
    bool more = true;
    while (more && walk.count) {
        struct step step = walk.steps[--walk.count];
        /* MQTT 5.0 section 4.7.2 */
        bool wild = step.node != tree->root || !len || name[0] != '$';
        if (wild)
            more = visit_value(node_hash(step.node), visit, context); /* "a/#" matches "a" too */
        if (!more)
            break;
        if (step.at > len) {
            more = visit_value(step.node, visit, context);
            continue;
        }
        size_t end = level_end(name, len, step.at);
        if (wild)
            walk_push(&walk, node_plus(step.node), end + 1);
        /* A name has no wildcards; were one given, its `+` must not find the filter's node twice. */
        if (!is_wild(name + step.at, end - step.at, '+') && !is_wild(name + step.at, end - step.at, '#'))
            walk_push(&walk, node_child(step.node, name + step.at, end - step.at), end + 1);
    }
    walk_fini(&walk);
}

/* Where a walk over names is at one node: its children are looked at one after the other, so that the walk can stop
 * anywhere without having touched what is still to come. */
struct frame {
    const struct node *node;
    const struct node *next; /* child to look at next; NULL: the first of the next bucket that has one */
    size_t bucket;
    size_t at; /* where the next level of the filter begins; `everything` below a `#` */
};

struct names {
    struct frame *frames;
    size_t count, allocated;
    struct frame first[32];
};

static void names_push(struct names *names, const struct node *node, size_t at)
{
    GW_GROW_FROM(names->first, names->frames, names->count, names->allocated);
    names->frames[names->count++] = (struct frame){.node = node, .at = at};
}

/* The next child of the frame's node, or NULL. */
static const struct node *frame_child(struct frame *frame)
{
    const struct below *below = frame->node->below;
    while (!frame->next && below && frame->bucket < below->bucket_count)
        frame->next = below->buckets[frame->bucket++];
    const struct node *child = frame->next;
    if (child)
        frame->next = child->bucket_next;
    return child;
}

/* Goes down to `node`, with what is left of the filter from `at` on; names without a wildcard level are followed on
 * the spot. False: the visitor said stop. */
static bool names_enter(struct names *names, const struct node *node, const char *filter, size_t len, size_t at,
                        bool root, gw_topic_tree_visit visit, void *context)
{
    const size_t everything = len + 2;
    while (node) {
        if (at == everything) {
            names_push(names, node, everything);
            return visit_value(node, visit, context);
        }
        if (at > len)
            return visit_value(node, visit, context);
        size_t end = level_end(filter, len, at);
        if (is_wild(filter + at, end - at, '#')) {
            names_push(names, node, everything);
            return root || visit_value(node, visit, context); /* the parent level itself */
        }
        if (is_wild(filter + at, end - at, '+')) {
            names_push(names, node, end + 1);
            return true;
        }
        node = node_child(node, filter + at, end - at);
        at = end + 1;
        root = false;
    }
    return true;
}

bool gw_topic_tree_match_some(const struct gw_topic_tree *tree, const char *filter, size_t len, size_t *steps,
                              gw_topic_tree_visit visit, void *context)
{
    struct names names = {.frames = names.first, .allocated = sizeof names.first / sizeof *names.first};
    bool more = names_enter(&names, tree->root, filter, len, 0, true, visit, context);
    while (more && names.count && *steps) {
        struct frame *frame = &names.frames[names.count - 1];
        const struct node *child = frame_child(frame);
        if (!child) {
            names.count--;
            continue;
        }
        --*steps;
        if (frame->node == tree->root && child->level[0] == '$')
            continue; /* MQTT 5.0 section 4.7.2 */
        more = names_enter(&names, child, filter, len, frame->at, false, visit, context);
    }
    bool complete = more && !names.count;
    if (names.frames != names.first)
        free(names.frames);
    return complete;
}
