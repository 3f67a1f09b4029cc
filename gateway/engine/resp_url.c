/* resp_url.c: where a server is, as a URL. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/resp.h"
#include "gateway/alloc.h"

const char *gw_resp_parse_url(const char *url, char **host, char **port, unsigned *database, bool *tls)
{
    static const char wanted[] = "it is no address of a server (redis://host:port or rediss://host:port expected)";
    static const char *const schemes[] = {"redis://", "valkey://", "rediss://", "valkeys://"};
    size_t i = 0, count = sizeof schemes / sizeof *schemes;
    while (i < count && strncasecmp(url, schemes[i], strlen(schemes[i])) != 0)
        i++;
    if (i == count)
        return wanted;
    const char *at = url + strlen(schemes[i]), *end = at + strcspn(at, "/");
    if (strchr(at, '@'))
        return "it has credentials (they belong in username and password or password_file)";
    const char *slash = *end ? end + 1 : end;
    char *rest = NULL;
    unsigned long number = strtoul(slash, &rest, 10);
    if (*rest || number > 1023 || (*slash && (*slash < '0' || *slash > '9')))
        return "what follows the / is no number of a database (0 to 1023 expected)";
    bool six = *at == '[';
    const char *close = six ? memchr(at, ']', (size_t)(end - at)) : NULL;
    const char *name = six ? at + 1 : at, *stop = six ? close : at + strcspn(at, ":/");
    if ((six && !close) || stop == name)
        return wanted;
    const char *colon = six ? close + 1 : stop;
    unsigned long tcp = 6379;
    if (colon < end) {
        tcp = strtoul(colon + 1, &rest, 10);
        if (*colon != ':' || rest != end || colon + 1 == end || tcp < 1 || tcp > 65535)
            return wanted;
    }
    char digits[8];
    snprintf(digits, sizeof digits, "%lu", tcp);
    *host = gw_strndup(name, (size_t)(stop - name));
    *port = gw_strdup(digits);
    *database = (unsigned)number;
    *tls = i >= 2;
    return NULL;
}
