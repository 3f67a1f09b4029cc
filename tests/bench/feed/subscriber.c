/* subscriber: what taking messages from a broker costs at least: libmosquitto, its own loop, and a callback that
 * counts. The peer of a gateway without clients.
 *
 *   subscriber PORT QOS EXPECTED FILTER...      prints "subscribed", and the number once so many messages have come
 */
#include <mosquitto.h>
#include <stdio.h>
#include <stdlib.h>

static long count, expected;
static int wanted;

static void on_message(struct mosquitto *client, void *context, const struct mosquitto_message *message)
{
    (void)client, (void)context, (void)message;
    if (++count != expected)
        return;
    printf("%ld\n", count);
    fflush(stdout);
}

static void on_subscribe(struct mosquitto *client, void *context, int id, int granted, const int *qos)
{
    (void)client, (void)context, (void)id, (void)granted, (void)qos;
    if (--wanted)
        return;
    printf("subscribed\n");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    if (argc < 5)
        return 2;
    mosquitto_lib_init();
    struct mosquitto *client = mosquitto_new(NULL, true, NULL);
    expected = atol(argv[3]);
    mosquitto_message_callback_set(client, on_message);
    mosquitto_subscribe_callback_set(client, on_subscribe);
    if (mosquitto_connect(client, "127.0.0.1", atoi(argv[1]), 60) != MOSQ_ERR_SUCCESS)
        return 1;
    wanted = argc - 4;
    for (int i = 4; i < argc; i++)
        if (mosquitto_subscribe(client, NULL, argv[i], atoi(argv[2])) != MOSQ_ERR_SUCCESS)
            return 1;
    return mosquitto_loop_forever(client, -1, 1) == MOSQ_ERR_SUCCESS ? 0 : 1;
}
