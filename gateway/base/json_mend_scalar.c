/* json_mend_scalar.c: text that is nearly JSON, made JSON: texts, numbers and words. */
#include <strings.h>

#include "base/json_mend_private.h"
#include "gateway/utf8.h"

/* --- texts ----------------------------------------------------------------------------------------------------- */

static bool mend_is_hex(const struct mend *m, size_t at, size_t digits)
{
    for (size_t i = at; i < at + digits; i++) {
        if (i >= m->len || !strchr("0123456789abcdefABCDEF", m->text[i]) || !m->text[i])
            return false;
    }
    return true;
}

/* At a backslash. */
static bool mend_escape(struct mend *m)
{
    if (m->len - m->at < 2) {
        m->at = m->len;
        return gw_mend_fail(m, "the end of a text");
    }
    char escape = m->text[m->at + 1];
    if (escape && strchr("\"\\/bfnrt", escape)) {
        gw_buf_add(m->out, m->text + m->at, 2);
        m->at += 2;
    } else if (escape == 'u' && mend_is_hex(m, m->at + 2, 4)) {
        gw_buf_add(m->out, m->text + m->at, 6);
        m->at += 6;
    } else {
        gw_mend_note(m, GW_JSON_ESCAPE, m->at);
        if (escape == 'x' && mend_is_hex(m, m->at + 2, 2)) {
            gw_buf_adds(m->out, "\\u00");
            gw_buf_add(m->out, m->text + m->at + 2, 2);
            m->at += 4;
        } else if (escape == '\'') {
            gw_buf_addc(m->out, '\'');
            m->at += 2;
        } else {
            gw_buf_adds(m->out, "\\\\"); /* a path, say: C:\data */
            m->at++;
        }
    }
    return true;
}

/* A byte that begins no sequence of UTF-8: nearly always the degree sign or an umlaut of Latin-1. */
static void mend_latin1(struct mend *m)
{
    unsigned char c = (unsigned char)m->text[m->at];
    gw_mend_note(m, GW_JSON_NOT_UTF8, m->at++);
    if (c < 0xa0) {
        gw_buf_adds(m->out, "\xef\xbf\xbd");
    } else {
        gw_buf_addc(m->out, (char)(0xc0 | c >> 6));
        gw_buf_addc(m->out, (char)(0x80 | (c & 63)));
    }
}

/* At the quote, double or single. */
bool gw_mend_text(struct mend *m)
{
    char quote = m->text[m->at];
    if (quote == '\'')
        gw_mend_note(m, GW_JSON_SINGLE_QUOTE, m->at);
    gw_buf_addc(m->out, '"');
    m->at++;
    while (m->at < m->len) {
        unsigned char c = (unsigned char)m->text[m->at];
        if (c == (unsigned char)quote) {
            m->at++;
            gw_buf_addc(m->out, '"');
            return true;
        }
        if (c == '\\') {
            if (!mend_escape(m))
                return false;
        } else if (c < 0x20) {
            gw_mend_note(m, GW_JSON_CONTROL, m->at++);
            gw_buf_printf(m->out, "\\u%04x", c);
        } else if (c == '"') {
            gw_buf_adds(m->out, "\\\"");
            m->at++;
        } else if (c < 0x80) {
            gw_buf_addc(m->out, (char)c);
            m->at++;
        } else {
            size_t step = gw_utf8_sequence(m->text + m->at, m->len - m->at);
            gw_buf_add(m->out, m->text + m->at, step);
            m->at += step;
            if (!step)
                mend_latin1(m);
        }
    }
    return gw_mend_fail(m, "the end of a text");
}

/* --- numbers and words ----------------------------------------------------------------------------------------- */

static bool mend_hex(struct mend *m, size_t from)
{
    uint64_t value = 0;
    size_t digits = 0;
    m->at += 2;
    for (; mend_is_hex(m, m->at, 1); m->at++) {
        char c = m->text[m->at];
        if (value >> 60)
            return gw_mend_fail_at(m, GW_JSON_BAD_NUMBER, from, NULL); /* more than 64 bits */
        value = value << 4 | (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
        digits++;
    }
    if (!digits)
        return gw_mend_fail_at(m, GW_JSON_BAD_NUMBER, from, NULL);
    gw_mend_note(m, GW_JSON_HEX, from);
    gw_buf_addu(m->out, value);
    return true;
}

static size_t mend_digits(struct mend *m)
{
    size_t from = m->at;
    while (mend_is_digit(m, m->at))
        m->at++;
    return m->at - from;
}

/* Digits, point and exponent; the sign has been written. */
static bool mend_number(struct mend *m, size_t from)
{
    size_t start = m->at, whole = mend_digits(m), fraction = 0;
    if (whole > 1 && m->text[start] == '0') {
        gw_mend_note(m, GW_JSON_ZEROS, from);
        for (; whole > 1 && m->text[start] == '0'; whole--)
            start++;
    }
    gw_buf_add(m->out, whole ? m->text + start : "0", whole ? whole : 1);
    if (mend_sees(m, 0, '.')) {
        size_t point = m->at++;
        fraction = mend_digits(m);
        if (!whole != !fraction)
            gw_mend_note(m, GW_JSON_POINT, from);
        if (fraction)
            gw_buf_add(m->out, m->text + point, fraction + 1);
    }
    if (!whole && !fraction)
        return gw_mend_fail_at(m, GW_JSON_BAD_NUMBER, from, NULL);
    if (mend_sees(m, 0, 'e') || mend_sees(m, 0, 'E')) {
        size_t exponent = m->at++;
        if (mend_sees(m, 0, '+') || mend_sees(m, 0, '-'))
            m->at++;
        if (!mend_digits(m))
            return gw_mend_fail_at(m, GW_JSON_BAD_NUMBER, from, NULL);
        gw_buf_add(m->out, m->text + exponent, m->at - exponent);
    }
    return true;
}

static const struct {
    const char *word, *json;
    enum gw_json_flaw_kind kind;
} mend_words[] = {
    {"true", "true", GW_JSON_CASE},    {"false", "false", GW_JSON_CASE},       {"null", "null", GW_JSON_CASE},
    {"nan", "null", GW_JSON_NAN},      {"nanq", "null", GW_JSON_NAN},          {"ovf", "null", GW_JSON_NAN},
    {"inf", "null", GW_JSON_INFINITY}, {"infinity", "null", GW_JSON_INFINITY}, {"none", "null", GW_JSON_NONE},
    {"nil", "null", GW_JSON_NONE},     {"undefined", "null", GW_JSON_NONE},
};

/* A word that is a value. `from` is where its sign stands, if it has one: then only a number's words count. */
static bool mend_word(struct mend *m, size_t from)
{
    size_t start = m->at;
    while (m->at < m->len && mend_is_word(m->text[m->at]))
        m->at++;
    size_t len = m->at - start;
    for (size_t i = 0; i < sizeof mend_words / sizeof *mend_words; i++) {
        enum gw_json_flaw_kind kind = mend_words[i].kind;
        if (strlen(mend_words[i].word) != len || strncasecmp(mend_words[i].word, m->text + start, len) != 0 ||
            (from < start && kind != GW_JSON_NAN && kind != GW_JSON_INFINITY))
            continue;
        if (kind != GW_JSON_CASE || memcmp(mend_words[i].word, m->text + start, len) != 0)
            gw_mend_note(m, kind, from);
        if (kind == GW_JSON_NAN && mend_sees(m, 0, '(')) { /* nan(ind), nan(0x8000) */
            const char *end = memchr(m->text + m->at, ')', m->len - m->at);
            m->at = end ? (size_t)(end - m->text) + 1 : m->at;
        }
        gw_buf_adds(m->out, mend_words[i].json);
        return true;
    }
    return gw_mend_fail_at(m, GW_JSON_BARE_WORD, from, NULL);
}

/* A number with all that may stand before it, or a word. */
static bool mend_plain(struct mend *m)
{
    size_t from = m->at;
    char sign = m->text[m->at] == '-' || m->text[m->at] == '+' ? m->text[m->at++] : '\0';
    if (m->at == m->len)
        return gw_mend_fail(m, "a number");
    if (sign && !mend_is_digit(m, m->at) && m->text[m->at] != '.')
        return mend_is_word(m->text[m->at]) ? mend_word(m, from) : gw_mend_fail_at(m, GW_JSON_BAD_NUMBER, from, NULL);
    size_t digits = m->at;
    while (mend_is_digit(m, digits))
        digits++;
    if (digits > m->at && m->len - digits >= 2 && !memcmp(m->text + digits, ".#", 2)) { /* 1.#QNAN, 1.#INF00 */
        m->at = digits + 2;
        gw_mend_note(m, mend_sees(m, 1, 'N') && mend_sees(m, 2, 'F') ? GW_JSON_INFINITY : GW_JSON_NAN, from);
        while (m->at < m->len && mend_is_word(m->text[m->at]))
            m->at++;
        gw_buf_adds(m->out, "null");
        return true;
    }
    if (sign == '+')
        gw_mend_note(m, GW_JSON_PLUS, from);
    if (sign == '-')
        gw_buf_addc(m->out, '-');
    if (mend_sees(m, 0, '0') && (mend_sees(m, 1, 'x') || mend_sees(m, 1, 'X')))
        return mend_hex(m, from);
    return mend_number(m, from);
}

bool gw_mend_scalar(struct mend *m)
{
    char c = m->text[m->at];
    if (c == '"' || c == '\'')
        return gw_mend_text(m);
    if (c == '-' || c == '+' || c == '.' || mend_is_digit(m, m->at))
        return mend_plain(m);
    if (m->len - m->at >= 6 && !memcmp(m->text + m->at, "(null)", 6)) { /* C's printf() of a NULL */
        gw_mend_note(m, GW_JSON_NONE, m->at);
        m->at += 6;
        gw_buf_adds(m->out, "null");
        return true;
    }
    if (mend_is_word(c))
        return mend_word(m, m->at);
    return gw_mend_fail(m, "a value");
}
