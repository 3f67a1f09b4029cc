/* pub.c: `sluice pub`: publishes one value by way of a running gateway. */
#include <stdio.h>
#include <string.h>

#include "app/cli.h"
#include "app/http_client.h"

#define VALUE_BYTES (256 * 1024 * 1024) /* what limits.frame can be at most */

static bool pub_read(struct gw_buf *value)
{
    size_t got;
    do {
        char *to = gw_buf_reserve(value, 65536);
        got = fread(to, 1, 65536, stdin);
        value->len += got;
    } while (got && value->len <= VALUE_BYTES);
    return !ferror(stdin) && value->len <= VALUE_BYTES;
}

static int pub_send(struct gw_http_client *client, const char *channel, const struct gw_buf *value)
{
    struct gw_buf path = {0}, answer = {0}, problem = {0};
    gw_buf_adds(&path, "/channels/");
    gw_http_client_escape(&path, channel);
    const struct gw_slice body = {value->data, value->len};
    bool good = gw_http_client_ask(client, path.data, &body, NULL, NULL, &answer, &problem) == GW_HTTP_GOOD;
    if (!good)
        fprintf(stderr, "sluice: %s\n", problem.data);
    else if (answer.data && strstr(answer.data, "\"accepted\""))
        puts("accepted: sent at QoS 0, which the broker does not acknowledge");
    else
        puts("published: the broker has acknowledged it");
    gw_buf_fini(&path);
    gw_buf_fini(&answer);
    gw_buf_fini(&problem);
    return good ? 0 : 1;
}

int gw_cli_pub(const struct gw_cli *cli)
{
    int status = 1;
    struct gw_config *config;
    struct gw_buf value = {0};
    struct gw_http_client *client = gw_cli_client(cli, &config, &status);
    if (client && !strcmp(cli->words[1], "-") && !pub_read(&value))
        fputs("sluice: standard input can't be read, or has more than 256 MiB\n", stderr);
    else if (client) {
        if (strcmp(cli->words[1], "-") != 0)
            gw_buf_adds(&value, cli->words[1]);
        status = pub_send(client, cli->words[0], &value);
    }
    gw_buf_fini(&value);
    gw_http_client_free(client);
    gw_config_unref(config);
    return status;
}
