#include "gateway/media.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/base64.h"
#include "base/json_scan.h"
#include "gateway/alloc.h"
#include "gateway/utf8.h"

#define TAG_BYTES 12
#define TYPE_MAX  127

/* --- types ------------------------------------------------------------------------------------------------------ */

/* RFC 9110 section 5.6.2. */
static size_t media_token(const char *text, size_t len)
{
    static const char chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~";
    size_t at = 0;
    while (at < len && memchr(chars, text[at], sizeof chars - 1))
        at++;
    return at;
}

/* `; name=value` any number of times. */
static bool media_parameters(const char *text, size_t len)
{
    size_t at = 0;
    while (at < len) {
        if (text[at++] != ';')
            return false;
        while (at < len && text[at] == ' ')
            at++;
        size_t name = media_token(text + at, len - at);
        at += name;
        if (!name || at == len || text[at++] != '=')
            return false;
        size_t value = media_token(text + at, len - at);
        at += value;
        if (!value)
            return false;
        while (at < len && text[at] == ' ')
            at++;
    }
    return true;
}

static bool media_is(const char *text, size_t len, const char *name)
{
    return strlen(name) == len && !strncasecmp(text, name, len);
}

static bool media_begins(const char *text, size_t len, const char *prefix)
{
    return len > strlen(prefix) && !strncasecmp(text, prefix, strlen(prefix));
}

static bool media_is_xml(const char *text, size_t len)
{
    return (len > 4 && !strncasecmp(text + len - 4, "+xml", 4)) || media_is(text, len, "image/svg");
}

bool gw_media_type_allowed(const char *text, size_t len)
{
    static const char *const data[] = {
        "text/plain",
        "text/csv",
        "application/octet-stream",
        "application/json",
        "application/x-ndjson",
        "application/cbor",
        "application/msgpack",
        "application/x-msgpack",
        "application/protobuf",
        "application/x-protobuf",
        "application/pdf",
        "application/gzip",
        "application/zip",
    };
    size_t type = media_token(text, len);
    if (len > TYPE_MAX || !type || type == len || text[type] != '/')
        return false;
    size_t whole = type + 1 + media_token(text + type + 1, len - type - 1);
    if (whole == type + 1 || !media_parameters(text + whole, len - whole) || media_is_xml(text, whole))
        return false;
    if (media_begins(text, whole, "image/") || media_begins(text, whole, "audio/") ||
        media_begins(text, whole, "video/") || media_begins(text, whole, "application/vnd."))
        return true;
    for (size_t i = 0; i < sizeof data / sizeof *data; i++) {
        if (media_is(text, whole, data[i]))
            return true;
    }
    return false;
}

/* WHATWG MIME Sniffing, "binary data byte": such are in no text. */
static bool media_is_text(const char *payload, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)payload[i];
        if (c < 0x20 && c != '\t' && c != '\n' && c != '\f' && c != '\r' && c != 0x1b)
            return false;
    }
    return gw_utf8_valid(payload, len);
}

const char *gw_media_sniff(const char *payload, size_t len)
{
    static const struct {
        size_t at, len;
        const char *bytes, *type;
    } signatures[] = {
        {0, 3, "\xff\xd8\xff", "image/jpeg"}, {0, 8, "\x89PNG\r\n\x1a\n", "image/png"}, {0, 6, "GIF87a", "image/gif"},
        {0, 6, "GIF89a", "image/gif"},        {8, 6, "WEBPVP", "image/webp"}, /* after RIFF and a length */
    };
    for (size_t i = 0; i < sizeof signatures / sizeof *signatures; i++) {
        size_t end = signatures[i].at + signatures[i].len;
        if (len >= end && !memcmp(payload + signatures[i].at, signatures[i].bytes, signatures[i].len) &&
            (!signatures[i].at || !memcmp(payload, "RIFF", 4)))
            return signatures[i].type;
    }
    if (gw_json_valid(payload, len))
        return "application/json";
    return media_is_text(payload, len) ? "text/plain; charset=utf-8" : "application/octet-stream";
}

/* What the device says that it is. The only place where MQTT 5's content type is read. */
static struct gw_slice media_declared(struct gw_slice properties)
{
    struct gw_slice type = gw_properties_find(properties, GW_PROPERTY_CONTENT_TYPE);
    return type.len && gw_media_type_allowed(type.data, type.len) ? type : (struct gw_slice){0};
}

struct gw_slice gw_media_type(const char *of_route, struct gw_slice properties, const char *payload, size_t len)
{
    if (of_route)
        return (struct gw_slice){of_route, strlen(of_route)};
    struct gw_slice declared = properties.len ? media_declared(properties) : (struct gw_slice){0};
    if (declared.len)
        return declared;
    const char *sniffed = gw_media_sniff(payload, len);
    return (struct gw_slice){sniffed, strlen(sniffed)};
}

bool gw_media_is_picture(struct gw_slice type)
{
    return media_begins(type.data, type.len, "image/");
}

/* --- tags ------------------------------------------------------------------------------------------------------- */

void gw_media_tag(const char *payload, size_t len, char tag[GW_MEDIA_TAG])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    struct gw_buf text = {0};
    if (!EVP_Digest(payload, len, digest, NULL, EVP_sha256(), NULL))
        abort(); /* it has no way to fail but for a lack of memory */
    gw_base64url_encode(&text, digest, TAG_BYTES);
    memcpy(tag, text.data, GW_MEDIA_TAG - 1);
    tag[GW_MEDIA_TAG - 1] = '\0';
    gw_buf_fini(&text);
}

struct tagged {
    struct gw_variant variant; /* first member */
    char tag[GW_MEDIA_TAG];
};

static const char tagged_key; /* its address is the key */

static void tagged_destroy(struct gw_variant *variant)
{
    free(variant);
}

const char *gw_media_tag_of(struct gw_message *msg)
{
    struct gw_variant *known = gw_message_variant(msg, &tagged_key);
    if (!known) {
        struct tagged *tagged = gw_malloc(sizeof *tagged);
        tagged->variant = (struct gw_variant){.key = &tagged_key, .destroy = tagged_destroy};
        gw_media_tag(msg->payload.data, msg->payload.len, tagged->tag);
        known = gw_message_keep_variant(msg, &tagged->variant);
    }
    return ((const struct tagged *)known)->tag;
}

/* Proxies take empty levels out of a path, and browsers `.` and `..`, unless the slashes around them are encoded. */
static bool media_level_is_odd(const char *name, size_t from, size_t len)
{
    const char *slash = memchr(name + from, '/', len - from);
    size_t level = slash ? (size_t)(slash - name) - from : len - from;
    return !level || (level == 1 && name[from] == '.') || (level == 2 && !memcmp(name + from, "..", 2));
}

void gw_media_address(struct gw_buf *out, const char *channel, size_t len, const char *tag)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/";
    gw_buf_adds(out, "channels/");
    size_t level = 0; /* where it begins */
    for (size_t i = 0; i < len; i++) {
        bool odd =
            channel[i] == '/' && (media_level_is_odd(channel, level, len) || media_level_is_odd(channel, i + 1, len));
        if (memchr(plain, channel[i], sizeof plain - 1) && !odd)
            gw_buf_addc(out, channel[i]);
        else
            gw_buf_printf(out, "%%%02X", (unsigned char)channel[i]);
        if (channel[i] == '/')
            level = i + 1;
    }
    gw_buf_printf(out, "/raw?v=%s", tag);
}
