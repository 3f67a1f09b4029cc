#include "codec/json_pointer.h"

#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"

/* One reference token with ~1 and ~0 undone (RFC 6901 section 4). */
static void pointer_token(const char *at, size_t len, struct gw_buf *out)
{
    gw_buf_clear(out);
    for (size_t i = 0; i < len; i++) {
        if (at[i] == '~' && i + 1 < len && (at[i + 1] == '0' || at[i + 1] == '1'))
            gw_buf_addc(out, at[++i] == '1' ? '/' : '~');
        else
            gw_buf_addc(out, at[i]);
    }
    gw_buf_addc(out, '\0');
}

static bool pointer_step(struct gw_slice *value, const char *token)
{
    if (value->len && value->data[0] == '{')
        return gw_json_find(value->data, value->len, token, value);
    if (!value->len || value->data[0] != '[' || strspn(token, "0123456789") != strlen(token) || !*token ||
        strlen(token) > 9 || (token[0] == '0' && token[1]))
        return false;
    return gw_json_element(value->data, value->len, (size_t)strtoul(token, NULL, 10), value);
}

bool gw_json_pointer(const char *text, size_t len, const char *pointer, struct gw_slice *value)
{
    *value = gw_json_trim(text, len);
    struct gw_buf token = {0};
    bool found = true;
    while (found && *pointer == '/') {
        size_t token_len = strcspn(pointer + 1, "/");
        char plain[64];
        if (token_len < sizeof plain && !memchr(pointer + 1, '~', token_len)) { /* mostly; without allocation */
            memcpy(plain, pointer + 1, token_len);
            plain[token_len] = '\0';
            found = pointer_step(value, plain);
        } else {
            pointer_token(pointer + 1, token_len, &token);
            found = pointer_step(value, token.data);
        }
        pointer += 1 + token_len;
    }
    gw_buf_fini(&token);
    return found;
}
