#include "base/json_scan.h"

#include <endian.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "gateway/utf8.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static size_t skip_blanks(const char *text, size_t len, size_t at)
{
    while (at < len && is_blank(text[at]))
        at++;
    return at;
}

static bool is_digit(const char *text, size_t len, size_t at)
{
    return at < len && text[at] >= '0' && text[at] <= '9';
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Each scan_ function takes the offset of the first byte and returns the offset behind the last, 0 if it is malformed
 * (nothing valid ends at offset 0). */

/* The high bit of each byte of `word` that is 0 (and perhaps of later ones). */
#define ONES        0x0101010101010101u
#define ZEROS(word) (((word)-ONES) & ~(word)&ONES << 7)

/* Past bytes that mean nothing in a string, 16 or 8 at a time: no quote, backslash, control character or beginning of
 * a sequence. */
static size_t skip_plain(const char *text, size_t len, size_t at)
{
#ifdef __SSE2__
    for (; len - at >= sizeof(__m128i); at += sizeof(__m128i)) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(text + at));
        /* Bytes from 0x80 on are negative here, so they are below 0x20 too. */
        __m128i special = _mm_or_si128(
            _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20)),
            _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')), _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'))));
        unsigned mask = (unsigned)_mm_movemask_epi8(special);
        if (mask)
            return at + (unsigned)__builtin_ctz(mask);
    }
#endif
    for (uint64_t word; len - at >= sizeof word; at += sizeof word) {
        memcpy(&word, text + at, sizeof word);
        word = htole64(word); /* so that the first byte's bit is the lowest, and later ones don't matter */
        uint64_t special = ZEROS(word ^ ONES * '"') | ZEROS(word ^ ONES * '\\') |
                           ((word - ONES * 0x20) & ~word & ONES << 7) | (word & ONES << 7);
        if (special)
            return at + (unsigned)__builtin_ctzll(special) / 8;
    }
    return at;
}

static size_t scan_string(const char *text, size_t len, size_t at)
{
    for (at++; at < len;) {
        at = skip_plain(text, len, at);
        if (at == len)
            return 0;
        unsigned char c = (unsigned char)text[at];
        if (c == '"')
            return at + 1;
        if (c < 0x20)
            return 0;
        if (c >= 0x80) {
            size_t step = gw_utf8_sequence(text + at, len - at);
            if (!step)
                return 0;
            at += step;
        } else if (c == '\\') {
            if (at + 1 >= len)
                return 0;
            char escape = text[at + 1];
            if (escape == 'u') {
                if (len - at < 6 || !is_hex(text[at + 2]) || !is_hex(text[at + 3]) || !is_hex(text[at + 4]) ||
                    !is_hex(text[at + 5]))
                    return 0;
                at += 6;
            } else if (escape && strchr("\"\\/bfnrt", escape)) {
                at += 2;
            } else {
                return 0;
            }
        } else {
            at++;
        }
    }
    return 0;
}

static size_t scan_number(const char *text, size_t len, size_t at)
{
    if (text[at] == '-')
        at++;
    if (!is_digit(text, len, at))
        return 0;
    if (text[at] == '0') {
        at++;
    } else {
        while (is_digit(text, len, at))
            at++;
    }
    if (at < len && text[at] == '.') {
        if (!is_digit(text, len, ++at))
            return 0;
        while (is_digit(text, len, at))
            at++;
    }
    if (at < len && (text[at] == 'e' || text[at] == 'E')) {
        at++;
        if (at < len && (text[at] == '+' || text[at] == '-'))
            at++;
        if (!is_digit(text, len, at))
            return 0;
        while (is_digit(text, len, at))
            at++;
    }
    return at;
}

static size_t scan_word(const char *text, size_t len, size_t at, const char *word)
{
    size_t word_len = strlen(word);
    return len - at >= word_len && !memcmp(text + at, word, word_len) ? at + word_len : 0;
}

static size_t scan_scalar(const char *text, size_t len, size_t at)
{
    switch (text[at]) {
    case '"':
        return scan_string(text, len, at);
    case 't':
        return scan_word(text, len, at, "true");
    case 'f':
        return scan_word(text, len, at, "false");
    case 'n':
        return scan_word(text, len, at, "null");
    default:
        return scan_number(text, len, at);
    }
}

/* `"key" :` of an object's member. */
static size_t scan_key(const char *text, size_t len, size_t at)
{
    if (at >= len || text[at] != '"')
        return 0;
    at = scan_string(text, len, at);
    if (!at)
        return 0;
    at = skip_blanks(text, len, at);
    return at < len && text[at] == ':' ? at + 1 : 0;
}

/* A whole value. One bit for each level that is open says whether it is an object. */
static size_t scan_value(const char *text, size_t len, size_t at)
{
    uint64_t is_object[GW_JSON_DEPTH_MAX / 64] = {0};
    size_t depth = 0;
    for (;;) {
        at = skip_blanks(text, len, at);
        if (at >= len)
            return 0;
        if (text[at] == '{' || text[at] == '[') {
            bool object = text[at] == '{';
            if (depth == GW_JSON_DEPTH_MAX)
                return 0;
            uint64_t bit = (uint64_t)1 << (depth % 64);
            if (object)
                is_object[depth / 64] |= bit;
            else
                is_object[depth / 64] &= ~bit;
            depth++;
            at = skip_blanks(text, len, at + 1);
            if (at < len && text[at] == (object ? '}' : ']')) {
                at++;
                depth--;
            } else {
                if (object && !(at = scan_key(text, len, at)))
                    return 0;
                continue;
            }
        } else if (!(at = scan_scalar(text, len, at))) {
            return 0;
        }
        /* A value is complete; close what it completes. */
        for (;;) {
            if (!depth)
                return at;
            bool object = is_object[(depth - 1) / 64] >> ((depth - 1) % 64) & 1;
            at = skip_blanks(text, len, at);
            if (at >= len)
                return 0;
            if (text[at] == ',') {
                at = skip_blanks(text, len, at + 1);
                if (object && !(at = scan_key(text, len, at)))
                    return 0;
                break;
            }
            if (text[at] != (object ? '}' : ']'))
                return 0;
            at++;
            depth--;
        }
    }
}

bool gw_json_valid(const char *text, size_t len)
{
    size_t end = scan_value(text, len, 0);
    return end && skip_blanks(text, len, end) == len;
}

struct gw_slice gw_json_trim(const char *text, size_t len)
{
    size_t from = skip_blanks(text, len, 0);
    while (len > from && is_blank(text[len - 1]))
        len--;
    return (struct gw_slice){text + from, len - from};
}

/* Steps through the members of a valid object; *at starts at 0. */
bool gw_json_next_member(const char *text, size_t len, size_t *at, struct gw_slice *key, struct gw_slice *value)
{
    size_t i = skip_blanks(text, len, *at);
    if (*at == 0) {
        if (i >= len || text[i] != '{')
            return false;
        i = skip_blanks(text, len, i + 1);
    } else if (i < len && text[i] == ',') {
        i = skip_blanks(text, len, i + 1);
    }
    if (i >= len || text[i] != '"')
        return false;
    size_t end = scan_string(text, len, i);
    *key = (struct gw_slice){text + i, end - i};
    i = scan_key(text, len, i);
    if (!end || !i)
        return false;
    i = skip_blanks(text, len, i);
    end = scan_value(text, len, i);
    if (!end)
        return false;
    *value = (struct gw_slice){text + i, end - i};
    *at = end;
    return true;
}

bool gw_json_key_is(struct gw_slice key, const char *name, size_t name_len, struct gw_buf *scratch)
{
    if (key.len == name_len + 2 && !memcmp(key.data + 1, name, name_len))
        return true;
    if (!memchr(key.data, '\\', key.len))
        return false;
    gw_buf_clear(scratch);
    gw_json_unescape(key.data, key.len, scratch);
    return scratch->len == name_len && !memcmp(scratch->data, name, name_len);
}

bool gw_json_find(const char *text, size_t len, const char *wanted, struct gw_slice *value)
{
    size_t at = 0, wanted_len = strlen(wanted);
    bool found = false;
    struct gw_slice key, member;
    struct gw_buf plain = {0};
    while (gw_json_next_member(text, len, &at, &key, &member)) {
        if (gw_json_key_is(key, wanted, wanted_len, &plain)) {
            *value = member;
            found = true;
        }
    }
    gw_buf_fini(&plain);
    return found;
}

bool gw_json_next_element(const char *text, size_t len, size_t *at, struct gw_slice *value)
{
    size_t i = skip_blanks(text, len, *at);
    if (i >= len || text[i] != (*at ? ',' : '['))
        return false; /* another kind of value, or the bracket at the end */
    i = skip_blanks(text, len, i + 1);
    size_t end = i < len && text[i] != ']' ? scan_value(text, len, i) : 0;
    if (!end)
        return false;
    *value = (struct gw_slice){text + i, end - i};
    *at = end;
    return true;
}

bool gw_json_element(const char *text, size_t len, size_t index, struct gw_slice *value)
{
    size_t at = 0;
    do {
        if (!gw_json_next_element(text, len, &at, value))
            return false;
    } while (index--);
    return true;
}

size_t gw_json_member_count(const char *text, size_t len)
{
    size_t at = 0, count = 0;
    struct gw_slice key, value;
    while (gw_json_next_member(text, len, &at, &key, &value))
        count++;
    return count;
}

static unsigned hex4(const char *digits)
{
    unsigned value = 0;
    for (int i = 0; i < 4; i++) {
        char c = digits[i];
        value = value << 4 | (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return value;
}

static void add_utf8(struct gw_buf *out, unsigned code)
{
    if (code < 0x80) {
        gw_buf_addc(out, (char)code);
    } else if (code < 0x800) {
        gw_buf_addc(out, (char)(0xc0 | code >> 6));
        gw_buf_addc(out, (char)(0x80 | (code & 63)));
    } else if (code < 0x10000) {
        gw_buf_addc(out, (char)(0xe0 | code >> 12));
        gw_buf_addc(out, (char)(0x80 | (code >> 6 & 63)));
        gw_buf_addc(out, (char)(0x80 | (code & 63)));
    } else {
        gw_buf_addc(out, (char)(0xf0 | code >> 18));
        gw_buf_addc(out, (char)(0x80 | (code >> 12 & 63)));
        gw_buf_addc(out, (char)(0x80 | (code >> 6 & 63)));
        gw_buf_addc(out, (char)(0x80 | (code & 63)));
    }
}

void gw_json_unescape(const char *string, size_t len, struct gw_buf *out)
{
    size_t end = len - 1; /* the closing quote */
    for (size_t i = 1; i < end;) {
        if (string[i] != '\\') {
            const char *backslash = memchr(string + i, '\\', end - i);
            size_t run = backslash ? (size_t)(backslash - (string + i)) : end - i;
            gw_buf_add(out, string + i, run);
            i += run;
            continue;
        }
        char escape = string[i + 1];
        if (escape != 'u') {
            static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
            const char *known = strchr(from, escape);
            gw_buf_addc(out, known ? to[known - from] : escape);
            i += 2;
            continue;
        }
        unsigned code = hex4(string + i + 2);
        i += 6;
        if (code >= 0xd800 && code < 0xdc00 && end - i >= 6 && string[i] == '\\' && string[i + 1] == 'u') {
            unsigned low = hex4(string + i + 2);
            if (low >= 0xdc00 && low < 0xe000) {
                code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                i += 6;
            }
        }
        add_utf8(out, code >= 0xd800 && code < 0xe000 ? 0xfffd : code);
    }
}
