/* shout.c: a codec as somebody outside of this tree would write it: small letters become capital ones. */
#include <string.h>

#include "gateway/codec.h"

static char shout_capital(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

static enum gw_err shout_decode(const char *payload, size_t len, struct gw_buf *scratch, struct gw_decoded *out)
{
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)payload[i] >= 0x80)
            return GW_ERR_NOT_JSON;
    }
    gw_buf_add_json_string(scratch, payload, len);
    for (size_t i = 1; i + 1 < scratch->len; i++)
        scratch->data[i] = shout_capital(scratch->data[i]);
    *out = (struct gw_decoded){.json = scratch->data, .len = scratch->len};
    return GW_OK;
}

static enum gw_err shout_encode(const char *json, size_t len, struct gw_buf *out, const char **why)
{
    *why = "a text in capital letters expected";
    if (len < 2 || json[0] != '"' || memchr(json, '\\', len))
        return GW_ERR_BAD_PAYLOAD;
    gw_buf_add(out, json + 1, len - 2);
    return GW_OK;
}

const struct gw_codec gw_codec_shout = {.name = "shout", .decode = shout_decode, .encode = shout_encode};
