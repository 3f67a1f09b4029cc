/* What a web client can send on a WebSocket: frame headers, then the JSON of a frame. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"
#include "gateway/codec.h"
#include "gateway/protocol.h"
#include "gateway/utf8.h"
#include "websocket/wsframe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *why;
    size_t at = 0;
    struct gw_ws_frame frame;
    while (at < size) {
        int read = gw_ws_read_header(data + at, size - at, 4096, size & 1, &frame, &why);
        if (read <= 0)
            break;
        if (frame.payload_len > 4096 || frame.header_len < 6)
            abort();
        if (size - at - frame.header_len < frame.payload_len)
            break;
        char payload[4096];
        memcpy(payload, data + at + frame.header_len, frame.payload_len);
        gw_ws_unmask(payload, frame.payload_len, frame.mask);
        at += frame.header_len + frame.payload_len;
    }

    const char *text = (const char *)data;
    struct gw_frame parsed;
    enum gw_err err = gw_frame_parse(text, size, &parsed, &why);
    if (err == GW_OK && parsed.data.data) {
        if (!gw_json_valid(parsed.data.data, parsed.data.len))
            abort();
        for (size_t i = 0; gw_codecs[i]; i++) {
            struct gw_buf payload = {0};
            enum gw_err encoded = gw_codecs[i]->encode(parsed.data.data, parsed.data.len, &payload, &why);
            (void)encoded;
            gw_buf_fini(&payload);
        }
    }
    gw_frame_fini(&parsed);
    return 0;
}
