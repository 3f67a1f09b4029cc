/* Topic matching: the trie and the plain function must agree; patterns must survive anything. Input: two texts with a
 * NUL between them. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/topic.h"
#include "topic/pattern.h"
#include "topic/topic_tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool seen(void *context, void *value)
{
    (void)value;
    *(bool *)context = true;
    return true;
}

/* What is said of two patterns as sets of names must hold for names. */
static void compare_sets(const struct gw_pattern *a, const struct gw_pattern *b)
{
    bool covers = gw_pattern_covers(a, b);
    struct gw_buf name = {0};
    for (size_t extra = 0; extra < 3; extra++) {
        gw_buf_clear(&name);
        if (!gw_pattern_sample(b, b, extra, &name))
            abort(); /* every pattern matches something */
        if (covers && !gw_pattern_match(a, name.data, name.len, NULL))
            abort();
        gw_buf_clear(&name);
        if (!gw_pattern_sample(a, b, extra, &name) && covers)
            abort();
    }
    gw_buf_fini(&name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    const char *split = size ? memchr(text, '\0', size) : NULL;
    if (!split)
        return 0;
    size_t a_len = (size_t)(split - text), b_len = size - a_len - 1;
    char *b = strndup(split + 1, b_len); /* with a NUL behind it */
    b_len = strlen(b);
    if (gw_topic_filter_valid(text, a_len) && gw_topic_name_valid(b, b_len)) {
        struct gw_topic_tree *tree = gw_topic_tree_create();
        bool by_name = false, by_filter = false, expected = gw_topic_matches(text, a_len, b, b_len);
        *gw_topic_tree_insert(tree, text, a_len) = tree;
        gw_topic_tree_match_name(tree, b, b_len, seen, &by_name);
        gw_topic_tree_remove(tree, text, a_len);
        *gw_topic_tree_insert(tree, b, b_len) = tree;
        size_t steps = SIZE_MAX;
        gw_topic_tree_match_some(tree, text, a_len, &steps, seen, &by_filter);
        gw_topic_tree_destroy(tree);
        if (by_name != expected || by_filter != expected ||
            gw_topic_filters_overlap(text, a_len, b, b_len) != expected)
            abort();
    }
    struct gw_buf error = {0}, out = {0};
    size_t offset;
    struct gw_pattern *pattern = gw_pattern_compile(text, GW_PATTERN_TOPIC, &error, &offset);
    if (pattern) {
        struct gw_captures captures;
        if (gw_pattern_match(pattern, b, b_len, &captures) && !gw_pattern_has_anonymous(pattern)) {
            if (!gw_pattern_expand(pattern, &captures, &out) || out.len != b_len || memcmp(out.data, b, b_len) != 0)
                abort(); /* what was taken apart must go together again */
        }
        struct gw_pattern *other = gw_pattern_compile(b, GW_PATTERN_TOPIC, &error, &offset);
        if (other) {
            compare_sets(pattern, other);
            compare_sets(other, pattern);
        }
        gw_pattern_free(other);
    } else if (!error.len) {
        abort();
    }
    gw_pattern_free(pattern);
    gw_buf_fini(&error);
    gw_buf_fini(&out);
    free(b);
    return 0;
}
