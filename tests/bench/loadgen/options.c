/* options.c: key=value words into struct options. A measurement should rely on no default. */
#include <stdlib.h>
#include <string.h>

#include "loadgen.h"

struct options options;

static const struct protocol *const protocols[] = {
    &protocol_sluice_ws, &protocol_raw,         &protocol_socketio,   &protocol_mqtt,
    &protocol_sse,       &protocol_sluice_poll, &protocol_nchan_poll, &protocol_socketio_poll};

void options_read(int argc, char **argv)
{
    char *protocol = NULL, *pingpong = "0", *saturate = "0";
    const struct {
        const char *key;
        char type; /* s text, i int, u unsigned, z size, d double */
        void *to;
    } keys[] = {{"protocol", 's', &protocol},         {"path", 's', &options.path},
                {"topic", 's', &options.topic},       {"publish", 's', &options.publish},
                {"port", 'i', &options.port},         {"publish_port", 'i', &options.publish_port},
                {"qos", 'i', &options.qos},           {"clients", 'u', &options.clients},
                {"channels", 'u', &options.channels}, {"window", 'u', &options.window},
                {"burst", 'u', &options.burst},       {"messages", 'u', &options.messages},
                {"payload", 'z', &options.payload},   {"interval_us", 'd', &options.interval_us},
                {"seconds", 'd', &options.seconds},   {"warm", 'd', &options.warm},
                {"idle", 'd', &options.idle},         {"pingpong", 's', &pingpong},
                {"saturate", 's', &saturate},         {"server", 's', &options.server},
                {"broker", 's', &options.broker}};
    options = (struct options){.path = "",
                               .topic = "bench",
                               .publish = "mqtt",
                               .clients = 10,
                               .channels = 1,
                               .window = 200,
                               .burst = 1,
                               .payload = 128,
                               .seconds = 1,
                               .server = "",
                               .broker = ""};
    for (int i = 1; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        size_t k = 0, count = sizeof keys / sizeof keys[0];
        while (value && k < count &&
               (strlen(keys[k].key) != (size_t)(value - argv[i]) ||
                strncmp(keys[k].key, argv[i], (size_t)(value - argv[i])) != 0))
            k++;
        if (!value || k == count)
            die("not understood: %s", argv[i]);
        value++;
        switch (keys[k].type) {
        case 's':
            *(char **)keys[k].to = value;
            break;
        case 'i':
            *(int *)keys[k].to = atoi(value);
            break;
        case 'u':
            *(unsigned *)keys[k].to = (unsigned)atoi(value);
            break;
        case 'z':
            *(size_t *)keys[k].to = (size_t)atoll(value);
            break;
        default:
            *(double *)keys[k].to = atof(value);
            break;
        }
    }
    options.pingpong = strcmp(pingpong, "1") == 0;
    options.saturate = strcmp(saturate, "1") == 0;
    for (size_t i = 0; protocol && i < sizeof protocols / sizeof protocols[0]; i++)
        if (strcmp(protocols[i]->name, protocol) == 0)
            options.protocol = protocols[i];
    if (!options.protocol || !options.port || !options.publish_port)
        die("protocol, port and publish_port are needed");
    if (!options.clients || !options.channels || !options.burst || options.window < options.burst ||
        options.payload < 48)
        die("clients, channels, burst, window or payload make no sense");
}
