/* What proxies say about their clients: trusted networks, X-Forwarded-…, the PROXY header. */
#include <arpa/inet.h>

#include "check.h"
#include "http/forward.h"
#include "http/http1.h"
#include "net/address.h"
#include "net/proxy.h"

static struct gw_strings list_of(char **items, size_t count)
{
    return (struct gw_strings){.items = items, .count = count};
}

static struct in6_addr address_of(const char *text)
{
    struct in6_addr out;
    assert_true(gw_address_parse(text, strlen(text), &out));
    return out;
}

static const char *text_of(const struct in6_addr *address)
{
    static char text[INET6_ADDRSTRLEN];
    return inet_ntop(AF_INET6, address, text, sizeof text);
}

static void test_trusted(void **state)
{
    (void)state;
    static char *items[] = {"10.0.0.0/8", "192.0.2.7", "2001:db8::/33", "fe80::1", "172.16.0.0/12"};
    const struct gw_strings trusted = list_of(items, COUNT(items)), none = {0};
    static const struct {
        const char *address;
        bool trusted;
    } rows[] = {{"10.255.0.1", true},       {"11.0.0.1", false},   {"192.0.2.7", true},
                {"192.0.2.8", false},       {"2001:db8::1", true}, {"2001:db8:8000::1", false},
                {"2001:db8:7fff::1", true}, {"fe80::1", true},     {"fe80::2", false},
                {"172.31.255.255", true},   {"172.32.0.0", false}, {"::ffff:10.1.2.3", true}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct in6_addr address = address_of(rows[i].address);
        CHECK_ROW(gw_address_trusted(&trusted, &address) == rows[i].trusted, rows[i].address);
        CHECK_ROW(!gw_address_trusted(&none, &address), rows[i].address);
    }
    static char *local[] = {"unix"}, *all[] = {"0.0.0.0/0", "::/0"};
    const struct gw_strings is_unix = list_of(local, 1), any = list_of(all, 2);
    struct in6_addr v4 = address_of("127.0.0.1");
    assert_true(gw_address_trusted(&is_unix, &in6addr_any));
    assert_false(gw_address_trusted(&is_unix, &v4));
    assert_false(gw_address_trusted(&any, &in6addr_any)); /* a network is no Unix socket */
    assert_true(gw_address_trusted(&any, &v4));
}

static void test_forwarded(void **state)
{
    (void)state;
    static char *items[] = {"10.0.0.0/8"};
    const struct gw_strings trusted = list_of(items, 1);
    static const struct {
        const char *headers, *address;
        bool secure;
    } rows[] = {
        {"", "::ffff:10.0.0.1", false},
        {"X-Forwarded-For: 203.0.113.5\r\n", "::ffff:203.0.113.5", false},
        {"x-forwarded-for: 6.6.6.6, 203.0.113.5, 10.0.0.9\r\n", "::ffff:203.0.113.5",
         false}, /* what the client made up is left of it */
        {"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 203.0.113.5\r\n", "::ffff:203.0.113.5", false},
        {"X-Forwarded-For: 203.0.113.5:4711 ,\t\r\n", "::ffff:203.0.113.5", false},
        {"X-Forwarded-For: [2001:db8::7]:443\r\n", "2001:db8::7", false},
        {"X-Forwarded-For: 2001:db8::7\r\n", "2001:db8::7", false},
        {"X-Forwarded-For: 10.0.0.7, 10.0.0.8\r\n", "::ffff:10.0.0.7", false},
        {"X-Forwarded-For: unknown, 10.0.0.8\r\n", "::ffff:10.0.0.8", false},
        {"X-Forwarded-For: \r\n", "::ffff:10.0.0.1", false},
        {"X-Forwarded-For: , ,\r\n", "::ffff:10.0.0.1", false},
        {"X-Forwarded-For: [::1\r\n", "::ffff:10.0.0.1", false},
        {"X-Forwarded-Proto: https\r\n", "::ffff:10.0.0.1", true},
        {"X-Forwarded-Proto: https, http\r\n", "::ffff:10.0.0.1", false},
        {"X-Forwarded-Proto: http, HTTPS\r\n", "::ffff:10.0.0.1", true},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[512];
        const char *why;
        struct gw_request request;
        snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: h\r\n%s\r\n", rows[i].headers);
        CHECK_ROW(gw_http_parse(text, strlen(text), 8192, &request, &why) > 0, rows[i].headers);
        struct in6_addr address = address_of("10.0.0.1");
        gw_forward_address(&request, &trusted, &address);
        if (strcmp(text_of(&address), rows[i].address) != 0)
            fail_msg("%s: %s", rows[i].headers, text_of(&address));
        CHECK_ROW(gw_forward_secure(&request) == rows[i].secure, rows[i].headers);
    }
}

/* Every shorter piece must ask for more, and nothing behind the header may count. */
static void check_proxy(const char *data, size_t len, const char *address, bool secure)
{
    struct gw_proxy_header header;
    for (size_t i = 0; i < len; i++) {
        char *exact = malloc(i ? i : 1);
        memcpy(exact, data, i);
        if (gw_proxy_parse(exact, i, &header) != 0)
            fail_msg("%zu of %zu bytes are taken for a header", i, len);
        free(exact);
    }
    char more[512];
    memcpy(more, data, len);
    memcpy(more + len, "GET / HTTP/1.1\r\n\r\n", 18);
    assert_int_equal(gw_proxy_parse(more, len + 18, &header), len);
    assert_int_equal(header.has_address, address != NULL);
    assert_int_equal(header.secure, secure);
    if (address)
        assert_string_equal(text_of(&header.address), address);
}

#define V2 "\r\n\r\n\0\r\nQUIT\n"

static void test_proxy(void **state)
{
    (void)state;
    static const char v1[] = "PROXY TCP4 203.0.113.5 198.51.100.1 4711 443\r\n",
                      v1_6[] = "PROXY TCP6 2001:db8::5 ::1 4711 443\r\n";
    static const char unknown[] = "PROXY UNKNOWN ffff:f...f:ffff 1 2\r\n";
    static const char v2[] = V2 "\x21\x11\0\x0c"
                                "\xcb\0\x71\x05"
                                "\xc6\x33\x64\x01"
                                "\x12\x67\x01\xbb";
    static const char tls[] = V2 "\x21\x11\0\x14"
                                 "\xcb\0\x71\x05"
                                 "\xc6\x33\x64\x01"
                                 "\x12\x67\x01\xbb"
                                 "\x20\0\x05"
                                 "\x01\0\0\0\0";
    static const char v6[] = V2 "\x21\x21\0\x24"
                                "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x05"
                                "0123456789abcdef"
                                "\x12\x67\x01\xbb";
    static const char local[] = V2 "\x20\0\0\0", local_with[] = V2 "\x20\x11\0\x0c"
                                                                   "\xcb\0\x71\x05"
                                                                   "\xc6\x33\x64\x01"
                                                                   "\x12\x67\x01\xbb";
    check_proxy(v1, sizeof v1 - 1, "::ffff:203.0.113.5", false);
    check_proxy(v1_6, sizeof v1_6 - 1, "2001:db8::5", false);
    check_proxy(unknown, sizeof unknown - 1, NULL, false);
    check_proxy(v2, sizeof v2 - 1, "::ffff:203.0.113.5", false);
    check_proxy(tls, sizeof tls - 1, "::ffff:203.0.113.5", true);
    check_proxy(v6, sizeof v6 - 1, "2001:db8::5", false);
    check_proxy(local, sizeof local - 1, NULL, false);
    check_proxy(local_with, sizeof local_with - 1, NULL, false);
}

static void test_proxy_refused(void **state)
{
    (void)state;
    char long_line[200];
    memset(long_line, 'x', sizeof long_line);
    memcpy(long_line, "PROXY TCP4 ", 11);
    struct gw_proxy_header header;
    assert_int_equal(gw_proxy_parse(long_line, sizeof long_line, &header), -1);
#define REFUSED(text) assert_int_equal(gw_proxy_parse(text, sizeof(text) - 1, &header), -1)
    REFUSED("GET / HTTP/1.1\r\n");
    REFUSED("\x16\x03\x01\x02\0\x01");
    REFUSED("PROXY TCP4 203.0.113.5 198.51.100.1 4711 443\n");
    REFUSED("PROXY TCP4\r\n");
    REFUSED("PROXY \r\n");
    REFUSED("PROXY TCP4 nonsense 198.51.100.1 4711 443\r\n");
    REFUSED("PROXY UDP4 203.0.113.5 198.51.100.1 4711 443\r\n");
    REFUSED("PROXY TCP4 203.0.113.555 198.51.100.1 4711 443\r\n");
    REFUSED(V2 "\x11\x11\0\x0c"
               "0123456789ab"); /* version 1 */
    REFUSED(V2 "\x22\x11\0\x0c"
               "0123456789ab"); /* neither PROXY nor LOCAL */
    REFUSED(V2 "\x21\x11\0\x04"
               "0123"); /* too short for its addresses */
    REFUSED(V2 "\x21\x11\xff\xff"
               "0123"); /* larger than anybody needs */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trusted),
        cmocka_unit_test(test_forwarded),
        cmocka_unit_test(test_proxy),
        cmocka_unit_test(test_proxy_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
