/* chunked.c: chunked bodies, to the letter of RFC 9112 section 7.1. What another program in front of us could read
 * otherwise is refused: a bare LF, a CR inside an extension, blanks after the size, trailers that are no fields. */
#include "http/http1.h"

/* Extensions and trailers of one body, together. */
#define OVERHEAD_MAX 8192

static bool chunk_is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* No control character but the tab: also bytes above 0x7f (obs-text) may occur in values. */
static bool chunk_is_text(char c)
{
    return (unsigned char)c >= 0x20 ? c != 0x7f : c == '\t';
}

/* Each returns the state after `c`, or GW_CHUNK_BAD. */
static enum gw_chunk_state chunk_after_size(char c)
{
    if (c == '\r')
        return GW_CHUNK_LINE_END;
    if (c == ';')
        return GW_CHUNK_EXT_BEGIN;
    return chunk_is_blank(c) ? GW_CHUNK_EXT_BLANK : GW_CHUNK_BAD;
}

static enum gw_chunk_state chunk_extension(enum gw_chunk_state state, char c)
{
    bool token = gw_http_is_token((unsigned char)c);
    switch (state) {
    case GW_CHUNK_EXT_BLANK: /* blanks come before a `;` only */
        return chunk_is_blank(c) ? state : c == ';' ? GW_CHUNK_EXT_BEGIN : GW_CHUNK_BAD;
    case GW_CHUNK_EXT_BEGIN:
        return chunk_is_blank(c) ? state : token ? GW_CHUNK_EXT_NAME : GW_CHUNK_BAD;
    case GW_CHUNK_EXT_NAME:
        if (token)
            return state;
        return c == '=' ? GW_CHUNK_EXT_EQUALS : chunk_is_blank(c) ? GW_CHUNK_EXT_NAMED : chunk_after_size(c);
    case GW_CHUNK_EXT_NAMED:
        if (chunk_is_blank(c))
            return state;
        return c == '=' ? GW_CHUNK_EXT_EQUALS : c == ';' ? GW_CHUNK_EXT_BEGIN : GW_CHUNK_BAD;
    case GW_CHUNK_EXT_EQUALS:
        if (chunk_is_blank(c))
            return state;
        return c == '"' ? GW_CHUNK_EXT_QUOTED : token ? GW_CHUNK_EXT_VALUE : GW_CHUNK_BAD;
    case GW_CHUNK_EXT_VALUE:
        return token ? state : chunk_after_size(c);
    case GW_CHUNK_EXT_QUOTED:
        if (c == '"')
            return GW_CHUNK_EXT_END;
        return c == '\\' ? GW_CHUNK_EXT_PAIR : chunk_is_text(c) ? state : GW_CHUNK_BAD;
    case GW_CHUNK_EXT_PAIR:
        return chunk_is_text(c) ? GW_CHUNK_EXT_QUOTED : GW_CHUNK_BAD;
    default: /* GW_CHUNK_EXT_END */
        return chunk_after_size(c);
    }
}

static enum gw_chunk_state chunk_trailer(enum gw_chunk_state state, char c)
{
    switch (state) {
    case GW_CHUNK_TRAILER:
        return c == '\r'                            ? GW_CHUNK_LAST_END
               : gw_http_is_token((unsigned char)c) ? GW_CHUNK_TRAILER_NAME
                                                    : GW_CHUNK_BAD;
    case GW_CHUNK_TRAILER_NAME:
        return c == ':' ? GW_CHUNK_TRAILER_VALUE : gw_http_is_token((unsigned char)c) ? state : GW_CHUNK_BAD;
    case GW_CHUNK_TRAILER_VALUE:
        return c == '\r' ? GW_CHUNK_TRAILER_END : chunk_is_text(c) ? state : GW_CHUNK_BAD;
    case GW_CHUNK_TRAILER_END:
        return c == '\n' ? GW_CHUNK_TRAILER : GW_CHUNK_BAD;
    default: /* GW_CHUNK_LAST_END */
        return c == '\n' ? GW_CHUNK_DONE : GW_CHUNK_BAD;
    }
}

/* One byte that is no data. Returns 0, -1 or -2 as gw_chunked_feed() does. */
static int chunk_step(struct gw_chunked *chunked, char c, size_t room)
{
    switch (chunked->state) {
    case GW_CHUNK_SIZE:
        if (gw_http_hex(c) >= 0) {
            chunked->left = chunked->left << 4 | (size_t)gw_http_hex(c);
            return ++chunked->digits > 8 ? -2 : 0;
        }
        chunked->state = chunked->digits ? chunk_after_size(c) : GW_CHUNK_BAD;
        break;
    case GW_CHUNK_LINE_END:
        if (c != '\n')
            return -1;
        if (chunked->left > room)
            return -2;
        chunked->digits = 0;
        chunked->state = chunked->left ? GW_CHUNK_DATA : GW_CHUNK_TRAILER;
        return 0;
    case GW_CHUNK_DATA_CR:
        chunked->state = c == '\r' ? GW_CHUNK_DATA_LF : GW_CHUNK_BAD;
        break;
    case GW_CHUNK_DATA_LF:
        chunked->state = c == '\n' ? GW_CHUNK_SIZE : GW_CHUNK_BAD;
        break;
    default:
        if (++chunked->overhead > OVERHEAD_MAX)
            return -1;
        chunked->state = chunked->state >= GW_CHUNK_TRAILER ? chunk_trailer(chunked->state, c)
                                                            : chunk_extension(chunked->state, c);
        break;
    }
    return chunked->state == GW_CHUNK_BAD ? -1 : 0;
}

long gw_chunked_feed(struct gw_chunked *chunked, const char *data, size_t len, size_t max, struct gw_buf *out)
{
    size_t i = 0;
    while (i < len && chunked->state != GW_CHUNK_DONE) {
        if (chunked->state == GW_CHUNK_DATA) {
            size_t part = len - i < chunked->left ? len - i : chunked->left;
            gw_buf_add(out, data + i, part);
            chunked->left -= part;
            i += part;
            if (!chunked->left)
                chunked->state = GW_CHUNK_DATA_CR;
            continue;
        }
        int status = chunk_step(chunked, data[i++], max > out->len ? max - out->len : 0);
        if (status)
            return status;
    }
    return (long)i;
}
