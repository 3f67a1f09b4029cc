/* notify.h: tells the service manager how far we are, by the protocol of sd_notify(3): one datagram with lines of
 * VARIABLE=VALUE to the Unix socket in $NOTIFY_SOCKET. Without that variable nothing happens. Thread: main. */
#ifndef GW_BASE_NOTIFY_H
#define GW_BASE_NOTIFY_H

struct gw_notify {
    int fd; /* -1: nobody asked */
};

/* Opens the socket, so that later no right but sending is needed. */
void gw_notify_init(struct gw_notify *notify);
void gw_notify_fini(struct gw_notify *notify);

/* Each with a line for `systemctl status`. A manager that is not there any more is no error of ours. */
void gw_notify_ready(const struct gw_notify *notify, const char *status);
void gw_notify_reloading(const struct gw_notify *notify);
void gw_notify_stopping(const struct gw_notify *notify);

#endif
