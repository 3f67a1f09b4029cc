/* Origins of web pages as the configuration lists them; what Accept-Encoding and If-None-Match mean. */
#include "check.h"
#include "config/origin.h"
#include "http/api.h"

static struct gw_slice slice_of(const char *text)
{
    return (struct gw_slice){text, strlen(text)};
}

static void test_valid(void **state)
{
    (void)state;
    static const struct {
        const char *text, *hint; /* NULL: it is fine; "": it is wrong, and nothing better comes to mind */
    } rows[] = {
        {"*", NULL},
        {"null", NULL},
        {"file://", NULL},
        {"https://dash.example", NULL},
        {"http://localhost:3000", NULL},
        {"http://localhost:*", NULL},
        {"http://127.0.0.1:5173", NULL},
        {"http://[::1]:3000", NULL},
        {"https://*.preview.example", NULL},
        {"https://*.preview.example:8443", NULL},
        {"http://*.localhost:*", NULL},
        {"capacitor://localhost", NULL},
        {"ionic://localhost", NULL},
        {"tauri://localhost", NULL},
        {"http://tauri.localhost", NULL},
        {"app://obsidian.md", NULL},
        {"chrome-extension://abcdefghijklmnopabcdefghijklmnop", NULL},
        {"moz-extension://6a4b1f5e-7d2f-4a40-9d0f-0f5f7a5f5f5f", NULL},
        {"safari-web-extension://6A4B1F5E-7D2F-4A40-9D0F-0F5F7A5F5F5F", NULL},
        {"vscode-webview://0a1b2c3d", NULL},
        {"https://dash.example/", "https://dash.example"},
        {"https://dash.example/app?x#y", "https://dash.example"},
        {"dash.example", "https://dash.example"},
        {"localhost:3000", "https://localhost:3000"},
        {"https://Dash.Example", "https://dash.example"},
        {"https://dash.example:443", "https://dash.example"},
        {"http://dash.example:80/", "http://dash.example"},
        {"ws://dash.example:81/ws", "http://dash.example:81"},
        {"wss://dash.example", "https://dash.example"},
        {"https://me:secret@dash.example", "https://dash.example"},
        {"*.preview.example", "https://*.preview.example"},
        {"https://", ""},
        {"https://*", ""},
        {"https://*preview.example", ""},
        {"https://a.*.example", ""},
        {"https://**.example", ""},
        {"https://*.*.example", ""},
        {"*://dash.example", ""},
        {"https://dash.example:0", ""},
        {"https://dash.example:65536", ""},
        {"https://dash.example:80x", ""},
        {"https://dash..example", ""},
        {"https://.example", ""},
        {"https://dash.example.", ""},
        {"https://d\303\244sh.example", ""}, /* browsers send xn--dsh-qla.example */
        {"https://[::1", ""},
        {"https://a b", ""},
        {"https://a;script-src *", ""},
        {"https://a\"b", ""},
        {"Null", "https://null"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct gw_buf hint = {0};
        CHECK_ROW(gw_origin_valid(rows[i].text, &hint) == !rows[i].hint, rows[i].text);
        CHECK_ROW(!strcmp(hint.len ? hint.data : "", rows[i].hint ? rows[i].hint : ""), rows[i].text);
        gw_buf_fini(&hint);
    }
}

static void test_match(void **state)
{
    (void)state;
    static const struct {
        const char *listed, *origin;
        enum gw_origin_match match;
    } rows[] = {
        {"https://dash.example", "https://dash.example", GW_ORIGIN_EXACT},
        {"https://dash.example", "https://dash.example:8443", GW_ORIGIN_OTHER},
        {"https://dash.example", "https://dash.example.evil.example", GW_ORIGIN_OTHER},
        {"https://dash.example", "http://dash.example", GW_ORIGIN_OTHER},
        {"capacitor://localhost", "capacitor://localhost", GW_ORIGIN_EXACT},
        {"capacitor://localhost", "ionic://localhost", GW_ORIGIN_OTHER},
        {"*", "https://anybody.example", GW_ORIGIN_PATTERN},
        {"null", "null", GW_ORIGIN_PATTERN},
        {"null", "nul", GW_ORIGIN_OTHER},
        {"file://", "file://", GW_ORIGIN_PATTERN},
        {"https://*.preview.example", "https://a.preview.example", GW_ORIGIN_PATTERN},
        {"https://*.preview.example", "https://pr-7.team.preview.example", GW_ORIGIN_PATTERN},
        {"https://*.preview.example", "https://preview.example", GW_ORIGIN_OTHER},
        {"https://*.preview.example", "https://.preview.example", GW_ORIGIN_OTHER},
        {"https://*.preview.example", "https://a..preview.example", GW_ORIGIN_OTHER},
        {"https://*.preview.example", "https://evilpreview.example", GW_ORIGIN_OTHER},
        {"https://*.preview.example", "https://a.preview.example.evil.example", GW_ORIGIN_OTHER},
        {"https://*.preview.example", "https://evil.example/.preview.example", GW_ORIGIN_OTHER},
        {"https://*.preview.example", "https://evil.example#.preview.example", GW_ORIGIN_OTHER},
        {"https://*.preview.example", "https://evil.example@a.preview.example", GW_ORIGIN_OTHER},
        {"https://*.preview.example", "https://a.preview.example:444", GW_ORIGIN_OTHER},
        {"https://*.preview.example", "https://a.preview.example:", GW_ORIGIN_OTHER},
        {"https://*.preview.example", "http://a.preview.example", GW_ORIGIN_OTHER},
        {"https://*.preview.example", "https://*.preview.example", GW_ORIGIN_EXACT}, /* no browser sends that */
        {"https://*.preview.example", "null", GW_ORIGIN_OTHER},
        {"https://*.preview.example", "", GW_ORIGIN_OTHER},
        {"https://*.preview.example:8443", "https://a.preview.example:8443", GW_ORIGIN_PATTERN},
        {"https://*.preview.example:8443", "https://a.preview.example", GW_ORIGIN_OTHER},
        {"http://localhost:*", "http://localhost:5173", GW_ORIGIN_PATTERN},
        {"http://localhost:*", "http://localhost", GW_ORIGIN_PATTERN},
        {"http://localhost:*", "http://localhost:", GW_ORIGIN_OTHER},
        {"http://localhost:*", "http://localhost:1x", GW_ORIGIN_OTHER},
        {"http://localhost:*", "http://localhost.evil.example:1", GW_ORIGIN_OTHER},
        {"http://*.localhost:*", "http://a.localhost:1", GW_ORIGIN_PATTERN},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        CHECK_ROW(gw_origin_match(rows[i].listed, slice_of(rows[i].origin)) == rows[i].match, rows[i].origin);
}

static void test_encodings(void **state)
{
    (void)state;
    static const struct {
        const char *accept;
        bool gzip;
    } rows[] = {
        {"", false},
        {"gzip", true},
        {"gzip, deflate, br, zstd", true},
        {"br;q=1.0, gzip;q=0.8, *;q=0.1", true},
        {"gzip;q=0", false},
        {"gzip; q=0.000", false},
        {"gzip;q=0.001", true},
        {"*", true},
        {"*;q=0", false},
        {"*, gzip;q=0", false},
        {"GZip", true},
        {"x-gzip", true},
        {"identity", false},
        {"gzipped", false},
        {"br", false},
        {" , gzip ,", true},
        {"identity;q=1, *;q=0", false},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        CHECK_ROW(gw_asset_takes_gzip(slice_of(rows[i].accept)) == rows[i].gzip, rows[i].accept);
    static const struct {
        const char *header;
        bool known;
    } tags[] = {
        {"", false},      {"\"ab\"", true},   {"W/\"ab\"", true}, {"\"x\", \"ab\"", true},
        {"*", true},      {"\"abc\"", false}, {"ab", false},      {"\"x\",W/\"ab\" , \"y\"", true},
        {"\"a\"", false}, {"W/", false},
    };
    for (size_t i = 0; i < COUNT(tags); i++)
        CHECK_ROW(gw_asset_is_known(slice_of(tags[i].header), "\"ab\"") == tags[i].known, tags[i].header);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid),
        cmocka_unit_test(test_match),
        cmocka_unit_test(test_encodings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
