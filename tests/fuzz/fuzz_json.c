/* Payloads of devices: every codec gives valid JSON or refuses; and our validator agrees with jansson where jansson
 * can hold the value. */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"
#include "gateway/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
    for (size_t i = 0; size && gw_codecs[i]; i++) {
        struct gw_buf scratch;
        struct gw_decoded decoded;
        gw_buf_init(&scratch);
        if (gw_codecs[i]->decode(text, size, &scratch, &decoded) == GW_OK &&
            !gw_json_valid(decoded.json, decoded.len))
            abort();
        gw_buf_fini(&scratch);
    }
    return 0;
}
