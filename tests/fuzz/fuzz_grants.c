/* What a client that may read `open/#` and publish to `open/a` can send, frame by frame: whatever it asks for,
 * nothing of another channel comes, no hidden field comes, and nothing is published elsewhere. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/auth.h"
#include "gateway/codec.h"
#include "gateway/hub.h"
#include "gateway/protocol.h"
#include "gateway/timer.h"
#include "hub/inbox.h"
#include "route/routes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const grant_channels[] = {"open/a",   "open/b/a", "open",     "shut/a",
                                             "shut/b/a", "shut",     "opener/a", "$SYS/a"};
static const char secret_json[] = "{\"t\":1,\"hidden\":2}";

static struct gw_config *config;
static uint64_t head;

static void on_ready(struct gw_session *session)
{
    (void)session;
}

static void on_kick(struct gw_session *session, enum gw_err why)
{
    (void)session;
    (void)why;
}

static void on_published(struct gw_session *session, const char *reference, enum gw_err err, int reason)
{
    (void)session;
    (void)reference;
    (void)err;
    (void)reason;
}

static const struct gw_session_ops ops = {.ready = on_ready, .kick = on_kick, .published = on_published};

static enum gw_err take_publish(void *context, struct gw_publish **publish)
{
    (void)context;
    if (strcmp((*publish)->topic, "open/a") != 0)
        abort();
    free(*publish);
    *publish = NULL;
    return GW_OK;
}

static void make_config(void)
{
    config = calloc(1, sizeof *config);
    atomic_init(&config->refs, 1);
    config->file = strdup("fuzz");
    config->route_count = 2;
    config->routes = calloc(2, sizeof *config->routes);
    for (int i = 0; i < 2; i++) {
        config->routes[i].topic = strdup(i ? "$SYS/#" : "#");
        config->routes[i].codec = gw_codec_find("auto");
        config->routes[i].history_engine = gw_history_find("memory");
        config->routes[i].history = (struct gw_history_limits){.count = 3, .bytes = 1 << 16};
        config->routes[i].publish = true;
    }
    config->limits = (struct gw_cfg_limits){
        .subscriptions = 8, .queue_bytes = 4096, .channels = 6, .history_bytes = 1 << 20, .publishes_per_session = 4};
    config->broker.publish_timeout_ms = config->broker.request_timeout_ms = 1000;
}

static struct gw_identity *make_identity(void)
{
    char *field = (char[]){"t"};
    const struct gw_strings fields = {&field, 1};
    struct gw_projection *projection = gw_projection_create(&fields);
    struct gw_grants *grants = gw_grants_create();
    gw_grants_add(grants, GW_RIGHT_SUBSCRIBE, "open/#", 6, projection);
    gw_grants_add(grants, GW_RIGHT_HISTORY, "open/b/+", 8, projection);
    gw_grants_add(grants, GW_RIGHT_PUBLISH, "open/a", 6, NULL);
    struct gw_identity *identity = gw_identity_create(GW_TOKEN, "fuzz", NULL, INT64_MAX, grants);
    gw_projection_unref(projection);
    gw_grants_unref(grants);
    return identity;
}

static void send_messages(struct gw_hub *hub)
{
    for (size_t i = 0; i < sizeof grant_channels / sizeof *grant_channels; i++) {
        const char *name = grant_channels[i];
        struct gw_message_spec spec = {.channel = name,
                                       .channel_len = strlen(name),
                                       .json = secret_json,
                                       .json_len = sizeof secret_json - 1,
                                       .payload = secret_json,
                                       .payload_len = sizeof secret_json - 1,
                                       .epoch = "E",
                                       .seq = ++head,
                                       .ts = 1,
                                       .route = name[0] == '$'};
        struct gw_event event = {.type = GW_EVENT_MESSAGE, .u.message = gw_message_create(&spec)};
        gw_hub_handle(hub, &event);
    }
    gw_hub_flush(hub);
}

static void check_item(const struct gw_item *item)
{
    if (item->type != GW_ITEM_MESSAGE)
        return;
    const struct gw_message *msg = item->u.message;
    if (strcmp(msg->channel.data, "open") != 0 && strncmp(msg->channel.data, "open/", 5) != 0)
        abort();
    if (memmem(msg->text.data, msg->text.len, "hidden", 6) ||
        memmem(msg->payload.data, msg->payload.len, "hidden", 6))
        abort();
}

static void handle_frame(struct gw_session *session, const struct gw_frame *frame)
{
    struct gw_start start = {.at = frame->cursor ? GW_START_CURSOR : GW_START_LAST,
                             .cursor = frame->cursor,
                             .cursor_len = frame->cursor_len,
                             .interval_ms = frame->interval_ms};
    struct gw_command command = {.channel = frame->channel,
                                 .channel_len = frame->channel_len,
                                 .data = frame->data.data,
                                 .data_len = frame->data.len,
                                 .json = true,
                                 .request = frame->type == GW_FRAME_REQUEST,
                                 .timeout_ms = 100};
    struct gw_subscribed subscribed;
    enum gw_err err = GW_OK;
    if (frame->type == GW_FRAME_SUBSCRIBE &&
        gw_session_subscribe(session, frame->channel, frame->channel_len, &start, &subscribed) == GW_OK)
        gw_session_catch_up(session);
    else if (frame->type == GW_FRAME_UNSUBSCRIBE)
        gw_session_unsubscribe(session, frame->channel, frame->channel_len);
    else if (frame->type == GW_FRAME_PUBLISH || frame->type == GW_FRAME_REQUEST)
        err = gw_session_publish(session, &command);
    (void)err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!config)
        make_config();
    struct gw_timers timers;
    gw_timers_init(&timers);
    struct gw_routes *routes = gw_routes_build(config);
    struct gw_hub_setup setup = {
        .epoch = "E", .config = config, .routes = routes, .timers = &timers, .upstream = {NULL, take_publish}};
    struct gw_hub *hub = gw_hub_create(&setup);
    struct gw_session session;
    struct gw_identity *identity = make_identity();
    struct gw_item item;
    int64_t now = 1;
    head = 0;
    gw_hub_tick(hub, now, now);
    gw_session_open(&session, hub, &ops);
    gw_session_identify(&session, identity);
    send_messages(hub);
    const char *text = (const char *)data;
    for (size_t at = 0; at < size;) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t len = end ? (size_t)(end - (text + at)) : size - at;
        struct gw_frame frame;
        const char *why;
        if (gw_frame_parse(text + at, len, &frame, &why) == GW_OK)
            handle_frame(&session, &frame);
        gw_frame_fini(&frame);
        send_messages(hub);
        now += 700;
        gw_hub_tick(hub, now, now);
        gw_timers_run(&timers, now);
        while (gw_session_next(&session, &item)) {
            check_item(&item);
            gw_item_release(&item);
        }
        at += len + 1;
    }
    gw_session_close(&session);
    gw_hub_destroy(hub);
    gw_routes_unref(routes);
    gw_timers_fini(&timers);
    gw_identity_unref(identity);
    return 0;
}
