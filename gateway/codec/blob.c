/* blob.c: codec `blob`: pictures and the like. `data` says where the payload is, what it is and how large, so that
 * clients fetch it once and from their caches afterwards; MQTT clients and raw sockets get the payload itself. */
#include "gateway/codec.h"
#include "gateway/media.h"

extern const struct gw_codec gw_codec_base64;

/* Without a channel there is no address: answers to requests are `auto` then. */
static enum gw_err blob_decode(const char *payload, size_t len, struct gw_buf *scratch, struct gw_decoded *out)
{
    (void)payload, (void)len, (void)scratch, (void)out;
    return GW_ERR_UNSUPPORTED;
}

static enum gw_err blob_decode_at(const char *payload, size_t len, const struct gw_codec_place *place,
                                  struct gw_buf *scratch, struct gw_decoded *out)
{
    char tag[GW_MEDIA_TAG];
    struct gw_slice type = gw_media_type(place->content_type, place->properties, payload, len);
    gw_media_tag(payload, len, tag);
    gw_buf_adds(scratch, "{\"url\":\"");
    gw_media_address(scratch, place->channel, place->channel_len, tag);
    gw_buf_adds(scratch, "\",\"type\":");
    gw_buf_add_json_string(scratch, type.data, type.len);
    gw_buf_printf(scratch, ",\"bytes\":%zu}", len);
    *out = (struct gw_decoded){.json = scratch->data, .len = scratch->len, .binary = true};
    return GW_OK;
}

static bool blob_publishable(const char *payload, size_t len)
{
    (void)payload, (void)len;
    return true;
}

static enum gw_err blob_encode(const char *json, size_t len, struct gw_buf *out, const char **why)
{
    return gw_codec_base64.encode(json, len, out, why);
}

const struct gw_codec gw_codec_blob = {.name = "blob",
                                       .decode = blob_decode,
                                       .decode_at = blob_decode_at,
                                       .publishable = blob_publishable,
                                       .encode = blob_encode};
