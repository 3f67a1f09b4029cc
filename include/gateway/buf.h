/* buf.h: a growable byte buffer; {0} is an empty one. The content is always followed by a NUL that `len` does not
 * count.
 *
 * Thread: whoever owns the buffer. A failed allocation ends the process (gw_alloc.h): a gateway that can't get a
 * few kilobytes can't keep any promise, and every larger growth is bounded by configuration before it gets here. */
#ifndef GATEWAY_BUF_H
#define GATEWAY_BUF_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that belong to somebody else. */
struct gw_slice {
    const char *data;
    size_t len;
};

struct gw_buf {
    char *data; /* owned; NULL until something is put in */
    size_t len; /* bytes in use */
    size_t cap; /* bytes allocated, the closing NUL included */
};

void gw_buf_init(struct gw_buf *buf);
void gw_buf_fini(struct gw_buf *buf);

/* Forgets the content, keeps the storage. */
void gw_buf_clear(struct gw_buf *buf);

/* Makes room for `more` bytes beyond len and returns where to write them; the caller then adds to len. */
char *gw_buf_reserve(struct gw_buf *buf, size_t more);

void gw_buf_add(struct gw_buf *buf, const void *data, size_t len);
void gw_buf_adds(struct gw_buf *buf, const char *text);
void gw_buf_addc(struct gw_buf *buf, char c);
void gw_buf_addu(struct gw_buf *buf, uint64_t number);
void gw_buf_printf(struct gw_buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
void gw_buf_vprintf(struct gw_buf *buf, const char *format, va_list args) __attribute__((format(printf, 2, 0)));

/* Adds `text` as a JSON string with its quotes (RFC 8259 section 7). `text` must be UTF-8. U+2028 and U+2029 pass
 * through: they are legal in JSON. */
void gw_buf_add_json_string(struct gw_buf *buf, const char *text, size_t len);

/* Removes `len` bytes from the front. */
void gw_buf_consume(struct gw_buf *buf, size_t len);

/* The buffer with its content; *from is empty afterwards. */
static inline struct gw_buf gw_buf_move(struct gw_buf *from)
{
    struct gw_buf moved = *from;
    *from = (struct gw_buf){0};
    return moved;
}

/* Takes the content out as a malloc'd NUL-terminated string; the buffer is empty afterwards. Caller frees. */
char *gw_buf_take(struct gw_buf *buf);

#endif
