#include "app/healthcheck.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* There is HTTP to be spoken, without a proxy's header. */
static bool health_speaks(const struct gw_cfg_listen *listen_cfg)
{
    return !listen_cfg->proxy_protocol && !strcmp(listen_cfg->protocol, "http");
}

static int health_effort(const struct gw_cfg_listen *listen_cfg)
{
    return !health_speaks(listen_cfg) * 2 + !!listen_cfg->cert_pem;
}

/* The one that is asked the easiest: plain before TLS, and one that can't be asked last. */
static const struct gw_cfg_listen *health_listener(const struct gw_config *config)
{
    const struct gw_cfg_listen *best = &config->listen[0];
    for (size_t i = 0; i < config->listen_count; i++) {
        const struct gw_cfg_listen *listen_cfg = &config->listen[i];
        if (health_effort(listen_cfg) < health_effort(best))
            best = listen_cfg;
    }
    return best;
}

static int health_connect(const struct gw_cfg_listen *listen_cfg)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un local;
    } address;
    memset(&address, 0, sizeof address);
    socklen_t len;
    const char *host = listen_cfg->host;
    if (host && !strcmp(host, "0.0.0.0"))
        host = "127.0.0.1";
    if (host && !strcmp(host, "::"))
        host = "::1";
    if (!host) {
        address.local.sun_family = AF_UNIX;
        memcpy(address.local.sun_path, listen_cfg->path, strlen(listen_cfg->path)); /* at most 107 bytes (config.c) */
        len = sizeof address.local;
    } else if (inet_pton(AF_INET, host, &address.v4.sin_addr) == 1) {
        address.v4.sin_family = AF_INET;
        address.v4.sin_port = htons(listen_cfg->port);
        len = sizeof address.v4;
    } else {
        inet_pton(AF_INET6, host, &address.v6.sin6_addr);
        address.v6.sin6_family = AF_INET6;
        address.v6.sin6_port = htons(listen_cfg->port);
        len = sizeof address.v6;
    }
    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct timeval patience = {.tv_sec = 3};
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, &address.any, len)) {
        int why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    return fd;
}

static bool health_ask_plain(int fd, const char *request, char *answer, int size)
{
    return send(fd, request, strlen(request), MSG_NOSIGNAL) > 0 && recv(fd, answer, (size_t)size, 0) > 0;
}

/* The certificate is not verified: it is for the name that clients use, and this goes to the own machine. */
static bool health_ask_tls(int fd, const char *request, char *answer, int size)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = ctx ? SSL_new(ctx) : NULL;
    bool good = ssl && SSL_set_fd(ssl, fd) == 1 && SSL_connect(ssl) == 1 &&
                SSL_write(ssl, request, (int)strlen(request)) > 0 && SSL_read(ssl, answer, size) > 0;
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    return good;
}

int gw_healthcheck(const struct gw_config *config)
{
    struct gw_buf request;
    gw_buf_init(&request);
    gw_buf_printf(&request, "GET %s/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                  config->web.base_path ? config->web.base_path : "");
    const struct gw_cfg_listen *listen_cfg = health_listener(config);
    char answer[64] = "";
    int status = 1, fd = health_connect(listen_cfg);
    if (fd < 0)
        fprintf(stderr, "sluice: no answer from %s: %s\n", listen_cfg->address, strerror(errno));
    else if (!health_speaks(listen_cfg))
        status = 0; /* that it listens is all that can be known */
    else if (!(listen_cfg->cert_pem ? health_ask_tls : health_ask_plain)(fd, request.data, answer, sizeof answer - 1))
        fprintf(stderr, "sluice: no answer from %s in 3 s\n", listen_cfg->address);
    else if (strncmp(answer, "HTTP/1.1 200 ", 13) != 0)
        fprintf(stderr, "sluice: %s answers: %.*s\n", listen_cfg->address, (int)strcspn(answer, "\r\n"), answer);
    else
        status = 0;
    gw_buf_fini(&request);
    if (fd >= 0)
        close(fd);
    return status;
}
