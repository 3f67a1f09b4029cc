#include "auth/claims.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "gateway/buf.h"
#include "gateway/topic.h"

/* Values tried for one filter: two claims with lists multiply. */
#define TRIED_MAX 1024

static const char claims_open[] = "{claims.";

const json_t *gw_claims_find(const json_t *claims, const char *path, size_t len)
{
    const json_t *found = NULL;
    char name[256];
    if (!json_is_object(claims) || !len || len >= sizeof name)
        return NULL;
    memcpy(name, path, len);
    name[len] = '\0';
    found = json_object_get(claims, name);
    for (size_t i = len; !found && i-- > 1;) {
        if (name[i] != '.')
            continue;
        name[i] = '\0';
        found = gw_claims_find(json_object_get(claims, name), path + i + 1, len - i - 1);
    }
    return found;
}

/* The text of a value, in `number` if it is one; NULL if it must not be filled in. jansson has checked that it is
 * UTF-8 without NUL. */
static const char *claims_text(const json_t *value, bool first, char number[24])
{
    if (json_is_integer(value)) {
        snprintf(number, 24, "%lld", (long long)json_integer_value(value));
        return number;
    }
    const char *text = json_string_value(value);
    if (!text || !*text || strpbrk(text, "/+#") || (first && *text == '$'))
        return NULL;
    return text;
}

struct filling {
    const json_t *claims;
    gw_claims_filled add;
    void *context;
    size_t left;
};

/* `done` has the filter up to `rest`. */
static void claims_fill(struct filling *filling, struct gw_buf *done, const char *rest);

static void claims_fill_value(struct filling *filling, struct gw_buf *done, const char *rest, const json_t *value)
{
    char number[24];
    size_t before = done->len;
    if (!filling->left)
        return;
    filling->left--;
    const char *text = claims_text(value, before == 0, number);
    if (!text)
        return;
    gw_buf_adds(done, text);
    claims_fill(filling, done, rest);
    done->len = before;
}

static void claims_fill(struct filling *filling, struct gw_buf *done, const char *rest)
{
    const char *open = strstr(rest, claims_open), *close = open ? strchr(open, '}') : NULL;
    size_t before = done->len;
    if (!close) {
        gw_buf_adds(done, rest);
        if (gw_topic_filter_valid(done->data, done->len))
            filling->add(filling->context, done->data, done->len);
        done->len = before;
        return;
    }
    const char *name = open + sizeof claims_open - 1;
    const json_t *value = gw_claims_find(filling->claims, name, (size_t)(close - name)), *item;
    size_t i;
    gw_buf_add(done, rest, (size_t)(open - rest));
    if (json_is_array(value)) {
        json_array_foreach(value, i, item) claims_fill_value(filling, done, close + 1, item);
    } else {
        claims_fill_value(filling, done, close + 1, value);
    }
    done->len = before;
}

void gw_claims_fill(const json_t *claims, const char *filter, gw_claims_filled add, void *context)
{
    struct filling filling = {.claims = claims, .add = add, .context = context, .left = TRIED_MAX};
    struct gw_buf done = {0};
    claims_fill(&filling, &done, filter);
    gw_buf_fini(&done);
}
