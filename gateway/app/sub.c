/* sub.c: `sluice sub`: prints each message of a filter as a line of JSON. Reads a stream of Server-Sent Events and
 * goes on from its cursor when the stream breaks. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "app/cli.h"
#include "app/http_client.h"

#define LINE_BYTES   (512 * 1024 * 1024) /* a payload of 256 MiB and its quotes */
#define DELAY_MAX_MS 30000

struct sub {
    struct gw_buf line;  /* not at its end yet */
    struct gw_buf event; /* of the event that comes in */
    struct gw_buf data;
    struct gw_buf cursor; /* to go on from */
    struct gw_buf id;     /* its cursor: ours once the event is whole */
    struct gw_buf why;    /* what the event `error` said, in words */
    char code[GW_HTTP_CODE_SIZE];
    uint64_t left; /* messages until the end */
    bool alive;    /* something came since the last connection */
    bool done, failed;
};

static void sub_event(struct sub *sub)
{
    const char *event = sub->event.len ? sub->event.data : "message";
    if (!sub->data.len)
        return;
    if (!strcmp(event, "message")) {
        if (puts(sub->data.data) < 0 || fflush(stdout)) {
            fprintf(stderr, "sluice: can't write: %s\n", strerror(errno));
            sub->failed = true;
        }
        sub->done = sub->failed || !--sub->left;
    } else if (!strcmp(event, "error")) {
        gw_buf_clear(&sub->why);
        (void)gw_http_client_error(&sub->data, sub->code, &sub->why);
    } else { /* gap, upstream, expiring: not messages, but nothing that may be hidden */
        fprintf(stderr, "sluice: %s: %s\n", event, sub->data.data);
    }
}

static void sub_line(struct sub *sub, const char *line, size_t len)
{
    if (!len) {
        sub_event(sub);
        if (sub->id.len) {
            gw_buf_clear(&sub->cursor);
            gw_buf_add(&sub->cursor, sub->id.data, sub->id.len);
        }
        gw_buf_clear(&sub->id);
        gw_buf_clear(&sub->event);
        gw_buf_clear(&sub->data);
    } else if (len > 4 && !memcmp(line, "id: ", 4)) {
        gw_buf_clear(&sub->id);
        gw_buf_add(&sub->id, line + 4, len - 4);
    } else if (len > 7 && !memcmp(line, "event: ", 7)) {
        gw_buf_clear(&sub->event);
        gw_buf_add(&sub->event, line + 7, len - 7);
    } else if (len > 6 && !memcmp(line, "data: ", 6)) {
        gw_buf_clear(&sub->data); /* the gateway sends one line of JSON */
        gw_buf_add(&sub->data, line + 6, len - 6);
    }
}

static bool sub_piece(void *context, const char *data, size_t len)
{
    struct sub *sub = context;
    sub->alive = true;
    while (len && !sub->done) {
        const char *end = memchr(data, '\n', len);
        size_t part = end ? (size_t)(end - data) : len;
        if (sub->line.len + part > LINE_BYTES) {
            fputs("sluice: a message has more than 512 MiB\n", stderr);
            sub->done = sub->failed = true;
            return false;
        }
        gw_buf_add(&sub->line, data, part);
        if (!end)
            return true;
        sub_line(sub, sub->line.data, sub->line.len);
        gw_buf_clear(&sub->line);
        data += part + 1;
        len -= part + 1;
    }
    return !sub->done;
}

static enum gw_http_outcome sub_connect(struct sub *sub, struct gw_http_client *client, const char *filter,
                                        struct gw_buf *problem)
{
    struct gw_buf path = {0}, answer = {0};
    gw_buf_adds(&path, "/sse?channel=");
    gw_http_client_escape(&path, filter);
    if (sub->cursor.len) {
        gw_buf_adds(&path, "&cursor=");
        gw_http_client_escape(&path, sub->cursor.data);
    }
    gw_buf_clear(&sub->line);
    gw_buf_clear(&sub->event);
    gw_buf_clear(&sub->data);
    gw_buf_clear(&sub->id);
    gw_buf_clear(&sub->why);
    sub->code[0] = '\0';
    enum gw_http_outcome outcome = gw_http_client_ask(client, path.data, NULL, sub_piece, sub, &answer, problem);
    gw_buf_fini(&path);
    gw_buf_fini(&answer);
    return outcome;
}

/* Is the error at the end of a stream of a kind that would come again? */
static bool sub_final(const char *code)
{
    static const char *const passing[] = {"going_away", "slow_consumer", "overloaded", "upstream_down", "internal"};
    for (size_t i = 0; i < sizeof passing / sizeof *passing; i++) {
        if (!strcmp(code, passing[i]))
            return false;
    }
    return *code != '\0';
}

static int sub_run(struct sub *sub, struct gw_http_client *client, const char *filter)
{
    unsigned delay_ms = 0;
    bool ever = false;
    for (;;) {
        struct gw_buf problem = {0};
        sub->alive = false;
        enum gw_http_outcome outcome = sub_connect(sub, client, filter, &problem);
        ever = ever || sub->alive;
        bool last = sub->done || outcome == GW_HTTP_REFUSED || sub_final(sub->code) || !ever;
        const char *said = sub->why.len ? sub->why.data : problem.len ? problem.data : "the stream has ended";
        if (!sub->done)
            fprintf(stderr, "sluice: %s%s\n", said, last ? "" : "; going on from the last cursor");
        gw_buf_fini(&problem);
        if (last)
            return sub->done && !sub->failed ? 0 : 1;
        delay_ms = sub->alive ? 500 : delay_ms * 2 < DELAY_MAX_MS ? delay_ms * 2 : DELAY_MAX_MS;
        const struct timespec delay = {.tv_sec = delay_ms / 1000, .tv_nsec = (long)(delay_ms % 1000) * 1000000};
        nanosleep(&delay, NULL);
    }
}

int gw_cli_sub(const struct gw_cli *cli)
{
    int status = 1;
    struct gw_config *config;
    struct sub sub = {.left = UINT64_MAX};
    char *end = NULL;
    if (cli->count &&
        (cli->count[0] < '1' || cli->count[0] > '9' || (sub.left = strtoull(cli->count, &end, 10), *end)))
        return gw_cli_usage(cli->command, "--count: a number from 1 is expected, not", cli->count);
    struct gw_http_client *client = gw_cli_client(cli, &config, &status);
    if (client) {
        if (cli->cursor)
            gw_buf_adds(&sub.cursor, cli->cursor);
        status = sub_run(&sub, client, cli->words[0]);
    }
    gw_buf_fini(&sub.line);
    gw_buf_fini(&sub.event);
    gw_buf_fini(&sub.data);
    gw_buf_fini(&sub.cursor);
    gw_buf_fini(&sub.id);
    gw_buf_fini(&sub.why);
    gw_http_client_free(client);
    gw_config_unref(config);
    return status;
}
