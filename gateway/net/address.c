/* address.c: numeric addresses of clients. */
#include "net/address.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

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

void gw_address_format(const struct in6_addr *address, char out[INET6_ADDRSTRLEN])
{
    out[0] = '\0';
    if (IN6_IS_ADDR_V4MAPPED(address))
        inet_ntop(AF_INET, &address->s6_addr[12], out, INET6_ADDRSTRLEN);
    else
        inet_ntop(AF_INET6, address, out, INET6_ADDRSTRLEN);
}

static bool address_in_network(const char *network, const struct in6_addr *address)
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

bool gw_address_trusted(const struct gw_strings *trusted, const struct in6_addr *address)
{
    bool is_unix = IN6_IS_ADDR_UNSPECIFIED(address);
    for (size_t i = 0; i < trusted->count; i++) {
        const char *item = trusted->items[i];
        if (is_unix ? !strcmp(item, "unix") : strcmp(item, "unix") != 0 && address_in_network(item, address))
            return true;
    }
    return false;
}
