/* packet.c: packets of Engine.IO 4 and Socket.IO 5. */
#include "socketio/packet.h"

#include <string.h>

#include "base/base64.h"
#include "base/json_scan.h"
#include "socketio/options.h"

/* Longer ids are no numbers that JavaScript counts up to (2^53). */
#define ID_DIGITS_MAX 16

bool gw_eio_next(const char *payload, size_t len, size_t *at, struct gw_slice *packet)
{
    if (*at > len)
        return false;
    const char *start = payload + *at, *end = memchr(start, GW_EIO_SEPARATOR, len - *at);
    size_t size = end ? (size_t)(end - start) : len - *at;
    *packet = (struct gw_slice){start, size};
    *at += size + 1;
    return true;
}

static bool packet_is_digit(const char *text, size_t len, size_t at)
{
    return at < len && text[at] >= '0' && text[at] <= '9';
}

/* Digits and a "-", as binary packets have them. */
static const char *packet_attachments(const char *text, size_t len, size_t *at, unsigned *count)
{
    *count = 0;
    size_t start = *at;
    for (; packet_is_digit(text, len, *at); ++*at) {
        *count = *count * 10 + (unsigned)(text[*at] - '0');
        if (*count > GW_SIO_ATTACHMENTS_MAX)
            return "the packet has more than 10 attachments";
    }
    if (*at == start || *at >= len || text[*at] != '-')
        return "a binary packet does not say how many attachments it has";
    ++*at;
    return NULL;
}

static void packet_space(const char *text, size_t len, size_t *at, struct gw_slice *space)
{
    *space = (struct gw_slice){"/", 1};
    if (*at >= len || text[*at] != '/')
        return;
    const char *comma = memchr(text + *at, ',', len - *at);
    size_t size = comma ? (size_t)(comma - text) - *at : len - *at;
    *space = (struct gw_slice){text + *at, size};
    *at += size + (comma != NULL);
}

static const char *packet_id(const char *text, size_t len, size_t *at, struct gw_sio_packet *out)
{
    size_t start = *at;
    out->id = 0;
    for (; packet_is_digit(text, len, *at); ++*at) {
        if (*at - start >= ID_DIGITS_MAX)
            return "the id of the packet is too long";
        out->id = out->id * 10 + (uint64_t)(text[*at] - '0');
    }
    out->has_id = *at > start;
    return NULL;
}

/* An event is an array that begins with its name. */
static const char *packet_check_event(struct gw_slice json)
{
    struct gw_slice name;
    if (json.data[0] != '[' || !gw_json_element(json.data, json.len, 0, &name))
        return "an event is not an array that begins with its name";
    if (name.data[0] == '-' || (name.data[0] >= '0' && name.data[0] <= '9'))
        return NULL;
    if (name.data[0] != '"')
        return "the name of an event is neither a string nor a number";
    struct gw_buf text = {0};
    gw_json_unescape(name.data, name.len, &text);
    bool reserved = gw_sio_event_reserved(text.data ? text.data : "", text.len);
    gw_buf_fini(&text);
    return reserved ? "the name of an event is reserved" : NULL;
}

static const char *packet_check(const struct gw_sio_packet *packet)
{
    const struct gw_slice json = packet->json;
    switch (packet->type) {
    case GW_SIO_CONNECT:
        return !json.data || json.data[0] == '{' ? NULL : "the data of CONNECT is not an object";
    case GW_SIO_DISCONNECT:
        return json.data ? "DISCONNECT has data" : NULL;
    case GW_SIO_EVENT:
    case GW_SIO_BINARY_EVENT:
        return json.data ? packet_check_event(json) : "an event has no data";
    case GW_SIO_ACK:
    case GW_SIO_BINARY_ACK:
        return json.data && json.data[0] == '[' ? NULL : "the data of an acknowledgement is not an array";
    case GW_SIO_CONNECT_ERROR:
        return "clients send no CONNECT_ERROR";
    }
    return "the type of the packet is unknown";
}

const char *gw_sio_parse(const char *text, size_t len, struct gw_sio_packet *out)
{
    *out = (struct gw_sio_packet){.space = {"/", 1}};
    if (!packet_is_digit(text, len, 0) || text[0] > '0' + GW_SIO_BINARY_ACK)
        return "the type of the packet is unknown";
    out->type = (enum gw_sio_type)(text[0] - '0');
    size_t at = 1;
    const char *why = NULL;
    if (out->type == GW_SIO_BINARY_EVENT || out->type == GW_SIO_BINARY_ACK)
        why = packet_attachments(text, len, &at, &out->attachments);
    if (why)
        return why;
    packet_space(text, len, &at, &out->space);
    why = packet_id(text, len, &at, out);
    if (why)
        return why;
    if (at < len) {
        out->json = (struct gw_slice){text + at, len - at};
        if (!gw_json_valid(out->json.data, out->json.len))
            return "the data of the packet is not valid JSON";
    }
    return packet_check(out);
}

/* --- placeholders ---------------------------------------------------------------------------------------------- */

static size_t placeholder_blanks(struct gw_slice text, size_t at)
{
    while (at < text.len && strchr(" \t\r\n", text.data[at]) && text.data[at])
        at++;
    return at;
}

static bool placeholder_word(struct gw_slice text, size_t *at, const char *word)
{
    size_t len = strlen(word), start = placeholder_blanks(text, *at);
    if (text.len - start < len || memcmp(text.data + start, word, len) != 0)
        return false;
    *at = start + len;
    return true;
}

/* Returns the length of the placeholder at the beginning of `text`, as every client writes it; 0 if there is none. */
static size_t placeholder_read(struct gw_slice text, unsigned *num)
{
    static const char *const words[] = {"{", "\"_placeholder\"", ":", "true", ",", "\"num\"", ":"};
    size_t at = 0;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (!placeholder_word(text, &at, words[i]))
            return 0;
    }
    at = placeholder_blanks(text, at);
    size_t start = at;
    *num = 0;
    for (; packet_is_digit(text.data, text.len, at) && at - start < 3; at++)
        *num = *num * 10 + (unsigned)(text.data[at] - '0');
    return at > start && placeholder_word(text, &at, "}") ? at : 0;
}

bool gw_sio_placeholder(struct gw_slice value, unsigned *num)
{
    size_t len = placeholder_read(value, num);
    return len && placeholder_blanks(value, len) == value.len;
}

/* One pass: what is inside a string is no placeholder. */
bool gw_sio_fill(struct gw_slice json, const struct gw_buf *attachments, unsigned count, struct gw_buf *out)
{
    size_t start = 0, at = 0;
    bool string = false;
    while (at < json.len) {
        char c = json.data[at];
        unsigned num;
        size_t len;
        if (string && c == '\\') {
            at += 2;
        } else if (c == '"') {
            string = !string;
            at++;
        } else if (string || c != '{' ||
                   !(len = placeholder_read((struct gw_slice){json.data + at, json.len - at}, &num))) {
            at++;
        } else {
            if (num >= count)
                return false;
            gw_buf_add(out, json.data + start, at - start);
            gw_buf_adds(out, "{\"base64\":\"");
            gw_base64_encode(out, attachments[num].data ? attachments[num].data : "", attachments[num].len);
            gw_buf_adds(out, "\"}");
            start = at += len;
        }
    }
    gw_buf_add(out, json.data + start, json.len - start);
    return true;
}

/* --- writing --------------------------------------------------------------------------------------------------- */

void gw_sio_add_head(struct gw_buf *out, enum gw_sio_type type, const char *space)
{
    gw_buf_addc(out, GW_EIO_MESSAGE);
    gw_buf_addc(out, (char)('0' + type));
    if (strcmp(space, "/") != 0) {
        gw_buf_adds(out, space);
        gw_buf_addc(out, ',');
    }
}

void gw_sio_add_head_id(struct gw_buf *out, enum gw_sio_type type, const char *space, uint64_t id)
{
    gw_sio_add_head(out, type, space);
    gw_buf_addu(out, id);
}
