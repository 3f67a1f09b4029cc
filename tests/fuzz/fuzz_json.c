/* Payloads of devices: every codec gives valid JSON or refuses; and our validator agrees with jansson where jansson
 * can hold the value. */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_mend.h"
#include "base/json_scan.h"
#include "gateway/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever is mended is valid JSON, of a bounded size, and mending it again finds nothing. */
static void check_mend(const char *text, size_t size, bool valid)
{
    struct gw_buf out = {0}, again = {0};
    struct gw_json_flaw first, last;
    bool mended = gw_json_mend(text, size, &out, &first, &last);
    if (valid != (first.kind == GW_JSON_SOUND) || mended != (last.kind == GW_JSON_SOUND))
        abort();
    if (mended) {
        if (!gw_json_valid(out.data, out.len) || out.len > 6 * size)
            abort();
        if (!gw_json_mend(out.data, out.len, &again, &first, &last) || first.kind != GW_JSON_SOUND ||
            again.len != out.len || memcmp(again.data, out.data, out.len) != 0)
            abort();
    } else if (first.at > size || last.at > size) {
        abort();
    }
    gw_buf_fini(&out);
    gw_buf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    json_error_t error;
    json_t *value = json_loadb(text, size, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &error);
    bool valid = gw_json_valid(text, size);
    if (value && !valid && !memchr(text, 0, size)) { /* jansson takes a NUL for the end */
        /* Only depth may make us stricter. */
        size_t open = 0;
        for (size_t i = 0; i < size; i++)
            open += data[i] == '[' || data[i] == '{';
        if (open <= GW_JSON_DEPTH_MAX)
            abort();
    }
    json_decref(value);
    check_mend(text, size, valid);
    for (size_t i = 0; size && gw_codecs[i]; i++) {
        struct gw_buf scratch = {0};
        struct gw_decoded decoded;
        if (gw_codecs[i]->decode(text, size, &scratch, &decoded) == GW_OK) {
            if (!gw_json_valid(decoded.json, decoded.len))
                abort();
        } else if (gw_codecs[i]->explain) {
            gw_buf_clear(&scratch);
            gw_codecs[i]->explain(text, size, &scratch);
            if (!scratch.len)
                abort();
        }
        gw_buf_fini(&scratch);
    }
    return 0;
}
