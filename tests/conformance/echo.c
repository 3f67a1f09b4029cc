/* echo.c: the application of the protocols' test suites on top of the gateway's own objects: sluice-echo.
 *
 *   path /engine.io/   every message comes back
 *   other paths        the event "auth" with what CONNECT brought, `message` comes back as `message-back`, and the
 *                      arguments of `message-with-ack` as its acknowledgement
 *
 * The linker puts these functions in the place of the gateway's (--wrap): everything below them, requests, packets,
 * pings, upgrades and namespaces, is what `sluice` is made of. */
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/json_scan.h"
#include "gateway/alloc.h"
#include "socketio/engine.h"

const char *__real_gw_sio_take_text(struct eio *eio, const char *text, size_t len);
const char *__wrap_gw_sio_take_text(struct eio *eio, const char *text, size_t len);
const char *__real_gw_sio_take_binary(struct eio *eio, const char *data, size_t len);
const char *__wrap_gw_sio_take_binary(struct eio *eio, const char *data, size_t len);
const char *__wrap_gw_sio_event(struct sio *sio, const struct gw_sio_packet *packet,
                                const struct gw_buf *attachments);
void __real_gw_sio_connect(struct eio *eio, const struct gw_sio_packet *packet);
void __wrap_gw_sio_connect(struct eio *eio, const struct gw_sio_packet *packet);
void __real_gw_sio_emit(struct sio *sio, const char *event, const char *json, const char *offset);
void __wrap_gw_sio_emit(struct sio *sio, const char *event, const char *json, const char *offset);

/* --- Engine.IO -------------------------------------------------------------------------------------------------- */

static bool echo_is_engine(const struct eio *eio)
{
    return !strcmp(eio->options->path, "/engine.io/");
}

const char *__wrap_gw_sio_take_text(struct eio *eio, const char *text, size_t len)
{
    if (!echo_is_engine(eio))
        return __real_gw_sio_take_text(eio, text, len);
    struct gw_buf packet = {0};
    gw_buf_addc(&packet, GW_EIO_MESSAGE);
    gw_buf_add(&packet, text, len);
    gw_eio_send(eio, packet.data, packet.len);
    gw_buf_fini(&packet);
    return NULL;
}

const char *__wrap_gw_sio_take_binary(struct eio *eio, const char *data, size_t len)
{
    if (!echo_is_engine(eio))
        return __real_gw_sio_take_binary(eio, data, len);
    struct gw_buf packet = {0};
    if (eio->conn) {
        gw_ws_add_binary(&packet, data, len);
        gw_conn_send(eio->conn, packet.data, packet.len);
    } else {
        gw_buf_addc(&packet, GW_EIO_BINARY);
        gw_base64_encode(&packet, data, len);
        gw_eio_send(eio, packet.data, packet.len);
    }
    gw_buf_fini(&packet);
    return NULL;
}

/* --- Socket.IO -------------------------------------------------------------------------------------------------- */

/* What the CONNECT under way brought, valid while it is handled. */
static _Thread_local struct gw_slice auth;

void __wrap_gw_sio_connect(struct eio *eio, const struct gw_sio_packet *packet)
{
    auth = packet->json;
    __real_gw_sio_connect(eio, packet);
    auth = (struct gw_slice){NULL, 0};
}

void __wrap_gw_sio_emit(struct sio *sio, const char *event, const char *json, const char *offset)
{
    if (strcmp(event, "welcome") != 0) {
        __real_gw_sio_emit(sio, event, json, offset);
        return;
    }
    struct gw_buf copy = {0};
    gw_buf_add(&copy, auth.data ? auth.data : "{}", auth.data ? auth.len : 2);
    __real_gw_sio_emit(sio, "auth", copy.data, NULL);
    gw_buf_fini(&copy);
}

static void echo_head(struct gw_buf *out, enum gw_sio_type type, unsigned attachments, const char *space)
{
    gw_buf_printf(out, "%c%d", GW_EIO_MESSAGE, type);
    if (attachments)
        gw_buf_printf(out, "%u-", attachments);
    if (strcmp(space, "/") != 0)
        gw_buf_printf(out, "%s,", space);
}

static void echo_attach(struct gw_buf *out, enum sio_carrier carrier, const struct gw_buf *attachment)
{
    const char *data = attachment->data ? attachment->data : "";
    if (carrier == SIO_FRAMES) {
        gw_ws_add_binary(out, data, attachment->len);
    } else {
        gw_buf_addc(out, GW_EIO_SEPARATOR);
        gw_buf_addc(out, GW_EIO_BINARY);
        gw_base64_encode(out, data, attachment->len);
    }
}

const char *__wrap_gw_sio_event(struct sio *sio, const struct gw_sio_packet *packet, const struct gw_buf *attachments)
{
    static const char plain[] = "\"message\"";
    struct gw_slice name;
    struct gw_buf text = {0}, out = {0};
    if (!gw_json_element(packet->json.data, packet->json.len, 0, &name))
        return "the event has no name";
    bool back = name.len == sizeof plain - 1 && !memcmp(name.data, plain, name.len), bytes = packet->attachments > 0;
    const char *rest = name.data + name.len; /* the comma and the other arguments, or the bracket */
    size_t len = (size_t)(packet->json.data + packet->json.len - rest);
    if (!back && !packet->has_id)
        return NULL;
    enum gw_sio_type type = back ? GW_SIO_EVENT : GW_SIO_ACK, binary = back ? GW_SIO_BINARY_EVENT : GW_SIO_BINARY_ACK;
    echo_head(&text, bytes ? binary : type, packet->attachments, gw_sio_shape_space(sio->shape));
    if (back)
        gw_buf_adds(&text, "[\"message-back\"");
    else
        gw_buf_printf(&text, "%llu[", (unsigned long long)packet->id);
    size_t skip = !back && rest[0] == ',';
    gw_buf_add(&text, rest + skip, len - skip);
    gw_sio_add_packet(&out, gw_eio_carrier(sio->eio), text.data, text.len);
    for (unsigned i = 0; i < packet->attachments; i++)
        echo_attach(&out, gw_eio_carrier(sio->eio), &attachments[i]);
    gw_buf_fini(&text);
    gw_session_push(&sio->session, &out);
    return NULL;
}
