/* What a proxy says: the PROXY header, in pieces too, and X-Forwarded-… in a request. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http/forward.h"
#include "http/http1.h"
#include "net/address.h"
#include "net/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char *networks[] = {"10.0.0.0/8", "2001:db8::/33", "unix", "192.0.2.1"};
    const struct gw_strings trusted = {networks, 4};
    const char *text = (const char *)data, *why;
    struct gw_proxy_header header;
    int len = size ? gw_proxy_parse(text, size, &header) : 0;
    if (len > (int)size || len > GW_PROXY_HEADER_MAX)
        abort();
    for (int i = 1; i < len; i += len / 16 + 1) { /* a piece of it asks for more, and is not refused */
        char *piece = malloc((size_t)i);
        memcpy(piece, text, (size_t)i);
        struct gw_proxy_header other;
        if (gw_proxy_parse(piece, (size_t)i, &other) != 0)
            abort();
        free(piece);
    }
    struct gw_request request;
    if (gw_http_parse(text, size, 4096, &request, &why) > 0) {
        struct in6_addr address = IN6ADDR_ANY_INIT;
        gw_forward_address(&request, &trusted, &address);
        gw_forward_secure(&request);
        gw_address_trusted(&trusted, &address);
    }
    return 0;
}
