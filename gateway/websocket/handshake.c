/* handshake.c: what a client's handshake says (RFC 6455 section 4.2.1). */
#include "websocket/handshake.h"

#include <openssl/evp.h>
#include <string.h>
#include <strings.h>

/* What the answer's Sec-WebSocket-Accept says of a key. */
static void handshake_accept(struct gw_slice key, char out[32])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char joined[64 + sizeof guid], digest[20];
    memcpy(joined, key.data, key.len);
    memcpy(joined + key.len, guid, sizeof guid - 1);
    EVP_Digest(joined, key.len + sizeof guid - 1, digest, NULL, EVP_sha1(), NULL);
    EVP_EncodeBlock((unsigned char *)out, digest, sizeof digest); /* 28 characters and a NUL */
}

static unsigned handshake_count(const struct gw_request *request, const char *name)
{
    unsigned count = 0;
    for (unsigned i = 0; i < request->header_count; i++) {
        struct gw_slice found = request->headers[i].name;
        count += found.len == strlen(name) && !strncasecmp(found.data, name, found.len);
    }
    return count;
}

/* 16 bytes in base64: 24 characters, the last two of them padding. */
static bool handshake_key_valid(struct gw_slice key)
{
    if (key.len != 24 || key.data[22] != '=' || key.data[23] != '=')
        return false;
    for (size_t i = 0; i < 22; i++) {
        char c = key.data[i];
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/'))
            return false;
    }
    return true;
}

bool gw_ws_accept_key(const struct gw_request *request, char out[32])
{
    struct gw_slice key = gw_request_header(request, "sec-websocket-key");
    if (!handshake_key_valid(key) || handshake_count(request, "sec-websocket-key") != 1)
        return false;
    handshake_accept(key, out);
    return true;
}

static const char *handshake_find_protocol(const char *const *protocols, const char *name, size_t len)
{
    for (; *protocols; protocols++) {
        if (strlen(*protocols) == len && !memcmp(*protocols, name, len))
            return *protocols;
    }
    return NULL;
}

const char *gw_ws_offered(const struct gw_request *request, const char *const *protocols)
{
    for (unsigned i = 0; i < request->header_count; i++) {
        struct gw_slice name = request->headers[i].name, value = request->headers[i].value;
        if (name.len != 22 || strncasecmp(name.data, "sec-websocket-protocol", 22) != 0)
            continue;
        for (size_t at = 0; at < value.len;) {
            while (at < value.len && (value.data[at] == ' ' || value.data[at] == ',' || value.data[at] == '\t'))
                at++;
            size_t start = at;
            while (at < value.len && value.data[at] != ',' && value.data[at] != ' ' && value.data[at] != '\t')
                at++;
            const char *found = handshake_find_protocol(protocols, value.data + start, at - start);
            if (found)
                return found;
        }
    }
    return NULL;
}
