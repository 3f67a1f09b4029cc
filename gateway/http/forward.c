/* forward.c: X-Forwarded-For and X-Forwarded-Proto. */
#include "http/forward.h"

#include <string.h>
#include <strings.h>

#include "net/address.h"

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
            if (!gw_address_trusted(trusted, &found))
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
