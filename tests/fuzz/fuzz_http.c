/* HTTP requests, their URLs, and chunked bodies. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/utf8.h"
#include "http/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data, *why = NULL;
    struct gw_request request;
    int head = gw_http_parse(text, size, 4096, &request, &why);
    if (head < 0 && !why)
        abort();
    if (head > 0) {
        if ((size_t)head > size)
            abort();
        struct gw_params params = {.query = request.query};
        struct gw_buf rest = {0};
        bool bad;
        while (gw_params_next(&params)) {
            if (params.query.len >= request.query.len || strlen(params.value.data) > params.value.len)
                abort();
        }
        gw_params_end(&params, NULL);
        gw_request_path_after(&request, "/channels/", &rest, &bad);
        gw_buf_fini(&rest);
        struct gw_chunked chunked = {0};
        struct gw_buf body = {0};
        long taken = gw_chunked_feed(&chunked, text + head, size - (size_t)head, 1000, &body);
        if (taken > (long)size - head || body.len > 1000)
            abort();
        gw_buf_fini(&body);
    }
    return 0;
}
