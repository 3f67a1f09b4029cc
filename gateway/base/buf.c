#include "gateway/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digits.h"
#include "gateway/alloc.h"

void gw_buf_fini(struct gw_buf *buf)
{
    free(buf->data);
    *buf = (struct gw_buf){0};
}

void gw_buf_clear(struct gw_buf *buf)
{
    buf->len = 0;
    if (buf->data)
        buf->data[0] = '\0';
}

static void buf_grow(struct gw_buf *buf, size_t need)
{
    size_t cap = buf->cap ? buf->cap : 64;
    while (cap < need)
        cap *= 2;
    buf->data = gw_reallocarray(buf->data, cap, 1);
    buf->cap = cap;
}

/* Inline, because every message's text is put together of pieces that mostly fit. */
static inline char *buf_reserve(struct gw_buf *buf, size_t more)
{
    size_t need = buf->len + more + 1;
    if (need > buf->cap)
        buf_grow(buf, need);
    return buf->data + buf->len;
}

char *gw_buf_reserve(struct gw_buf *buf, size_t more)
{
    return buf_reserve(buf, more);
}

void gw_buf_add(struct gw_buf *buf, const void *data, size_t len)
{
    char *to = buf_reserve(buf, len);
    if (len)
        memcpy(to, data, len);
    to[len] = '\0';
    buf->len += len;
}

void gw_buf_adds(struct gw_buf *buf, const char *text)
{
    gw_buf_add(buf, text, strlen(text));
}

void gw_buf_addc(struct gw_buf *buf, char c)
{
    char *to = buf_reserve(buf, 1);
    to[0] = c;
    to[1] = '\0';
    buf->len++;
}

void gw_buf_addu(struct gw_buf *buf, uint64_t number)
{
    char digits[GW_DIGITS_MAX];
    size_t at = gw_digits(digits, number);
    gw_buf_add(buf, digits + at, sizeof digits - at);
}

void gw_buf_vprintf(struct gw_buf *buf, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    size_t room = 128;
    char *to = gw_buf_reserve(buf, room);
    int len = vsnprintf(to, room + 1, format, args);
    if (len > (int)room) {
        to = gw_buf_reserve(buf, (size_t)len);
        vsnprintf(to, (size_t)len + 1, format, again);
    }
    va_end(again);
    if (len > 0)
        buf->len += (size_t)len;
}

void gw_buf_printf(struct gw_buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    gw_buf_vprintf(buf, format, args);
    va_end(args);
}

void gw_buf_add_json_string(struct gw_buf *buf, const char *text, size_t len)
{
    static const char hex[] = "0123456789abcdef";

    gw_buf_reserve(buf, len + 2); /* at once what is needed where nothing is escaped */
    gw_buf_addc(buf, '"');
    size_t plain = 0; /* start of the run not yet copied */
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        gw_buf_add(buf, text + plain, i - plain);
        plain = i + 1;
        switch (c) {
        case '"':
            gw_buf_add(buf, "\\\"", 2);
            break;
        case '\\':
            gw_buf_add(buf, "\\\\", 2);
            break;
        case '\n':
            gw_buf_add(buf, "\\n", 2);
            break;
        case '\r':
            gw_buf_add(buf, "\\r", 2);
            break;
        case '\t':
            gw_buf_add(buf, "\\t", 2);
            break;
        default: {
            char escape[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
            gw_buf_add(buf, escape, sizeof escape);
        }
        }
    }
    gw_buf_add(buf, text + plain, len - plain);
    gw_buf_addc(buf, '"');
}

void gw_buf_consume(struct gw_buf *buf, size_t len)
{
    if (!len)
        return;
    memmove(buf->data, buf->data + len, buf->len - len);
    buf->len -= len;
    buf->data[buf->len] = '\0';
}

char *gw_buf_take(struct gw_buf *buf)
{
    gw_buf_reserve(buf, 0)[0] = '\0';
    char *data = buf->data;
    *buf = (struct gw_buf){0};
    return data;
}
