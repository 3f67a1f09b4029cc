/* What a broker sends: a PUBLISH lies within what was given, and says the same when it is alone. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mqtt/packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const uint8_t *data, size_t size, bool v5)
{
    struct gw_packet packet, alone;
    for (size_t at = 0, len; at < size && (len = gw_packet_parse(data + at, size - at, v5, &packet)); at += len) {
        const char *end = (const char *)data + at + len;
        if (len > size - at || packet.payload + packet.payload_len != end ||
            packet.topic + packet.topic_len > packet.payload)
            abort();
        uint8_t *copy = malloc(len);
        memcpy(copy, data + at, len);
        if (gw_packet_parse(copy, len, v5, &alone) != len || alone.topic_len != packet.topic_len ||
            alone.mid != packet.mid || alone.id_count != packet.id_count ||
            gw_packet_parse(copy, len - 1, v5, &alone))
            abort();
        free(copy);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check(data, size, false);
    check(data, size, true);
    return 0;
}
