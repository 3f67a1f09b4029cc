/* json_mend.c: text that is nearly JSON, made JSON: the brackets and what is between them. */
#include "base/json_mend_private.h"

static struct gw_json_flaw mend_flaw(const struct mend *m, enum gw_json_flaw_kind kind, size_t at,
                                     const char *expected)
{
    return (struct gw_json_flaw){kind, at, at < m->len ? (unsigned char)m->text[at] : 0, expected};
}

void gw_mend_note(struct mend *m, enum gw_json_flaw_kind kind, size_t at)
{
    if (m->first->kind == GW_JSON_SOUND)
        *m->first = mend_flaw(m, kind, at, NULL);
}

bool gw_mend_fail_at(struct mend *m, enum gw_json_flaw_kind kind, size_t at, const char *expected)
{
    *m->last = mend_flaw(m, kind, at, expected);
    if (m->first->kind == GW_JSON_SOUND)
        *m->first = *m->last;
    return false;
}

/* What has no place where it is. */
bool gw_mend_fail(struct mend *m, const char *expected)
{
    if (m->at >= m->len)
        return gw_mend_fail_at(m, GW_JSON_CUT_OFF, m->len, expected);
    const unsigned char *here = (const unsigned char *)m->text + m->at;
    enum gw_json_flaw_kind kind = GW_JSON_UNEXPECTED;
    if (!*here)
        kind = GW_JSON_NUL;
    else if (*here == '\\' && m->at + 1 < m->len && here[1] == '"')
        kind = GW_JSON_ESCAPED_QUOTE;
    else if (m->len - m->at >= 3 && here[0] == 0xe2 && here[1] == 0x80 && here[2] >= 0x98 && here[2] <= 0x9f)
        kind = GW_JSON_CURLY_QUOTE;
    return gw_mend_fail_at(m, kind, m->at, expected);
}

static bool mend_in_object(const struct mend *m)
{
    return m->depth && (m->is_object[(m->depth - 1) / 64] >> ((m->depth - 1) % 64) & 1);
}

static bool mend_comment(struct mend *m)
{
    const char *end = NULL;
    size_t from = m->at;
    if (mend_sees(m, 1, '/')) {
        end = memchr(m->text + m->at, '\n', m->len - m->at);
        m->at = end ? (size_t)(end - m->text) : m->len;
    } else {
        end = memmem(m->text + m->at + 2, m->len - m->at - 2, "*/", 2);
        if (!end)
            return gw_mend_fail_at(m, GW_JSON_CUT_OFF, m->len, "the end of a comment");
        m->at = (size_t)(end - m->text) + 2;
    }
    gw_mend_note(m, GW_JSON_COMMENT, from);
    return true;
}

/* Past what is between the parts. */
static bool mend_blanks(struct mend *m)
{
    while (m->at < m->len) {
        const unsigned char *here = (const unsigned char *)m->text + m->at;
        size_t left = m->len - m->at;
        if (*here == ' ' || *here == '\t' || *here == '\r' || *here == '\n') {
            m->at++;
        } else if (*here == '\v' || *here == '\f') {
            gw_mend_note(m, GW_JSON_BLANK, m->at++);
        } else if (left >= 2 && here[0] == 0xc2 && here[1] == 0xa0) {
            gw_mend_note(m, GW_JSON_BLANK, m->at);
            m->at += 2;
        } else if (*here == '/' && left >= 2 && (here[1] == '/' || here[1] == '*')) {
            if (!mend_comment(m))
                return false;
        } else {
            break;
        }
    }
    return true;
}

static void mend_separate(struct mend *m)
{
    if (m->comma)
        gw_buf_addc(m->out, ',');
    m->comma = false;
}

/* --- objects and arrays ---------------------------------------------------------------------------------------- */

/* A member's name and the colon behind it. */
static bool mend_name(struct mend *m)
{
    size_t from = m->at;
    mend_separate(m);
    if (m->at < m->len && (m->text[m->at] == '"' || m->text[m->at] == '\'')) {
        if (!gw_mend_text(m))
            return false;
    } else if (m->at < m->len && mend_is_word(m->text[m->at])) {
        bool number = true;
        gw_buf_addc(m->out, '"');
        for (; m->at < m->len &&
               (mend_is_word(m->text[m->at]) || (m->at > from && strchr("-.", m->text[m->at]) && m->text[m->at]));
             m->at++) {
            number = number && mend_is_digit(m, m->at);
            gw_buf_addc(m->out, m->text[m->at]);
        }
        gw_buf_addc(m->out, '"');
        if (!mend_blanks(m))
            return false;
        if (number && (mend_sees(m, 0, ',') || mend_sees(m, 0, '}')))
            return gw_mend_fail_at(m, GW_JSON_DECIMAL_COMMA, from, NULL);
        gw_mend_note(m, GW_JSON_BARE_NAME, from);
    } else {
        return gw_mend_fail(m, "a name between double quotes");
    }
    if (!mend_blanks(m))
        return false;
    if (!mend_sees(m, 0, ':'))
        return gw_mend_fail(m, "a colon");
    m->at++;
    gw_buf_addc(m->out, ':');
    return true;
}

static bool mend_open(struct mend *m)
{
    bool object = m->text[m->at] == '{';
    if (m->depth == GW_JSON_DEPTH_MAX)
        return gw_mend_fail_at(m, GW_JSON_DEPTH, m->at, NULL);
    uint64_t bit = (uint64_t)1 << (m->depth % 64);
    if (object)
        m->is_object[m->depth / 64] |= bit;
    else
        m->is_object[m->depth / 64] &= ~bit;
    m->depth++;
    gw_buf_addc(m->out, m->text[m->at++]);
    return true;
}

/* Behind a bracket that opens, or a comma: what closes is closed, and commas too many are left out. *closed: the
 * innermost level has ended. */
static bool mend_next(struct mend *m, bool *closed)
{
    for (;;) {
        if (!mend_blanks(m))
            return false;
        *closed = mend_sees(m, 0, mend_in_object(m) ? '}' : ']');
        if (*closed) {
            if (m->comma)
                gw_mend_note(m, GW_JSON_TRAILING_COMMA, m->at);
            m->comma = false;
            gw_buf_addc(m->out, m->text[m->at++]);
            m->depth--;
            return true;
        }
        if (!mend_in_object(m) || !mend_sees(m, 0, ','))
            return !mend_in_object(m) || mend_name(m);
        gw_mend_note(m, GW_JSON_EXTRA_COMMA, m->at++);
    }
}

/* Behind a value: closes what it completes. *whole: the outermost has ended; otherwise another value follows. */
static bool mend_after(struct mend *m, bool *whole)
{
    bool closed = true;
    while (closed) {
        *whole = !m->depth;
        if (*whole)
            return true;
        if (!mend_blanks(m))
            return false;
        if (mend_sees(m, 0, ',')) {
            m->at++;
            m->comma = true;
        } else if (!mend_sees(m, 0, mend_in_object(m) ? '}' : ']')) {
            return gw_mend_fail(m, mend_in_object(m) ? "a comma or }" : "a comma or ]");
        }
        if (!mend_next(m, &closed))
            return false;
    }
    return true;
}

static bool mend_value(struct mend *m)
{
    for (bool whole = false; !whole;) {
        if (!mend_blanks(m))
            return false;
        bool closed = false;
        if (!(m->depth && mend_in_object(m)))
            mend_separate(m);
        if (m->at == m->len)
            return gw_mend_fail(m, "a value");
        if (m->text[m->at] == '{' || m->text[m->at] == '[') {
            if (!mend_open(m) || !mend_next(m, &closed))
                return false;
            if (!closed)
                continue;
        } else if (m->depth && (m->text[m->at] == ',' || m->text[m->at] == (mend_in_object(m) ? '}' : ']'))) {
            gw_mend_note(m, GW_JSON_MISSING, m->at);
            gw_buf_adds(m->out, "null");
        } else if (!gw_mend_scalar(m)) {
            return false;
        }
        if (!mend_after(m, &whole))
            return false;
    }
    return true;
}

/* What no part of the parser would name well. */
static bool mend_begin(struct mend *m)
{
    const unsigned char *here = (const unsigned char *)m->text;
    if (m->len >= 3 && !memcmp(here, "\xef\xbb\xbf", 3)) {
        gw_mend_note(m, GW_JSON_BOM, 0);
        m->at = 3;
    } else if (m->len >= 2 && ((here[0] == 0xff && here[1] == 0xfe) || (here[0] == 0xfe && here[1] == 0xff))) {
        return gw_mend_fail_at(m, GW_JSON_UTF16, 0, NULL);
    } else if (m->len >= 4 &&
               ((here[0] && !here[1] && here[2] && !here[3]) || (!here[0] && here[1] && !here[2] && here[3]))) {
        return gw_mend_fail_at(m, GW_JSON_UTF16, 0, NULL);
    } else if (m->len >= 2 && here[0] == 0x1f && here[1] == 0x8b) {
        return gw_mend_fail_at(m, GW_JSON_GZIP, 0, NULL);
    }
    if (!mend_blanks(m))
        return false;
    size_t at = m->at;
    while (at < m->len && !m->text[at])
        at++;
    return at < m->len || gw_mend_fail_at(m, GW_JSON_EMPTY, m->at, NULL);
}

bool gw_json_mend(const char *text, size_t len, struct gw_buf *out, struct gw_json_flaw *first,
                  struct gw_json_flaw *last)
{
    struct mend m = {.text = text, .len = len, .out = out, .first = first, .last = last};
    *first = *last = (struct gw_json_flaw){.kind = GW_JSON_SOUND};
    if (!mend_begin(&m) || !mend_value(&m) || !mend_blanks(&m))
        return false;
    if (m.at == len)
        return true;
    if (!text[m.at]) { /* C's end of a text: what is behind it was never meant */
        gw_mend_note(&m, GW_JSON_NUL_BEHIND, m.at);
        return true;
    }
    char c = text[m.at];
    if (c == '{' || c == '[' || c == '"' || mend_is_word(c))
        return gw_mend_fail_at(&m, GW_JSON_SECOND, m.at, NULL);
    return gw_mend_fail(&m, "the end");
}
