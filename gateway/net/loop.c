/* loop.c: the event loop, on libwebsockets. No other file includes its header. */
#include "net/loop.h"

#include <libwebsockets.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/log.h"

struct gw_loop {
    lws_sorted_usec_list_t alarm; /* first member */
    struct lws_context *context;
    struct lws_vhost *vhost;
};

/* The one callback of libwebsockets. Its opaque data is the struct gw_watch. */
static int loop_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)user, (void)in, (void)len;
    struct gw_watch *watch;
    switch (reason) {
    case LWS_CALLBACK_RAW_RX_FILE:
        watch = lws_get_opaque_user_data(wsi);
        watch->ready(watch);
        return 0;
    case LWS_CALLBACK_RAW_CLOSE_FILE:
        watch = lws_get_opaque_user_data(wsi);
        lws_set_opaque_user_data(wsi, NULL);
        if (watch) {
            watch->wsi = NULL;
            watch->fd = -1; /* libwebsockets closes it */
        }
        return 0;
    case LWS_CALLBACK_RAW_WRITEABLE_FILE: /* asked for by gw_loop_unwatch() only */
        return -1;
    default:
        return 0;
    }
}

static const struct lws_protocols loop_protocols[] = {
    {.name = "sluice", .callback = loop_callback},
    {.name = NULL},
};

/* What libwebsockets calls an error is at most worth a warning here. */
static void loop_log(int level, const char *line)
{
    size_t len = strcspn(line, "\n");
    gw_log(level & LLL_ERR ? GW_LOG_WARN : GW_LOG_DEBUG, "lws", "%.*s", (int)len, line);
}

struct gw_loop *gw_loop_create(void)
{
    struct gw_loop *loop = gw_calloc(1, sizeof *loop);
    const struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .protocols = loop_protocols,
        .vhost_name = "sluice",
        .gid = (gid_t)-1,
        .uid = (uid_t)-1,
    };
    lws_set_log_level(LLL_ERR | LLL_WARN, loop_log);
    loop->context = lws_create_context(&info);
    if (loop->context)
        loop->vhost = lws_get_vhost_by_name(loop->context, "sluice");
    if (loop->vhost)
        return loop;
    gw_loop_destroy(loop);
    return NULL;
}

void gw_loop_destroy(struct gw_loop *loop)
{
    if (!loop)
        return;
    if (loop->context) {
        lws_sul_cancel(&loop->alarm);
        lws_context_destroy(loop->context); /* closes what is left, through the callback */
    }
    free(loop);
}

void gw_loop_watch(struct gw_loop *loop, struct gw_watch *watch)
{
    lws_adopt_desc_t desc = {
        .vh = loop->vhost,
        .type = LWS_ADOPT_RAW_FILE_DESC,
        .fd = {.filefd = watch->fd},
        .vh_prot_name = "sluice",
        .opaque = watch,
    };
    watch->wsi = lws_adopt_descriptor_vhost_via_info(&desc);
}

void gw_loop_unwatch(struct gw_watch *watch)
{
    if (watch->wsi)
        lws_callback_on_writable(watch->wsi);
}

bool gw_loop_turn(struct gw_loop *loop, bool rest)
{
    return lws_service(loop->context, rest ? 0 : -1) >= 0; /* -1: without waiting */
}

/* An alarm that is due already when lws_service() begins, because the thread was pushed aside after it was set or
 * because what it was set for was late already, is called before libwebsockets looks at its sockets, and then it
 * sleeps without any limit (4.1.6: five seconds of five in tests/unit/loop_test.c). So the alarm wakes the loop as
 * other threads do. */
static void loop_alarm_ring(lws_sorted_usec_list_t *alarm)
{
    gw_loop_wake((struct gw_loop *)alarm);
}

void gw_loop_alarm(struct gw_loop *loop, int64_t wait_ms)
{
    if (wait_ms == INT64_MAX)
        lws_sul_cancel(&loop->alarm);
    else
        lws_sul_schedule(loop->context, 0, &loop->alarm, loop_alarm_ring, wait_ms > 0 ? wait_ms * LWS_US_PER_MS : 1);
}

void gw_loop_wake(struct gw_loop *loop)
{
    lws_cancel_service(loop->context);
}
