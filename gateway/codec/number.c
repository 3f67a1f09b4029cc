/* number.c: codec `number`: payloads that are one number, also as devices write them (+21.5, .5, 5.), never through a
 * double, so that no digit changes. */
#include <string.h>
#include <strings.h>

#include "base/json_scan.h"
#include "gateway/codec.h"

static bool number_is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool number_is_digit(const char *text, size_t len, size_t at)
{
    return at < len && text[at] >= '0' && text[at] <= '9';
}

/* Rewrites it as JSON: sign, at least one digit before and after the point, no leading zeros. False: not a number. */
static bool number_normalise(const char *text, size_t len, struct gw_buf *out)
{
    size_t at = 0;
    if (at < len && (text[at] == '+' || text[at] == '-')) {
        if (text[at] == '-')
            gw_buf_addc(out, '-');
        at++;
    }
    size_t start = at;
    while (number_is_digit(text, len, at))
        at++;
    bool whole = at > start;
    while (at - start > 1 && text[start] == '0')
        start++;
    if (whole)
        gw_buf_add(out, text + start, at - start);
    else
        gw_buf_addc(out, '0');
    bool fraction = false;
    if (at < len && text[at] == '.') {
        size_t from = ++at;
        while (number_is_digit(text, len, at))
            at++;
        fraction = at > from;
        if (fraction) {
            gw_buf_addc(out, '.');
            gw_buf_add(out, text + from, at - from);
        }
    }
    if (!whole && !fraction)
        return false;
    if (at < len && (text[at] == 'e' || text[at] == 'E')) {
        size_t from = at++;
        if (at < len && (text[at] == '+' || text[at] == '-'))
            at++;
        if (!number_is_digit(text, len, at))
            return false;
        while (number_is_digit(text, len, at))
            at++;
        gw_buf_add(out, text + from, at - from);
    }
    return at == len;
}

static enum gw_err number_decode(const char *payload, size_t len, struct gw_buf *scratch, struct gw_decoded *out)
{
    while (len && number_is_blank(payload[0]))
        payload++, len--;
    while (len && number_is_blank(payload[len - 1]))
        len--;
    if (!len)
        return GW_ERR_BAD_PAYLOAD;
    if ((payload[0] == '-' || number_is_digit(payload, len, 0)) && gw_json_valid(payload, len)) {
        *out = (struct gw_decoded){.json = payload, .len = len};
        return GW_OK;
    }
    if (!number_normalise(payload, len, scratch))
        return GW_ERR_BAD_PAYLOAD;
    *out = (struct gw_decoded){.json = scratch->data, .len = scratch->len};
    return GW_OK;
}

/* Which byte ended the number. */
static void number_explain(const char *payload, size_t len, struct gw_buf *out)
{
    size_t at = 0;
    while (at < len && number_is_blank(payload[at]))
        at++;
    if (at == len) {
        gw_buf_adds(out, "nothing but blanks");
        return;
    }
    size_t sign = payload[at] == '-' || payload[at] == '+';
    if ((len - at >= sign + 3 && !strncasecmp(payload + at + sign, "nan", 3)) ||
        (len - at >= sign + 3 && !strncasecmp(payload + at + sign, "inf", 3))) {
        gw_buf_printf(out, "NaN or infinity at byte %zu; JSON has no such number, so the device should send nothing",
                      at + 1);
        return;
    }
    while (at < len && payload[at] && strchr("0123456789+-.eE", payload[at]))
        at++;
    if (at < len && payload[at] > 0x20 && payload[at] < 0x7f)
        gw_buf_printf(out, "'%c' at byte %zu belongs to no number", payload[at], at + 1);
    else if (at < len)
        gw_buf_printf(out, "0x%02x at byte %zu belongs to no number", (unsigned char)payload[at], at + 1);
    else
        gw_buf_printf(out, "%zu bytes of digits, points and signs are no number", len);
}

static enum gw_err number_encode(const char *json, size_t len, struct gw_buf *out, const char **why)
{
    if (json[0] != '-' && !number_is_digit(json, len, 0)) {
        *why = "data must be a number on this channel";
        return GW_ERR_BAD_PAYLOAD;
    }
    gw_buf_add(out, json, len);
    return GW_OK;
}

const struct gw_codec gw_codec_number = {
    .name = "number", .decode = number_decode, .explain = number_explain, .encode = number_encode};
