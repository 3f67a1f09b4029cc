/* auto.c: codec `auto`: JSON as that JSON, other text as a string, other bytes as {"base64":"…"}. */
#include <string.h>

#include "base/base64.h"
#include "base/json_scan.h"
#include "gateway/codec.h"
#include "gateway/utf8.h"

static enum gw_err auto_decode(const char *payload, size_t len, struct gw_buf *scratch, struct gw_decoded *out)
{
    if (gw_json_valid(payload, len)) {
        *out = (struct gw_decoded){.json = payload, .len = len};
        return GW_OK;
    }
    bool text = gw_utf8_valid(payload, len);
    if (text) {
        gw_buf_add_json_string(scratch, payload, len);
    } else {
        gw_buf_adds(scratch, "{\"base64\":\"");
        gw_base64_encode(scratch, payload, len);
        gw_buf_adds(scratch, "\"}");
    }
    *out = (struct gw_decoded){.json = scratch->data, .len = scratch->len, .binary = !text};
    return GW_OK;
}

/* A string is sent as its text, so that "ON" reaches a device as ON; {"base64":…} alone as its bytes. */
static enum gw_err auto_encode(const char *json, size_t len, struct gw_buf *out, const char **why)
{
    struct gw_slice value;
    if (json[0] == '"') {
        gw_json_unescape(json, len, out);
        return GW_OK;
    }
    if (json[0] == '{' && gw_json_member_count(json, len) == 1 && gw_json_find(json, len, "base64", &value) &&
        value.data[0] == '"') {
        struct gw_buf text = {0};
        gw_json_unescape(value.data, value.len, &text);
        bool valid = gw_base64_decode(out, text.data ? text.data : "", text.len);
        gw_buf_fini(&text);
        if (!valid) {
            *why = "the base64 in data is malformed";
            return GW_ERR_BAD_PAYLOAD;
        }
        return GW_OK;
    }
    gw_buf_add(out, json, len);
    return GW_OK;
}

const struct gw_codec gw_codec_auto = {.name = "auto", .decode = auto_decode, .encode = auto_encode};
