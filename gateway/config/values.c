#include "config/values.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "gateway/alloc.h"

bool gw_parse_int(const char *text, int64_t *number)
{
    char *end;
    const char *digits = *text == '-' ? text + 1 : text;
    if (*digits < '0' || *digits > '9')
        return false;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    *number = value;
    return !*end && errno == 0;
}

static bool value_port(const char *text, bool zero, uint16_t *port)
{
    int64_t number;
    if (!gw_parse_int(text, &number) || number < (zero ? 0 : 1) || number > 65535)
        return false;
    *port = (uint16_t)number;
    return true;
}

/* host:port or [v6]:port; without a port *port stays as it was. */
static bool value_host_port(const char *text, bool zero, bool *has_port, char **host, uint16_t *port)
{
    const char *end;
    size_t len;
    if (*text == '[') {
        end = strchr(text, ']');
        if (!end)
            return false;
        *host = gw_strndup(text + 1, (size_t)(end - text - 1));
        len = (size_t)(end - text - 1);
        end++;
    } else {
        len = strcspn(text, ":");
        end = text + len;
        *host = gw_strndup(text, len);
    }
    *has_port = *end == ':';
    if (len && (!*end || (*has_port && value_port(end + 1, zero, port))))
        return true;
    free(*host);
    *host = NULL;
    return false;
}

bool gw_parse_address(const char *text, char **host, uint16_t *port)
{
    bool has_port;
    unsigned char binary[16];
    /* `8080` and `:8080`: every address of this machine. */
    const char *digits = text + (*text == ':');
    if (*digits && !digits[strspn(digits, "0123456789")]) {
        if (!value_port(digits, true, port))
            return false;
        *host = gw_strdup("0.0.0.0");
        return true;
    }
    if (!value_host_port(text, true, &has_port, host, port))
        return false;
    if (!strcmp(*host, "localhost")) { /* the one name that needs no resolver */
        free(*host);
        *host = gw_strdup("127.0.0.1");
    }
    bool numeric = inet_pton(*text == '[' ? AF_INET6 : AF_INET, *host, binary) == 1;
    if (has_port && numeric)
        return true;
    free(*host);
    *host = NULL;
    return false;
}

const char *gw_parse_broker_url(const char *text, char **host, uint16_t *port, bool *tls)
{
    /* The names that other clients have for the same two. */
    static const struct {
        const char *prefix;
        bool tls;
    } schemes[] = {{"mqtt://", false}, {"tcp://", false}, {"mqtts://", true}, {"ssl://", true}, {"tls://", true}};
    size_t i = 0, count = sizeof schemes / sizeof *schemes;
    while (i < count && strncasecmp(text, schemes[i].prefix, strlen(schemes[i].prefix)) != 0)
        i++;
    if (!strncasecmp(text, "ws://", 5) || !strncasecmp(text, "wss://", 6))
        return "it is the address of MQTT over WebSocket (the broker's plain port, such as mqtt://host:1883, "
               "expected)";
    if (i == count && !strstr(text, "://"))
        return "it lacks its scheme (mqtt://host:port or mqtts://host:port expected)";
    if (i < count) {
        *tls = schemes[i].tls;
        text += strlen(schemes[i].prefix);
    } else {
        return "it is no broker's URL (mqtt://host:port or mqtts://host:port expected)";
    }
    if (strchr(text, '@'))
        return "it has credentials (they belong in username and password or password_file)";
    size_t len = strlen(text);
    char *plain = gw_strndup(text, len && text[len - 1] == '/' ? len - 1 : len);
    bool has_port, good = !strpbrk(plain, "/?# ");
    *port = *tls ? 8883 : 1883;
    good = good && value_host_port(plain, false, &has_port, host, port);
    free(plain);
    return good ? NULL : "it is no broker's URL (mqtt://host:port or mqtts://host:port expected)";
}
