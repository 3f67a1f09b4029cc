/* wsframe.c: the client's half of RFC 6455, as far as a load generator needs it: no fragments, masks of zeros. */
#include <stdio.h>
#include <string.h>

#include "loadgen.h"

void ws_upgrade(struct client *client, const char *path, const char *subprotocol)
{
    say_text(client,
             "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s%s%s\r\n",
             path, options.port, subprotocol ? "Sec-WebSocket-Protocol: " : "", subprotocol ? subprotocol : "",
             subprotocol ? "\r\n" : "");
}

void ws_say(struct client *client, int opcode, const void *data, size_t len)
{
    unsigned char frame[8 + 1024] = {(unsigned char)(0x80 | opcode)};
    if (len > sizeof frame - 8)
        die("a client's frame is too long");
    size_t head = len < 126 ? 6 : 8;
    if (len < 126) {
        frame[1] = (unsigned char)(0x80 | len);
    } else {
        frame[1] = 0x80 | 126;
        frame[2] = (unsigned char)(len >> 8);
        frame[3] = (unsigned char)len;
    }
    memcpy(frame + head, data, len);
    say(client, frame, head + len);
}

size_t ws_frame(struct client *client, char *data, size_t len, int *opcode, char **text, size_t *text_len)
{
    const unsigned char *at = (const unsigned char *)data;
    if (len < 2)
        return 0;
    size_t size = at[1] & 0x7f, head = 2;
    if (size == 126) {
        head = 4;
        if (len < head)
            return 0;
        size = (size_t)at[2] << 8 | at[3];
    } else if (size == 127) {
        head = 10;
        if (len < head)
            return 0;
        size = 0;
        for (int i = 2; i < 10; i++)
            size = size << 8 | at[i];
    }
    if (len < head + size)
        return 0;
    if (!(at[0] & 0x80) || at[0] & 0x70 || at[1] & 0x80)
        die("a frame that is fragmented, compressed or masked: %02x %02x", at[0], at[1]);
    *opcode = at[0] & 0x0f;
    *text = data + head;
    *text_len = size;
    if (*opcode == 9)
        ws_say(client, 10, *text, size);
    if (*opcode == 8)
        die("the server closes a WebSocket: %.*s", size > 2 ? (int)size - 2 : 0, *text + 2);
    return head + size;
}

size_t ws_accepted(const char *data, size_t len)
{
    return http_head(data, len, 101);
}
