/* target.c: what a request's target says: its path and the parameters of its query, percent-decoded (RFC 3986 section
 * 2.1). */
#include <string.h>

#include "http/http1.h"

int gw_http_hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A byte that is in no UTF-8 text stands for a plain `+` until the whole value is known. */
#define PLUS '\xff'

static bool target_decode(const char *text, size_t len, bool plus, struct gw_buf *out)
{
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (c == '%') {
            if (len - i < 3 || gw_http_hex(text[i + 1]) < 0 || gw_http_hex(text[i + 2]) < 0)
                return false;
            c = (char)(gw_http_hex(text[i + 1]) << 4 | gw_http_hex(text[i + 2]));
            i += 2;
            if (c == PLUS)
                return false;
        } else if (c == '+' && plus) {
            c = PLUS;
        }
        gw_buf_addc(out, c);
    }
    return true;
}

static void target_resolve_plus(struct gw_buf *value)
{
    for (size_t i = 0; i < value->len; i++) {
        if (value->data[i] != PLUS)
            continue;
        bool starts = i == 0 || value->data[i - 1] == '/';
        bool ends = i + 1 == value->len || value->data[i + 1] == '/';
        value->data[i] = starts && ends ? '+' : ' ';
    }
}

bool gw_params_next(struct gw_params *params)
{
    struct gw_slice *left = &params->query;
    while (left->len) {
        const char *start = left->data, *amp = memchr(start, '&', left->len);
        size_t len = amp ? (size_t)(amp - start) : left->len;
        left->data += len + (amp != NULL);
        left->len -= len + (amp != NULL);
        if (!len)
            continue;
        const char *equals = memchr(start, '=', len);
        size_t key_len = equals ? (size_t)(equals - start) : len;
        gw_buf_clear(&params->key);
        gw_buf_clear(&params->value);
        gw_buf_reserve(&params->key, 0)[0] = '\0';
        gw_buf_reserve(&params->value, 0)[0] = '\0';
        if (!target_decode(start, key_len, false, &params->key) ||
            (equals && !target_decode(equals + 1, len - key_len - 1, true, &params->value))) {
            params->bad = true;
            return false;
        }
        target_resolve_plus(&params->value);
        return true;
    }
    return false;
}

const char *gw_params_end(struct gw_params *params, const char *why)
{
    gw_buf_fini(&params->key);
    gw_buf_fini(&params->value);
    return why ? why : params->bad ? "the query has a broken percent-encoding" : NULL;
}

bool gw_request_path_after(const struct gw_request *request, const char *prefix, struct gw_buf *rest, bool *bad)
{
    size_t len = strlen(prefix);
    *bad = false;
    if (request->path.len < len || memcmp(request->path.data, prefix, len) != 0)
        return false;
    *bad = !target_decode(request->path.data + len, request->path.len - len, false, rest);
    return !*bad;
}

bool gw_request_path_is(const struct gw_request *request, const char *path)
{
    return request->path.len == strlen(path) && !memcmp(request->path.data, path, request->path.len);
}
