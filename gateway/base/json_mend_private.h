/* json_mend_private.h: what json_mend.c, the brackets, and json_mend_scalar.c, the texts, numbers and words, share.
 */
#ifndef GW_BASE_JSON_MEND_PRIVATE_H
#define GW_BASE_JSON_MEND_PRIVATE_H

#include <stdint.h>
#include <string.h>

#include "base/json_mend.h"
#include "base/json_scan.h"

struct mend {
    const char *text;
    size_t len, at;
    struct gw_buf *out;
    struct gw_json_flaw *first, *last;
    uint64_t is_object[GW_JSON_DEPTH_MAX / 64]; /* one bit for each level that is open */
    size_t depth;
    bool comma; /* one has been read and not been written: perhaps nothing follows it */
};

/* Notes a flaw that is mended. */
void gw_mend_note(struct mend *m, enum gw_json_flaw_kind kind, size_t at);
/* One that is not. Returns false. */
bool gw_mend_fail_at(struct mend *m, enum gw_json_flaw_kind kind, size_t at, const char *expected);
/* What has no place where it is. Returns false. */
bool gw_mend_fail(struct mend *m, const char *expected);

/* At the quote, double or single. */
bool gw_mend_text(struct mend *m);
/* A text, number or word. */
bool gw_mend_scalar(struct mend *m);

/* Is the byte that many ahead this one? */
static inline bool mend_sees(const struct mend *m, size_t ahead, char c)
{
    return m->len - m->at > ahead && m->text[m->at + ahead] == c;
}

static inline bool mend_is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '$';
}

static inline bool mend_is_digit(const struct mend *m, size_t at)
{
    return at < m->len && m->text[at] >= '0' && m->text[at] <= '9';
}

#endif
