#include "websocket/wsframe.h"

#include <string.h>

int gw_ws_read_header(const uint8_t *data, size_t len, size_t max, bool deflate, struct gw_ws_frame *out,
                      const char **why)
{
    if (len < 2)
        return 0;
    if (len >= 6 && (data[0] == (0x80 | GW_WS_BINARY) || data[0] == (0x80 | GW_WS_TEXT)) && data[1] >= 0x80 &&
        data[1] < 0x80 + 126 && (size_t)(data[1] - 0x80) <= max) { /* most frames are short and whole */
        *out = (struct gw_ws_frame){.fin = true, .opcode = (enum gw_ws_opcode)(data[0] & 0x0f), .header_len = 6};
        out->payload_len = data[1] - 0x80u;
        memcpy(out->mask, data + 2, 4);
        return 1;
    }
    *why = "reserved bits are set without an extension";
    if (data[0] & (deflate ? 0x30 : 0x70))
        return -1002;
    unsigned opcode = data[0] & 0x0f;
    *why = "unknown opcode";
    if ((opcode > GW_WS_BINARY && opcode < GW_WS_CLOSE) || opcode > GW_WS_PONG)
        return -1002;
    *why = "frames from a client must be masked";
    if (!(data[1] & 0x80))
        return -1002;
    out->fin = data[0] & 0x80;
    out->opcode = (enum gw_ws_opcode)opcode;
    out->deflated = data[0] & 0x40;
    *why = "only the first frame of a message can say that it is compressed";
    if (out->deflated && opcode != GW_WS_TEXT && opcode != GW_WS_BINARY)
        return -1002;
    uint64_t payload = data[1] & 0x7f;
    *why = "control frames are at most 125 bytes and not fragmented";
    if (opcode >= GW_WS_CLOSE && (payload > 125 || !out->fin))
        return -1002;

    size_t at = 2, extended = payload == 126 ? 2 : payload == 127 ? 8 : 0;
    if (len < at + extended)
        return 0;
    if (extended) {
        payload = 0;
        for (size_t i = 0; i < extended; i++)
            payload = payload << 8 | data[at + i];
        at += extended;
        *why = "the length is not in its shortest form";
        if (payload < (extended == 2 ? 126u : 65536u) || payload >> 63)
            return -1002;
    }
    *why = "the message is too large";
    if (opcode < GW_WS_CLOSE && payload > max)
        return -1009;
    if (len < at + 4)
        return 0;
    memcpy(out->mask, data + at, 4);
    out->header_len = at + 4;
    out->payload_len = (size_t)payload;
    return 1;
}

void gw_ws_unmask(char *data, size_t len, const uint8_t mask[4])
{
    uint8_t pattern[8];
    memcpy(pattern, mask, 4);
    memcpy(pattern + 4, mask, 4);
    uint64_t wide;
    memcpy(&wide, pattern, 8);
    size_t i = 0;
    for (; i + 8 <= len; i += 8) {
        uint64_t word;
        memcpy(&word, data + i, 8);
        word ^= wide;
        memcpy(data + i, &word, 8);
    }
    if (i + 4 <= len) { /* a frame of four bytes is what acknowledges an MQTT message */
        uint32_t word, narrow = (uint32_t)wide;
        memcpy(&word, data + i, 4);
        word ^= narrow;
        memcpy(data + i, &word, 4);
        i += 4;
    }
    for (; i < len; i++)
        data[i] = (char)((uint8_t)data[i] ^ mask[i & 3]);
}

bool gw_ws_close_code_valid(unsigned code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}
