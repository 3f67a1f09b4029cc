#include "http/forward.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool gw_address_parse(const char *text, size_t len, struct in6_addr *out)
{
    char copy[INET6_ADDRSTRLEN];
    struct in_addr v4;
    if (!len || len >= sizeof copy)
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    if (inet_pton(AF_INET, copy, &v4) == 1) {
        *out = (struct in6_addr)IN6ADDR_ANY_INIT;
        out->s6_addr[10] = out->s6_addr[11] = 0xff;
        memcpy(&out->s6_addr[12], &v4, 4);
        return true;
    }
    return inet_pton(AF_INET6, copy, out) == 1;
}

/* --- who is trusted --------------------------------------------------------------------------------------------- */

static bool forward_in_network(const char *network, const struct in6_addr *address)
{
    struct in6_addr base;
    size_t len = strcspn(network, "/");
    if (!gw_address_parse(network, len, &base))
        return false;
    unsigned bits = 128;
    if (network[len]) /* what the file says counts from the beginning of its own kind of address */
        bits = (unsigned)atoi(network + len + 1) + (memchr(network, ':', len) ? 0 : 96);
    for (unsigned i = 0; i < 16 && bits; i++) {
        unsigned here = bits < 8 ? bits : 8, mask = 0xff00u >> here & 0xff;
        if ((base.s6_addr[i] ^ address->s6_addr[i]) & mask)
            return false;
        bits -= here;
    }
    return true;
}

bool gw_forward_trusted(const struct gw_strings *trusted, const struct in6_addr *address)
{
    bool is_unix = IN6_IS_ADDR_UNSPECIFIED(address);
    for (size_t i = 0; i < trusted->count; i++) {
        const char *item = trusted->items[i];
        if (is_unix ? !strcmp(item, "unix") : strcmp(item, "unix") != 0 && forward_in_network(item, address))
            return true;
    }
    return false;
}

/* --- X-Forwarded-… ---------------------------------------------------------------------------------------------- */

static bool forward_name_is(struct gw_slice name, const char *text)
{
    return name.len == strlen(text) && !strncasecmp(name.data, text, name.len);
}

/* The last element of a list, which is cut off it. False: it is empty. */
static bool forward_last(struct gw_slice *list, struct gw_slice *out)
{
    while (list->len && strchr(", \t", list->data[list->len - 1]))
        list->len--;
    if (!list->len)
        return false;
    size_t start = list->len;
    while (start && list->data[start - 1] != ',')
        start--;
    *out = (struct gw_slice){list->data + start, list->len - start};
    list->len = start;
    while (out->len && (*out->data == ' ' || *out->data == '\t'))
        out->data++, out->len--;
    return true;
}

/* 192.0.2.1, 192.0.2.1:4711, 2001:db8::1, [2001:db8::1]:4711 */
static bool forward_hop(struct gw_slice text, struct in6_addr *out)
{
    if (text.len && text.data[0] == '[') {
        const char *close = memchr(text.data, ']', text.len);
        return close && gw_address_parse(text.data + 1, (size_t)(close - text.data) - 1, out);
    }
    const char *colon = memchr(text.data, ':', text.len);
    if (colon && !memchr(colon + 1, ':', text.len - (size_t)(colon + 1 - text.data)))
        text.len = (size_t)(colon - text.data);
    return gw_address_parse(text.data, text.len, out);
}

void gw_forward_address(const struct gw_request *request, const struct gw_strings *trusted, struct in6_addr *address)
{
    for (unsigned i = request->header_count; i-- > 0;) {
        if (!forward_name_is(request->headers[i].name, "x-forwarded-for"))
            continue;
        struct gw_slice list = request->headers[i].value, hop;
        struct in6_addr found;
        while (forward_last(&list, &hop)) {
            if (!forward_hop(hop, &found))
                return; /* beyond what can't be read nothing is known */
            *address = found;
            if (!gw_forward_trusted(trusted, &found))
                return;
        }
    }
}

bool gw_forward_secure(const struct gw_request *request)
{
    for (unsigned i = request->header_count; i-- > 0;) {
        struct gw_slice list = request->headers[i].value, last;
        if (forward_name_is(request->headers[i].name, "x-forwarded-proto") && forward_last(&list, &last))
            return forward_name_is(last, "https");
    }
    return false;
}

/* --- the PROXY header ------------------------------------------------------------------------------------------- */

/* `PROXY TCP4 192.0.2.1 198.51.100.1 4711 443` and CRLF, 107 bytes at most. */
static int proxy_parse_v1(const char *data, size_t len, struct gw_proxy_header *out)
{
    const char *end = memchr(data, '\n', len < 107 ? len : 107);
    if (!end)
        return len < 107 ? 0 : -1;
    if (end[-1] != '\r')
        return -1;
    const char *at = data + 6;
    size_t left = (size_t)(end - 1 - at);
    if (left >= 7 && !memcmp(at, "UNKNOWN", 7))
        return (int)(end + 1 - data);
    if (left < 5 || (memcmp(at, "TCP4 ", 5) != 0 && memcmp(at, "TCP6 ", 5) != 0))
        return -1;
    const char *space = memchr(at + 5, ' ', left - 5);
    if (!space || !gw_address_parse(at + 5, (size_t)(space - at) - 5, &out->address))
        return -1;
    out->has_address = true;
    return (int)(end + 1 - data);
}

#define PP2_TYPE_SSL   0x20
#define PP2_CLIENT_SSL 0x01

static void proxy_read_tlvs(const unsigned char *at, size_t len, struct gw_proxy_header *out)
{
    while (len >= 3) {
        size_t size = (size_t)at[1] << 8 | at[2];
        if (size > len - 3)
            return;
        if (at[0] == PP2_TYPE_SSL && size)
            out->secure = at[3] & PP2_CLIENT_SSL;
        at += 3 + size;
        len -= 3 + size;
    }
}

static int proxy_parse_v2(const char *data, size_t len, struct gw_proxy_header *out)
{
    if (len < 16)
        return 0;
    const unsigned char *bytes = (const unsigned char *)data;
    size_t size = (size_t)bytes[14] << 8 | bytes[15];
    if (bytes[12] >> 4 != 2 || (bytes[12] & 15) > 1 || 16 + size > GW_PROXY_HEADER_MAX)
        return -1;
    if (len < 16 + size)
        return 0;
    size_t addresses = 0;
    switch (bytes[13]) {
    case 0x11: /* TCP over IPv4 */
        addresses = 12;
        break;
    case 0x21: /* TCP over IPv6 */
        addresses = 36;
        break;
    default:
        break;
    }
    if ((bytes[12] & 15) == 0 || !addresses) /* LOCAL: the proxy's own; or a Unix socket, or what we can't know */
        return (int)(16 + size);
    if (size < addresses)
        return -1;
    if (addresses == 12) {
        out->address = (struct in6_addr)IN6ADDR_ANY_INIT;
        out->address.s6_addr[10] = out->address.s6_addr[11] = 0xff;
        memcpy(&out->address.s6_addr[12], bytes + 16, 4);
    } else {
        memcpy(&out->address, bytes + 16, 16);
    }
    out->has_address = true;
    proxy_read_tlvs(bytes + 16 + addresses, size - addresses, out);
    return (int)(16 + size);
}

int gw_proxy_parse(const char *data, size_t len, struct gw_proxy_header *out)
{
    static const char v1[] = "PROXY ", v2[] = "\r\n\r\n\0\r\nQUIT\n";
    *out = (struct gw_proxy_header){.has_address = false};
    size_t v1_len = len < 6 ? len : 6, v2_len = len < 12 ? len : 12;
    if (!memcmp(data, v1, v1_len))
        return len < 6 ? 0 : proxy_parse_v1(data, len, out);
    if (!memcmp(data, v2, v2_len))
        return len < 12 ? 0 : proxy_parse_v2(data, len, out);
    return -1;
}
