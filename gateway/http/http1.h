/* http1.h: HTTP/1.1 requests (RFC 9110, RFC 9112) out of bytes. Pure functions; thread: any.
 *
 * libwebsockets has a parser of its own, but by the time it calls back the path is no longer what the client sent
 * (docs/decisions/0001): `a//b` and `a%2F%2Fb` have become `a/b`. */
#ifndef GW_HTTP_HTTP1_H
#define GW_HTTP_HTTP1_H

#include "gateway/transport.h"

/* Looks for a complete request head in data. Returns its length with *out filled (body empty); 0 if more is needed;
 * or minus the HTTP status to refuse it with (400, 431, 501, 505), *why then says in a static phrase what is wrong.
 */
int gw_http_parse(const char *data, size_t len, size_t max, struct gw_request *out, const char **why);

/* RFC 9110 section 5.6.2: may the character be in a token? */
bool gw_http_is_token(unsigned char c);

/* target.c: the value of a hexadecimal digit, or -1. */
int gw_http_hex(char c);

/* chunked.c: chunked bodies (RFC 9112 section 7.1), byte by byte. */
struct gw_chunked {
    enum gw_chunk_state {
        GW_CHUNK_SIZE,
        GW_CHUNK_EXT_BLANK, /* ` ` where a `;` has to follow */
        GW_CHUNK_EXT_BEGIN,
        GW_CHUNK_EXT_NAME,
        GW_CHUNK_EXT_NAMED, /* blanks after the name */
        GW_CHUNK_EXT_EQUALS,
        GW_CHUNK_EXT_VALUE,
        GW_CHUNK_EXT_QUOTED,
        GW_CHUNK_EXT_PAIR, /* after a backslash */
        GW_CHUNK_EXT_END,
        GW_CHUNK_LINE_END, /* LF expected */
        GW_CHUNK_DATA,
        GW_CHUNK_DATA_CR,
        GW_CHUNK_DATA_LF,
        GW_CHUNK_TRAILER, /* at the start of a line */
        GW_CHUNK_TRAILER_NAME,
        GW_CHUNK_TRAILER_VALUE,
        GW_CHUNK_TRAILER_END,
        GW_CHUNK_LAST_END,
        GW_CHUNK_DONE,
        GW_CHUNK_BAD
    } state;
    size_t left;     /* of the chunk's data */
    unsigned digits; /* of the size seen so far */
    size_t overhead; /* bytes of extensions and trailers so far */
};

/* Takes bytes from data, appends body bytes to out. Returns how many were taken (all, unless the body ended:
 * state is then GW_CHUNK_DONE), or -1 if it is malformed, or -2 if the body exceeds max. */
long gw_chunked_feed(struct gw_chunked *chunked, const char *data, size_t len, size_t max, struct gw_buf *out);

const char *gw_http_reason(int status);

#endif
