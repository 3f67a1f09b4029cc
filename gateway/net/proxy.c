/* proxy.c: the PROXY header. */
#include "net/proxy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "gateway/hub.h"
#include "gateway/log.h"
#include "net/address.h"
#include "net/listener.h"
#include "net/sock.h"
#include "net/worker.h"

/* `PROXY TCP4 192.0.2.1 198.51.100.1 4711 443` and CRLF, 107 bytes at most. */
static int proxy_parse_v1(const char *data, size_t len, struct gw_proxy_header *out)
{
    const char *end = memchr(data, '\n', len < 107 ? len : 107);
    if (!end)
        return len < 107 ? 0 : -1;
    if (end[-1] != '\r')
        return -1;
    const char *at = data + 6;
    size_t left = (size_t)(end - 1 - at);
    if (left >= 7 && !memcmp(at, "UNKNOWN", 7))
        return (int)(end + 1 - data);
    if (left < 5 || (memcmp(at, "TCP4 ", 5) != 0 && memcmp(at, "TCP6 ", 5) != 0))
        return -1;
    const char *space = memchr(at + 5, ' ', left - 5);
    if (!space || !gw_address_parse(at + 5, (size_t)(space - at) - 5, &out->address))
        return -1;
    out->has_address = true;
    return (int)(end + 1 - data);
}

#define PP2_TYPE_SSL   0x20
#define PP2_CLIENT_SSL 0x01

static void proxy_read_tlvs(const unsigned char *at, size_t len, struct gw_proxy_header *out)
{
    while (len >= 3) {
        size_t size = (size_t)at[1] << 8 | at[2];
        if (size > len - 3)
            return;
        if (at[0] == PP2_TYPE_SSL && size)
            out->secure = at[3] & PP2_CLIENT_SSL;
        at += 3 + size;
        len -= 3 + size;
    }
}

static int proxy_parse_v2(const char *data, size_t len, struct gw_proxy_header *out)
{
    if (len < 16)
        return 0;
    const unsigned char *bytes = (const unsigned char *)data;
    size_t size = (size_t)bytes[14] << 8 | bytes[15];
    if (bytes[12] >> 4 != 2 || (bytes[12] & 15) > 1 || 16 + size > GW_PROXY_HEADER_MAX)
        return -1;
    if (len < 16 + size)
        return 0;
    size_t addresses = 0;
    switch (bytes[13]) {
    case 0x11: /* TCP over IPv4 */
        addresses = 12;
        break;
    case 0x21: /* TCP over IPv6 */
        addresses = 36;
        break;
    default:
        break;
    }
    if ((bytes[12] & 15) == 0 || !addresses) /* LOCAL: the proxy's own; or a Unix socket, or what we can't know */
        return (int)(16 + size);
    if (size < addresses)
        return -1;
    if (addresses == 12) {
        out->address = (struct in6_addr)IN6ADDR_ANY_INIT;
        out->address.s6_addr[10] = out->address.s6_addr[11] = 0xff;
        memcpy(&out->address.s6_addr[12], bytes + 16, 4);
    } else {
        memcpy(&out->address, bytes + 16, 16);
    }
    out->has_address = true;
    proxy_read_tlvs(bytes + 16 + addresses, size - addresses, out);
    return (int)(16 + size);
}

int gw_proxy_parse(const char *data, size_t len, struct gw_proxy_header *out)
{
    static const char v1[] = "PROXY ", v2[] = "\r\n\r\n\0\r\nQUIT\n";
    *out = (struct gw_proxy_header){.has_address = false};
    size_t v1_len = len < 6 ? len : 6, v2_len = len < 12 ? len : 12;
    if (!memcmp(data, v1, v1_len))
        return len < 6 ? 0 : proxy_parse_v1(data, len, out);
    if (!memcmp(data, v2, v2_len))
        return len < 12 ? 0 : proxy_parse_v2(data, len, out);
    return -1;
}

/* --- from the socket ------------------------------------------------------------------------------------------- */

void gw_proxy_end(struct gw_sock *sock)
{
    if (sock->proxy)
        gw_buf_fini(sock->proxy);
    free(sock->proxy);
    sock->proxy = NULL;
}

static void proxy_apply(struct gw_sock *sock, const struct gw_proxy_header *header)
{
    gw_proxy_end(sock);
    sock->proxy_secure = header->secure;
    if (header->has_address) {
        sock->origin = header->address;
        sock->trusted = gw_address_trusted(&gw_hub_config(sock->worker->hub)->web.trusted_proxies, &header->address);
        if (!sock->trusted && !gw_listener_count(sock))
            return;
    }
    if (sock->listener->tls && !gw_sock_start_tls(sock))
        gw_sock_kill(sock);
}

/* Takes the header off the socket and not one byte more: what follows may be a TLS handshake, which is OpenSSL's to
 * read. */
void gw_proxy_read(struct gw_sock *sock)
{
    struct gw_buf *so_far = sock->proxy;
    char peeked[GW_PROXY_HEADER_MAX];
    ssize_t got = recv(sock->fd, peeked, sizeof peeked - so_far->len, MSG_PEEK | MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (got <= 0) {
        gw_sock_kill(sock);
        return;
    }
    struct gw_proxy_header header;
    size_t before = so_far->len;
    gw_buf_add(so_far, peeked, (size_t)got);
    int len = gw_proxy_parse(so_far->data, so_far->len, &header);
    if (len < 0 || (!len && so_far->len >= sizeof peeked)) {
        GW_STAT_ADD(gw_hub_stats(sock->worker->hub), requests_bad, 1);
        GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "web", "%s: a connection without a PROXY header was closed",
                             sock->listener->address);
        gw_sock_kill(sock);
        return;
    }
    if (recv(sock->fd, peeked, len ? (size_t)len - before : (size_t)got, MSG_DONTWAIT) >= 0 && len)
        proxy_apply(sock, &header);
}
