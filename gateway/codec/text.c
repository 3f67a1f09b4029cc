/* text.c: codec `text`: every payload is a string. */
#include "base/json_scan.h"
#include "gateway/codec.h"
#include "gateway/utf8.h"

/* What isn't UTF-8 becomes U+FFFD, one for each byte that begins no sequence. */
static void text_repair(const char *payload, size_t len, struct gw_buf *out)
{
    struct gw_buf clean = {0};
    for (size_t i = 0; i < len;) {
        size_t step = gw_utf8_sequence(payload + i, len - i);
        if (step)
            gw_buf_add(&clean, payload + i, step);
        else
            gw_buf_add(&clean, "\xef\xbf\xbd", 3);
        i += step ? step : 1;
    }
    gw_buf_add_json_string(out, clean.data, clean.len);
    gw_buf_fini(&clean);
}

static enum gw_err text_decode(const char *payload, size_t len, struct gw_buf *scratch, struct gw_decoded *out)
{
    bool valid = gw_utf8_valid(payload, len);
    if (valid)
        gw_buf_add_json_string(scratch, payload, len);
    else
        text_repair(payload, len, scratch);
    *out = (struct gw_decoded){.json = scratch->data, .len = scratch->len, .binary = !valid};
    return GW_OK;
}

static enum gw_err text_encode(const char *json, size_t len, struct gw_buf *out, const char **why)
{
    (void)why;
    if (json[0] == '"')
        gw_json_unescape(json, len, out);
    else
        gw_buf_add(out, json, len);
    return GW_OK;
}

const struct gw_codec gw_codec_text = {.name = "text", .decode = text_decode, .encode = text_encode};
