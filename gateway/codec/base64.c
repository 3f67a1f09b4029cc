/* base64.c: codec `base64`: every payload as a base64 string (RFC 4648 section 4), for binary formats. */
#include "base/base64.h"

#include "base/json_scan.h"
#include "gateway/codec.h"
#include "gateway/utf8.h"

static enum gw_err base64_decode(const char *payload, size_t len, struct gw_buf *scratch, struct gw_decoded *out)
{
    gw_buf_addc(scratch, '"');
    gw_base64_encode(scratch, payload, len);
    gw_buf_addc(scratch, '"');
    *out = (struct gw_decoded){.json = scratch->data, .len = scratch->len, .binary = !gw_utf8_valid(payload, len)};
    return GW_OK;
}

static enum gw_err base64_encode(const char *json, size_t len, struct gw_buf *out, const char **why)
{
    struct gw_slice value = {json, len};
    *why = "data must be a base64 string, or {\"base64\":\"…\"}, on this channel";
    if (json[0] == '{' && !gw_json_find(json, len, "base64", &value))
        return GW_ERR_BAD_PAYLOAD;
    if (value.data[0] != '"')
        return GW_ERR_BAD_PAYLOAD;
    struct gw_buf text = {0};
    gw_json_unescape(value.data, value.len, &text);
    bool valid = gw_base64_decode(out, text.data ? text.data : "", text.len);
    gw_buf_fini(&text);
    return valid ? GW_OK : GW_ERR_BAD_PAYLOAD;
}

const struct gw_codec gw_codec_base64 = {.name = "base64", .decode = base64_decode, .encode = base64_encode};
