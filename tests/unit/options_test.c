/* The tables of extensions: read, checked, described, kept with their configuration. */
#include <unistd.h>

#include "check.h"
#include "config/describe.h"
#include "config/options.h"
#include "gateway/config.h"
#include "gateway/options.h"

enum chat_mode { CHAT_QUIET = 1, CHAT_LOUD = 7 };

struct chat {
    char *path, *file;
    int64_t patience_ms;
    size_t queue_bytes;
    uint32_t rooms;
    double ratio;
    bool bell;
    int mode;
    struct gw_strings names;
    struct gw_pairs members;
    char *color;
    char *shout; /* made by check() */
};

#define CHAT(member) offsetof(struct chat, member)

static const struct gw_choice chat_modes[] = {{"quiet", CHAT_QUIET}, {"loud", CHAT_LOUD}, {NULL, 0}};
static const struct gw_field chat_look[] = {
    {.key = "color", .type = GW_FIELD_STRING, .offset = CHAT(color), .def = "red", .doc = "Color of the `text`."},
    {.key = NULL},
};
static const struct gw_field chat_fields[] = {
    {.key = "path", .type = GW_FIELD_STRING, .offset = CHAT(path), .required = true, .doc = "Where it is."},
    {.key = "file", .type = GW_FIELD_FILE, .offset = CHAT(file), .doc = "A file."},
    {.key = "patience",
     .type = GW_FIELD_DURATION,
     .offset = CHAT(patience_ms),
     .min = 100,
     .max = 60000,
     .def = "5s",
     .doc = "How long."},
    {.key = "queue",
     .type = GW_FIELD_SIZE,
     .offset = CHAT(queue_bytes),
     .min = 1024,
     .max = 65536,
     .def = "4KiB",
     .doc = "How much."},
    {.key = "rooms", .type = GW_FIELD_INT, .offset = CHAT(rooms), .min = 1, .max = 9, .def = "3", .doc = "How many."},
    {.key = "ratio", .type = GW_FIELD_NUMBER, .offset = CHAT(ratio), .def = "0.5", .doc = "A ratio."},
    {.key = "bell", .type = GW_FIELD_BOOL, .offset = CHAT(bell), .def = "true", .doc = "A bell."},
    {.key = "mode",
     .type = GW_FIELD_CHOICE,
     .offset = CHAT(mode),
     .def = "quiet",
     .choices = chat_modes,
     .doc = "A mode."},
    {.key = "names", .type = GW_FIELD_STRINGS, .offset = CHAT(names), .doc = "Names."},
    {.key = "members", .type = GW_FIELD_PAIRS, .offset = CHAT(members), .doc = "New names of members."},
    {.key = "look", .type = GW_FIELD_TABLE, .table = chat_look, .doc = "Looks."},
    {.key = NULL},
};

static void chat_check(void *options, const struct gw_config *config, struct gw_report *report)
{
    struct chat *chat = options;
    assert_true(chat->rooms >= 1);
    assert_non_null(config->file);
    for (size_t i = 0; i < chat->names.count; i++) {
        char key[32];
        snprintf(key, sizeof key, "names[%zu]", i);
        if (!strcmp(chat->names.items[i], "bad"))
            gw_report_error(report, key, "'%s' is taken (another name expected)", chat->names.items[i]);
    }
    for (size_t i = 0; i < chat->members.count; i++) {
        char key[128];
        snprintf(key, sizeof key, "members.%s", chat->members.items[i].name);
        if (!strcmp(chat->members.items[i].value, "bad"))
            gw_report_error(report, key, "no such member (data expected)");
    }
    if (chat->path[0] != '/')
        gw_report_error(report, "path", "'%s' does not begin with a slash (/%s expected)", chat->path, chat->path);
    if (!strcmp(chat->color, "black"))
        gw_report_error(report, "look.color", "it can't be seen (red expected)");
    if (!strcmp(chat->path, "/old"))
        gw_report_warning(report, "", "the old path will go");
    chat->shout = strdup(chat->path);
}

static void chat_release(void *options)
{
    free(((struct chat *)options)->shout);
}

static const struct gw_options chat_options = {
    .key = "chat",
    .doc = "A chat.",
    .size = sizeof(struct chat),
    .fields = chat_fields,
    .check = chat_check,
    .release = chat_release,
};

struct clock {
    uint32_t ticks;
};

static const struct gw_field clock_fields[] = {
    {.key = "ticks",
     .type = GW_FIELD_INT,
     .offset = offsetof(struct clock, ticks),
     .min = 1,
     .max = 60,
     .def = "12",
     .doc = "Ticks."},
    {.key = NULL},
};

static const struct gw_options clock_options = {
    .key = "clock", .doc = "A clock.", .size = sizeof(struct clock), .fields = clock_fields, .by_default = true};

/* Of no list: nothing is ever read for it. */
static const struct gw_options stray_options = {.key = "stray", .size = 1, .fields = clock_fields};

/* The file has four lines before `text`. NULL: it is bad. `problems` gets what is said, without the file's name. */
static struct gw_config *load(const char *text, char problems[2048])
{
    char name[] = "/tmp/sluice-options-XXXXXX";
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    dprintf(fd, "broker: { url: mqtt://b }\nlisten: [ { address: 127.0.0.1:0 } ]\nroutes:\n  - topic: a\n%s", text);
    close(fd);
    struct gw_config *config;
    struct gw_buf said = {0};
    enum gw_err err = gw_config_load(name, &config, &said);
    unlink(name);
    assert_true((err == GW_OK) == (config != NULL));
    problems[0] = '\0';
    for (char *line = said.data; line && *line; line = strchr(line, '\n') + 1) {
        int len = (int)(strchr(line, '\n') - line), skip = (int)strlen(name) + 1;
        assert_true(len > skip && !strncmp(line, name, (size_t)skip - 1));
        size_t at = strlen(problems);
        snprintf(problems + at, 2048 - at, "%.*s\n", len - skip, line + skip);
    }
    gw_buf_fini(&said);
    return config;
}

static void test_off_and_on(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool chat, clock;
    } rows[] = {{"", false, true},
                {"chat: { path: /c }\n", true, true},
                {"chat: false\nclock: false\n", false, false},
                {"clock:\n", false, true},
                {"clock: true\n", false, true},
                {"clock: {}\n", false, true},
                {"clock: null\n", false, true}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        char problems[2048];
        struct gw_config *config = load(rows[i].text, problems);
        CHECK_ROW(config != NULL, rows[i].text);
        CHECK_ROW((gw_options_of(config, &chat_options) != NULL) == rows[i].chat, rows[i].text);
        const struct clock *clock = gw_options_of(config, &clock_options);
        CHECK_ROW((clock != NULL) == rows[i].clock, rows[i].text);
        CHECK_ROW(!clock || clock->ticks == 12, rows[i].text);
        CHECK_ROW(!gw_options_of(config, &stray_options) && !gw_options_of(config, NULL), rows[i].text);
        gw_config_unref(config);
    }
}

static void test_values(void **state)
{
    (void)state;
    char problems[2048];
    setenv("OPTIONS_TEST_PATH", "/from/environment", 1);
    struct gw_config *config = load("chat:\n"
                                    "  path: ${OPTIONS_TEST_PATH}\n"
                                    "  patience: 250ms\n"
                                    "  queue: 64KiB\n"
                                    "  rooms: 9\n"
                                    "  ratio: 1.25\n"
                                    "  bell: false\n"
                                    "  mode: loud\n"
                                    "  names: [ anna, \"${OPTIONS_TEST_NONE:-bert}\" ]\n"
                                    "  members: { channel: topic, data.x: message, n: 5 }\n"
                                    "  look: { color: blue }\n"
                                    "clock: { ticks: 24 }\n",
                                    problems);
    assert_string_equal(problems, "");
    const struct chat *chat = gw_options_of(config, &chat_options);
    assert_string_equal(chat->path, "/from/environment");
    assert_string_equal(chat->shout, chat->path);
    assert_null(chat->file);
    assert_int_equal(chat->patience_ms, 250);
    assert_int_equal(chat->queue_bytes, 65536);
    assert_int_equal(chat->rooms, 9);
    assert_true(chat->ratio == 1.25);
    assert_false(chat->bell);
    assert_int_equal(chat->mode, CHAT_LOUD);
    assert_int_equal(chat->names.count, 2);
    assert_string_equal(chat->names.items[1], "bert");
    assert_int_equal(chat->members.count, 3);
    assert_string_equal(chat->members.items[1].name, "data.x");
    assert_string_equal(chat->members.items[1].value, "message");
    assert_string_equal(chat->members.items[2].value, "5");
    assert_string_equal(chat->color, "blue");
    assert_int_equal(((const struct clock *)gw_options_of(config, &clock_options))->ticks, 24);

    /* As at a reload: each has its own. */
    struct gw_config *second = load("chat: { path: /b, names: only }\n", problems);
    const struct chat *other = gw_options_of(second, &chat_options);
    assert_string_equal(other->path, "/b");
    assert_string_equal(other->color, "red");
    assert_int_equal(other->patience_ms, 5000);
    assert_int_equal(other->queue_bytes, 4096);
    assert_int_equal(other->mode, CHAT_QUIET);
    assert_true(other->bell && other->ratio == 0.5);
    assert_int_equal(other->names.count, 1);
    assert_string_equal(chat->path, "/from/environment");
    gw_config_unref(config);
    assert_string_equal(other->shout, "/b");
    gw_config_unref(second);
}

static void test_problems(void **state)
{
    (void)state;
    static const struct {
        const char *text, *problems;
    } rows[] = {
        {"chat:\n", "5:6: chat.path: it is missing (a text expected)\n"},
        {"chat: true\n", "5:7: chat.path: it is missing (a text expected)\n"},
        {"chat: { color: red }\n", "5:7: chat.path: it is missing (a text expected)\n"
                                   "5:9: chat.color: unknown key here (chat.look.color expected, below look:)\n"},
        {"chat: { nonsense: red }\n", "5:7: chat.path: it is missing (a text expected)\n"
                                      "5:9: chat.nonsense: unknown key (path, file, patience, queue, rooms, ratio, "
                                      "bell, mode, names, members, look expected)\n"},
        {"chat: [ 1 ]\n", "5:7: chat: a list (a mapping expected)\n"},
        {"clock: 5\n", "5:8: clock: a single value (a mapping expected)\n"},
        {"clock: { tick: 5 }\n", "5:10: clock.tick: unknown key (did you mean ticks?)\n"},
        {"clok: {}\n", "5:1: clok: unknown key (did you mean clock?)\n"},
        {"clock: { ticks: 61 }\n", "5:17: clock.ticks: 61 is out of range (1 to 60 expected)\n"},
        {"chat: { path: /c, patience: 1ms, queue: 1MiB }\n",
         "5:29: chat.patience: 1ms is out of range (100ms to 1m expected)\n"
         "5:41: chat.queue: 1MiB is out of range (1KiB to 64KiB expected)\n"},
        {"chat: { path: /c, mode: silent }\n",
         "5:25: chat.mode: 'silent' is no value for this (quiet, loud expected)\n"},
        {"chat: { path: /c, file: /no/such }\n",
         "5:25: chat.file: can't read '/no/such': No such file or directory (a readable file expected)\n"},
        {"chat: { path: /c, members: [ a ] }\n",
         "5:28: chat.members: a list (a mapping of names to texts expected)\n"},
        {"chat: { path: /c, members: { a: [ b ], c: '' } }\n",
         "5:33: chat.members.a: a list (a text expected)\n5:43: chat.members.c: it is empty (a text expected)\n"},
        {"chat: { path: '${OPTIONS_TEST_NONE}' }\n",
         "5:15: the environment has no variable OPTIONS_TEST_NONE (set it, or write ${OPTIONS_TEST_NONE:-default})\n"
         "5:15: chat.path: it is empty (a text expected)\n"},
        /* What check() finds has the place of the key, or of the nearest one above it. */
        {"chat:\n  path: c\n", "6:9: chat.path: 'c' does not begin with a slash (/c expected)\n"},
        {"chat:\n  path: /c\n  names: [ good, bad ]\n",
         "7:18: chat.names[1]: 'bad' is taken (another name expected)\n"},
        {"chat:\n  path: /c\n  names: bad\n", "7:10: chat.names[0]: 'bad' is taken (another name expected)\n"},
        {"chat:\n  path: /c\n  members:\n    a: x\n    a.b: bad\n    a.b.c: y\n",
         "9:10: chat.members.a.b: no such member (data expected)\n"},
        {"chat:\n  path: /c\n  look: { color: black }\n", "7:18: chat.look.color: it can't be seen (red expected)\n"},
        /* With a bad key, check() sees its default and finds the rest, but it need not do without what is required.
         */
        {"chat: { path: c, rooms: 0 }\n", "5:15: chat.path: 'c' does not begin with a slash (/c expected)\n"
                                          "5:25: chat.rooms: 0 is out of range (1 to 9 expected)\n"},
        {"chat: { path: '', names: bad }\n", "5:15: chat.path: it is empty (a text expected)\n"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char problems[2048];
        struct gw_config *config = load(rows[i].text, problems);
        if (strcmp(problems, rows[i].problems) != 0 || config)
            fail_msg("%s\ngives\n%s\ninstead of\n%s", rows[i].text, problems, rows[i].problems);
    }
    char problems[2048];
    struct gw_config *config = load("chat: { path: /old }\n", problems);
    assert_string_equal(problems, "5:7: warning: chat: the old path will go\n");
    gw_config_unref(config);
}

static void test_documents(void **state)
{
    (void)state;
    struct gw_buf text = {0};
    gw_config_schema(&text);
    assert_non_null(strstr(text.data, "\"chat\":{\"description\":\"A chat.\""));
    assert_non_null(strstr(text.data, "\"required\":[\"path\"]"));
    assert_non_null(strstr(text.data, "\"minimum\":1,\"maximum\":60"));
    gw_buf_clear(&text);
    gw_config_reference(&text);
    assert_non_null(strstr(text.data, "| `chat` | mapping |"));
    assert_non_null(strstr(text.data, "| `chat.look.color` | text | red |  | Color of the `text`. |"));
    assert_non_null(strstr(text.data, "| `clock.ticks` | number | 12 | 1 to 60 | Ticks. |"));
    gw_buf_clear(&text);
    gw_config_man(&text);
    assert_non_null(strstr(text.data, "\\fBchat.members\\fR (names and texts)"));
    gw_buf_fini(&text);
}

int main(void)
{
    static const struct gw_options *const all[] = {&chat_options, &clock_options, NULL};
    gw_config_extend(all);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_off_and_on), cmocka_unit_test(test_values),
                                       cmocka_unit_test(test_problems), cmocka_unit_test(test_documents)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
