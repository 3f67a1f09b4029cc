#include "websocket/deflate.h"

#include <ctype.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "gateway/alloc.h"

/* 4 KiB hold nearly every message, 32 KiB made none of ours smaller, and clients may ask for a smaller window; what
 * zlib has to clear for each message grows with the other figure (docs/benchmarks/optimisation.md). */
#define WINDOW_BITS         12
#define MEMORY_LEVEL        5
#define LEVEL               6
#define INFLATE_WINDOW_BITS 15 /* whatever the client uses */

#define RSV1 0x40

/* Compressed frames may take as much as limits.history, and this for last values and what is in flight. */
#define SPARE_BYTES ((size_t)16 << 20)

/* --- negotiation (RFC 6455 section 9.1, RFC 7692 section 7.1) --------------------------------------------------- */

enum param { SERVER_NO_TAKEOVER, CLIENT_NO_TAKEOVER, SERVER_BITS, CLIENT_BITS, PARAMS };

static const char *const param_names[PARAMS] = {"server_no_context_takeover", "client_no_context_takeover",
                                                "server_max_window_bits", "client_max_window_bits"};

struct offer {
    bool good; /* permessage-deflate, and nothing in it that we can't meet */
    bool seen[PARAMS];
};

static void offer_blanks(struct gw_slice *rest)
{
    while (rest->len && (*rest->data == ' ' || *rest->data == '\t'))
        rest->data++, rest->len--;
}

/* Is it next? Then it is taken. */
static bool offer_char(struct gw_slice *rest, char c)
{
    offer_blanks(rest);
    if (!rest->len || *rest->data != c)
        return false;
    rest->data++, rest->len--;
    return true;
}

static bool offer_token(struct gw_slice *rest, struct gw_slice *out)
{
    offer_blanks(rest);
    out->data = rest->data;
    while (rest->len &&
           (isalnum((unsigned char)*rest->data) || (*rest->data && strchr("!#$%&'*+-.^_`|~", *rest->data))))
        rest->data++, rest->len--;
    out->len = (size_t)(rest->data - out->data);
    return out->len > 0;
}

/* A token, in quotes or not. Escapes are nothing that a number needs: one with any is as good as malformed. */
static bool offer_value(struct gw_slice *rest, struct gw_slice *out)
{
    bool quoted = offer_char(rest, '"');
    return offer_token(rest, out) && (!quoted || offer_char(rest, '"'));
}

/* To the comma before the next offer, over commas in quotes. */
static void offer_skip(struct gw_slice *rest)
{
    bool quoted = false;
    for (; rest->len && (quoted || *rest->data != ','); rest->data++, rest->len--) {
        if (*rest->data == '"')
            quoted = !quoted;
        else if (*rest->data == '\\' && quoted && rest->len > 1)
            rest->data++, rest->len--;
    }
}

static bool offer_is(struct gw_slice token, const char *text)
{
    return token.len == strlen(text) && !memcmp(token.data, text, token.len);
}

/* 8 to 15 without leading zeros; 0 if it is none. */
static unsigned offer_bits(struct gw_slice value)
{
    if (value.len == 1 && (*value.data == '8' || *value.data == '9'))
        return (unsigned)(*value.data - '0');
    if (value.len == 2 && value.data[0] == '1' && value.data[1] >= '0' && value.data[1] <= '5')
        return 10 + (unsigned)(value.data[1] - '0');
    return 0;
}

static bool offer_param(struct offer *offer, struct gw_slice name, bool has_value, struct gw_slice value)
{
    unsigned param = 0;
    while (param < PARAMS && !offer_is(name, param_names[param]))
        param++;
    if (param == PARAMS || offer->seen[param])
        return false;
    offer->seen[param] = true;
    switch ((enum param)param) {
    case SERVER_BITS: /* below our window: not to be met, since frames are the same for everybody */
        return has_value && offer_bits(value) >= WINDOW_BITS;
    case CLIENT_BITS:
        return !has_value || offer_bits(value);
    default:
        return !has_value;
    }
}

/* Takes one offer off the list. */
static void offer_read(struct gw_slice *rest, struct offer *offer)
{
    struct gw_slice name, value = {NULL, 0};
    *offer = (struct offer){.good = offer_token(rest, &name) && offer_is(name, "permessage-deflate")};
    while (offer->good && offer_char(rest, ';')) {
        offer->good = offer_token(rest, &name);
        bool has_value = offer->good && offer_char(rest, '=');
        if (has_value)
            offer->good = offer_value(rest, &value);
        offer->good = offer->good && offer_param(offer, name, has_value, value);
    }
    offer_blanks(rest);
    if (rest->len && *rest->data != ',') {
        offer->good = false;
        offer_skip(rest);
    }
    offer_char(rest, ',');
}

bool gw_deflate_negotiate(struct gw_slice offers, char answer[GW_DEFLATE_ANSWER_MAX])
{
    while (offers.len) {
        struct offer offer;
        offer_read(&offers, &offer);
        if (!offer.good)
            continue;
        char bits[40] = "";
        if (offer.seen[SERVER_BITS])
            snprintf(bits, sizeof bits, "; %s=%d", param_names[SERVER_BITS], WINDOW_BITS);
        snprintf(answer, GW_DEFLATE_ANSWER_MAX, "Sec-WebSocket-Extensions: permessage-deflate; %s; %s%s\r\n",
                 param_names[SERVER_NO_TAKEOVER], param_names[CLIENT_NO_TAKEOVER], bits);
        return true;
    }
    return false;
}

static void *zlib_alloc(void *context, uInt count, uInt size)
{
    (void)context;
    return gw_reallocarray(NULL, count, size);
}

static void zlib_free(void *context, void *block)
{
    (void)context;
    free(block);
}

/* --- down ------------------------------------------------------------------------------------------------------ */

/* A form of a message. */
struct packed {
    struct gw_variant variant; /* first member */
    size_t len;                /* of the frame; 0: it would not be smaller */
    uint8_t frame[];
};

static const char packed_keys[2]; /* by enum gw_ws_form; their addresses are meant */

static atomic_size_t packed_bytes, packed_least, packed_most;
static _Atomic uint64_t packed_count;

/* Workers get a message at the same time: one compresses, the others wait for it. Which of these it is depends on the
 * message, so that different ones seldom get into each other's way. The state is made when it is first needed. */
static struct packer {
    pthread_mutex_t lock;
    bool made;
    z_stream zlib;
} packers[] = {{.lock = PTHREAD_MUTEX_INITIALIZER}, {.lock = PTHREAD_MUTEX_INITIALIZER},
               {.lock = PTHREAD_MUTEX_INITIALIZER}, {.lock = PTHREAD_MUTEX_INITIALIZER},
               {.lock = PTHREAD_MUTEX_INITIALIZER}, {.lock = PTHREAD_MUTEX_INITIALIZER},
               {.lock = PTHREAD_MUTEX_INITIALIZER}, {.lock = PTHREAD_MUTEX_INITIALIZER}};

#define PACKERS (sizeof packers / sizeof *packers)

void gw_deflate_configure(const struct gw_config *config)
{
    atomic_store_explicit(&packed_least, config->web.compression_min, memory_order_relaxed);
    atomic_store_explicit(&packed_most, config->limits.history_bytes + SPARE_BYTES, memory_order_relaxed);
}

void gw_deflate_end(void)
{
    for (size_t i = 0; i < PACKERS; i++) {
        if (packers[i].made)
            deflateEnd(&packers[i].zlib);
        packers[i].made = false;
    }
}

size_t gw_deflate_bytes(void)
{
    return atomic_load_explicit(&packed_bytes, memory_order_relaxed);
}

uint64_t gw_deflate_count(void)
{
    return atomic_load_explicit(&packed_count, memory_order_relaxed);
}

static void packed_destroy(struct gw_variant *variant)
{
    struct packed *packed = (struct packed *)variant;
    atomic_fetch_sub_explicit(&packed_bytes, sizeof *packed + packed->len, memory_order_relaxed);
    free(packed);
}

/* Ready for a new message. */
static bool packer_reset(struct packer *packer)
{
    if (packer->made)
        return deflateReset(&packer->zlib) == Z_OK;
    packer->zlib = (z_stream){.zalloc = zlib_alloc, .zfree = zlib_free};
    packer->made =
        deflateInit2(&packer->zlib, LEVEL, Z_DEFLATED, -WINDOW_BITS, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) == Z_OK;
    return packer->made;
}

static struct packed *packed_make(struct packer *packer, struct gw_slice plain, unsigned opcode)
{
    static const char tail[4] = {0, 0, '\xff', '\xff'}; /* of a sync flush; it is left out (RFC 7692 section 7.2.1) */
    struct packed *packed = gw_malloc(sizeof *packed + GW_WS_HEADER_MAX + plain.len + sizeof tail);
    uint8_t *body = packed->frame + GW_WS_HEADER_MAX;
    z_stream *z = &packer->zlib;
    size_t len = 0;
    if (plain.len < INT_MAX && packer_reset(packer)) {
        z->next_in = (Bytef *)(uintptr_t)plain.data;
        z->avail_in = (uInt)plain.len;
        z->next_out = body;
        z->avail_out = (uInt)(plain.len + sizeof tail);
        /* Full to the last byte means that there would be more. */
        if (deflate(z, Z_SYNC_FLUSH) == Z_OK && z->avail_out && !memcmp(z->next_out - sizeof tail, tail, sizeof tail))
            len = (size_t)(z->next_out - body) - sizeof tail;
    }
    packed->len = 0;
    if (len) {
        size_t header = gw_ws_header(packed->frame, RSV1 | opcode, len);
        memmove(packed->frame + header, body, len);
        packed->len = header + len;
    }
    packed = gw_reallocarray(packed, 1, sizeof *packed + packed->len);
    packed->variant.destroy = packed_destroy;
    atomic_fetch_add_explicit(&packed_bytes, sizeof *packed + packed->len, memory_order_relaxed);
    atomic_fetch_add_explicit(&packed_count, 1, memory_order_relaxed);
    return packed;
}

struct gw_slice gw_deflate_message(struct gw_message *msg, enum gw_ws_form form)
{
    const struct gw_slice none = {NULL, 0}, plain = form == GW_WS_FORM_TEXT ? msg->text : msg->payload;
    const void *key = &packed_keys[form];
    if (plain.len < atomic_load_explicit(&packed_least, memory_order_relaxed))
        return none;
    struct packed *packed = (struct packed *)gw_message_variant(msg, key);
    if (!packed) {
        if (gw_deflate_bytes() + plain.len > atomic_load_explicit(&packed_most, memory_order_relaxed))
            return none;
        struct packer *packer = &packers[msg->seq % PACKERS];
        pthread_mutex_lock(&packer->lock);
        packed = (struct packed *)gw_message_variant(msg, key); /* by another worker, meanwhile */
        if (!packed) {
            packed = packed_make(packer, plain, (form == GW_WS_FORM_TEXT ? msg->frame[0] : msg->raw[0]) & 15);
            packed->variant.key = key;
            packed = (struct packed *)gw_message_keep_variant(msg, &packed->variant);
        }
        pthread_mutex_unlock(&packer->lock);
    }
    return packed->len ? (struct gw_slice){(const char *)packed->frame, packed->len} : none;
}

/* --- up -------------------------------------------------------------------------------------------------------- */

struct gw_inflater {
    z_stream zlib;
};

struct gw_inflater *gw_inflater_create(void)
{
    struct gw_inflater *inflater = gw_calloc(1, sizeof *inflater);
    inflater->zlib.zalloc = zlib_alloc;
    inflater->zlib.zfree = zlib_free;
    if (inflateInit2(&inflater->zlib, -INFLATE_WINDOW_BITS) == Z_OK)
        return inflater;
    free(inflater);
    return NULL;
}

void gw_inflater_destroy(struct gw_inflater *inflater)
{
    if (!inflater)
        return;
    inflateEnd(&inflater->zlib);
    free(inflater);
}

/* Room for more output, twice as much each time, up to max. False: there is none. */
static bool inflate_room(z_stream *z, size_t max, struct gw_buf *out)
{
    if (z->avail_out)
        return true;
    size_t had = out->cap ? out->cap - 1 : 0; /* one for the closing NUL */
    size_t room = had < 512 ? 1024 : had * 2;
    if (room > max)
        room = max;
    if (room <= had && out->data)
        return false;
    out->data = gw_reallocarray(out->data, room + 1, 1);
    out->cap = room + 1;
    z->next_out = (Bytef *)out->data + had;
    z->avail_out = (uInt)(room - had);
    return true;
}

/* One piece of the input. Returns 0 or the close code. */
static int inflate_piece(z_stream *z, const void *data, size_t len, size_t max, struct gw_buf *out)
{
    Bytef beyond[1]; /* whatever comes when max bytes are there is too much; but the data may just end */
    z->next_in = (Bytef *)(uintptr_t)data;
    z->avail_in = (uInt)len;
    for (;;) {
        bool full = !inflate_room(z, max, out);
        if (full) {
            z->next_out = beyond;
            z->avail_out = 1;
        }
        int result = inflate(z, Z_SYNC_FLUSH);
        if (full) {
            bool more = !z->avail_out;
            z->next_out = (Bytef *)out->data + max;
            z->avail_out = 0;
            if (more)
                return 1009;
        }
        if (result == Z_STREAM_END && z->avail_in) /* a last block (section 7.2.3.4); what follows begins anew */
            result = inflateReset(z);
        if (result != Z_OK && result != Z_BUF_ERROR && result != Z_STREAM_END)
            return 1007;
        if (!z->avail_in && (full || z->avail_out))
            return 0;
    }
}

int gw_inflate(struct gw_inflater *inflater, const char *data, size_t len, size_t max, struct gw_buf *out)
{
    static const uint8_t tail[4] = {0, 0, 0xff, 0xff}; /* section 7.2.2 */
    z_stream *z = &inflater->zlib;
    if (len > INT_MAX || max > INT_MAX)
        return 1009;
    if (inflateReset(z) != Z_OK)
        return 1007;
    z->avail_out = 0;
    int code = inflate_piece(z, data, len, max, out);
    if (!code)
        code = inflate_piece(z, tail, sizeof tail, max, out);
    if (code)
        return code;
    if (!(z->data_type & 128)) /* the end is inside a block: it was cut off */
        return 1007;
    out->len = (size_t)((char *)z->next_out - out->data);
    out->data[out->len] = '\0';
    return 0;
}
