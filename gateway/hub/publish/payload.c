/* payload.c: from what a client publishes to the payload that the broker gets. */
#include "hub/publish/payload.h"

#include <string.h>

#include "base/json_scan.h"
#include "gateway/codec.h"
#include "gateway/transform.h"
#include "route/routes.h"

/* A payload that is sent as it is: what the route would drop on its way back is refused here, where the client gets
 * an error. */
static enum gw_err payload_check(const struct gw_codec *codec, const char *data, size_t len, const char **why)
{
    if (!len)
        return GW_OK;
    struct gw_buf scratch = {0};
    struct gw_decoded decoded;
    enum gw_err err = codec->publishable ? (codec->publishable(data, len) ? GW_OK : GW_ERR_NOT_JSON)
                                         : codec->decode(data, len, &scratch, &decoded);
    gw_buf_fini(&scratch);
    if (err == GW_ERR_NOT_JSON)
        *why = "the data is not valid JSON (names and texts in double quotes, as in {\"state\":\"ON\"}, expected)";
    else if (err == GW_ERR_BAD_PAYLOAD)
        *why = "the payload is none that the codec of this channel's route reads";
    return err;
}

/* By a transform. A payload that is sent as it is is read as the device's would be: it becomes a value first. */
static enum gw_err payload_transform(const struct gw_publish_target *target, const char *data, size_t len, bool json,
                                     struct gw_buf *payload, const char **why)
{
    struct gw_buf scratch = {0};
    struct gw_decoded decoded = {.json = data, .len = len};
    enum gw_err err = GW_OK;
    if (!json && len)
        err = payload_check(target->codec, data, len, why);
    if (!json && !len)
        decoded = (struct gw_decoded){.json = "null", .len = 4};
    else if (!json && err == GW_OK)
        err = target->codec->decode(data, len, &scratch, &decoded);
    struct gw_slice value = gw_json_trim(decoded.json, decoded.len);
    if (err == GW_OK)
        err = target->transform->encode(target->state, &target->captures, value.data, value.len, payload, why);
    gw_buf_fini(&scratch);
    return err;
}

enum gw_err gw_payload_encode(const struct gw_publish_target *target, const char *data, size_t len, bool json,
                              struct gw_buf *payload, const char **why)
{
    if (target->transform)
        return payload_transform(target, data, len, json, payload, why);
    if (!json) {
        gw_buf_add(payload, data, len);
        return payload_check(target->codec, data, len, why);
    }
    struct gw_slice value = gw_json_trim(data, len);
    if (value.len == 4 && !memcmp(value.data, "null", 4))
        return GW_OK;
    return target->codec->encode(value.data, value.len, payload, why);
}
