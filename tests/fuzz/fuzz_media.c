/* A Range header, a media type, a channel's name and a payload: a line, and what comes behind it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/media.h"
#include "http/range.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data, *end = size ? memchr(text, '\n', size) : NULL;
    size_t line = end ? (size_t)(end - text) : size, rest = end ? size - line - 1 : 0, from, len;
    const char *payload = end ? end + 1 : text;
    if (gw_range_read((struct gw_slice){text, line}, rest, &from, &len) == GW_RANGE_PART &&
        (!len || from >= rest || len > rest - from))
        abort();
    if (gw_media_type_allowed(text, line) && (memchr(text, '\r', line) || memchr(text, ',', line) || line > 127))
        abort();
    const char *sniffed = gw_media_sniff(payload, rest);
    if (!gw_media_type_allowed(sniffed, strlen(sniffed)))
        abort();
    if (!line)
        return 0; /* no channel has an empty name */
    struct gw_buf address = {0};
    gw_media_address(&address, text, line, "T");
    if (strstr(address.data, "//") || strpbrk(address.data, "\" \r\n#"))
        abort();
    gw_buf_fini(&address);
    return 0;
}
