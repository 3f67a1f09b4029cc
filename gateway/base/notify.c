#include "base/notify.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "gateway/buf.h"
#include "gateway/clock.h"

void gw_notify_init(struct gw_notify *notify)
{
    notify->fd = -1;
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = path ? strlen(path) : 0;
    if (len < 2 || len >= sizeof address.sun_path || (*path != '/' && *path != '@'))
        return;
    memcpy(address.sun_path, path, len);
    if (*path == '@')
        address.sun_path[0] = '\0'; /* the abstract namespace: the name is all bytes there are */
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (*path == '/'));
    notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (notify->fd >= 0 && connect(notify->fd, (const struct sockaddr *)(const void *)&address, size))
        gw_notify_fini(notify);
}

void gw_notify_fini(struct gw_notify *notify)
{
    if (notify->fd >= 0)
        close(notify->fd);
    notify->fd = -1;
}

static void notify_send(const struct gw_notify *notify, const char *state, const char *status)
{
    if (notify->fd < 0)
        return;
    struct gw_buf text = {0};
    gw_buf_printf(&text, "%s\nSTATUS=%s", state, status);
    ssize_t sent = send(notify->fd, text.data, text.len, MSG_NOSIGNAL);
    (void)sent;
    gw_buf_fini(&text);
}

void gw_notify_ready(const struct gw_notify *notify, const char *status)
{
    notify_send(notify, "READY=1", status);
}

void gw_notify_reloading(const struct gw_notify *notify)
{
    struct gw_buf state = {0};
    /* The time tells systemd that this answers its SIGHUP and not an older one (Type=notify-reload). */
    gw_buf_printf(&state, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)(gw_monotonic_ns() / 1000));
    notify_send(notify, state.data, "reading the configuration again");
    gw_buf_fini(&state);
}

void gw_notify_stopping(const struct gw_notify *notify)
{
    notify_send(notify, "STOPPING=1", "finishing up");
}
