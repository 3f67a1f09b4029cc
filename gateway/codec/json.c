/* json.c: codec `json`: valid JSON passes as it is; anything else is refused. And `lenient`: what devices send for
 * JSON is made JSON. */
#include "base/json_mend.h"
#include "base/json_scan.h"
#include "gateway/codec.h"

static enum gw_err json_decode(const char *payload, size_t len, struct gw_buf *scratch, struct gw_decoded *out)
{
    (void)scratch;
    if (!gw_json_valid(payload, len))
        return GW_ERR_NOT_JSON;
    *out = (struct gw_decoded){.json = payload, .len = len};
    return GW_OK;
}

static void json_explain(const char *payload, size_t len, struct gw_buf *out)
{
    struct gw_json_flaw first, last;
    struct gw_buf mended = {0};
    bool could = gw_json_mend(payload, len, &mended, &first, &last);
    gw_json_flaw_describe(&first, out);
    if (could)
        gw_buf_adds(out, " (codec: lenient takes it)");
    gw_buf_fini(&mended);
}

static enum gw_err json_encode(const char *json, size_t len, struct gw_buf *out, const char **why)
{
    (void)why;
    gw_buf_add(out, json, len);
    return GW_OK;
}

const struct gw_codec gw_codec_json = {
    .name = "json", .decode = json_decode, .explain = json_explain, .encode = json_encode};

static enum gw_err lenient_decode(const char *payload, size_t len, struct gw_buf *scratch, struct gw_decoded *out)
{
    struct gw_json_flaw first, last;
    if (gw_json_valid(payload, len)) {
        *out = (struct gw_decoded){.json = payload, .len = len};
        return GW_OK;
    }
    if (!gw_json_mend(payload, len, scratch, &first, &last))
        return GW_ERR_NOT_JSON;
    *out = (struct gw_decoded){.json = scratch->data, .len = scratch->len, .replaces = true};
    return GW_OK;
}

static void lenient_explain(const char *payload, size_t len, struct gw_buf *out)
{
    struct gw_json_flaw first, last;
    struct gw_buf mended = {0};
    (void)gw_json_mend(payload, len, &mended, &first, &last);
    gw_json_flaw_describe(&last, out);
    gw_buf_fini(&mended);
}

/* Devices are forgiven, programs are not. */
static bool lenient_publishable(const char *payload, size_t len)
{
    return gw_json_valid(payload, len);
}

const struct gw_codec gw_codec_lenient = {.name = "lenient",
                                          .decode = lenient_decode,
                                          .explain = lenient_explain,
                                          .publishable = lenient_publishable,
                                          .encode = json_encode};
