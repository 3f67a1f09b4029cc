/* What a Socket.IO client can send: payloads of polling, and the packets in them. */
#include <stdint.h>
#include <stdlib.h>

#include "base/json_scan.h"
#include "socketio/packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void packet(struct gw_slice text)
{
    struct gw_sio_packet parsed;
    if (gw_sio_parse(text.data, text.len, &parsed))
        return;
    if (parsed.attachments > GW_SIO_ATTACHMENTS_MAX || !parsed.space.len || parsed.space.data[0] != '/')
        abort();
    if (!parsed.json.data)
        return;
    if (parsed.json.data + parsed.json.len != text.data + text.len)
        abort();
    struct gw_buf attachments[GW_SIO_ATTACHMENTS_MAX] = {0}, out = {0};
    for (unsigned i = 0; i < GW_SIO_ATTACHMENTS_MAX; i++)
        gw_buf_add(&attachments[i], "\xff\0a", i % 4);
    if (gw_sio_fill(parsed.json, attachments, parsed.attachments, &out) && !gw_json_valid(out.data, out.len))
        abort();
    gw_buf_fini(&out);
    for (unsigned i = 0; i < GW_SIO_ATTACHMENTS_MAX; i++)
        gw_buf_fini(&attachments[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    size_t at = 0, sum = 0, count = 0;
    struct gw_slice found;
    while (gw_eio_next(text, size, &at, &found)) {
        sum += found.len;
        count++;
        if (found.len && found.data[0] == GW_EIO_MESSAGE)
            packet((struct gw_slice){found.data + 1, found.len - 1});
    }
    if (sum + count - 1 != size)
        abort();
    packet((struct gw_slice){text, size});
    return 0;
}
