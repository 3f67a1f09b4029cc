/* Transforms: none, one and many messages of one payload, through the routes and the memory engine into an inbox. */
#include <inttypes.h>
#include <unistd.h>

#include "check.h"
#include "gateway/config.h"
#include "gateway/engine.h"
#include "gateway/transform.h"
#include "hub/inbox.h"
#include "mqtt/ingest.h"
#include "mqtt/stored.h"
#include "route/routes.h"

/* --- a toy: `a=1;b=2` becomes a message for each key; `-a` clears; `!` is refused ------------------------------- */

struct toy {
    const struct gw_codec *codec;
    char *channel;
    unsigned applied;
};

static unsigned toys_alive;

static enum gw_err toy_create(const struct gw_transform_setup *setup, void **state, struct gw_buf *why)
{
    if (setup->codec != gw_codec_find("auto")) {
        gw_buf_adds(why, "it takes codec auto only");
        return GW_ERR_BAD_REQUEST;
    }
    struct toy *toy = calloc(1, sizeof *toy);
    toy->codec = setup->codec;
    toy->channel = setup->channel ? strdup(setup->channel) : NULL;
    toys_alive++;
    *state = toy;
    return GW_OK;
}

static void toy_destroy(void *state)
{
    struct toy *toy = state;
    free(toy->channel);
    free(toy);
    toys_alive--;
}

/* The value gets the device's name from the topic in front, so that the test sees that the captures arrive. */
static bool toy_pair(const struct gw_transform_input *input, const char *pair, size_t len, struct gw_buf *scratch,
                     const struct gw_transform_output *output)
{
    const char *equals = memchr(pair, '=', len);
    const struct gw_capture *device = gw_captures_find(input->captures, "device");
    gw_buf_clear(scratch);
    struct gw_transform_message message = {0};
    struct gw_slice value = {pair, equals ? (size_t)(equals - pair) : len};
    if (!equals) {
        value = (struct gw_slice){pair + 1, len - 1};
        message.clear = true;
    } else {
        gw_buf_printf(scratch, "\"%.*s:%.*s\"", device ? (int)device->value_len : 0, device ? device->value : "",
                      (int)(len - value.len - 1), equals + 1);
        message.json = scratch->data;
        message.json_len = scratch->len;
        message.payload = equals + 1;
        message.payload_len = len - value.len - 1;
    }
    message.values = &value;
    return output->emit(output->context, &message);
}

static enum gw_err toy_apply(void *state, const struct gw_transform_input *input, struct gw_buf *scratch,
                             const struct gw_transform_output *output)
{
    struct toy *toy = state;
    toy->applied++;
    for (size_t at = 0; at < input->payload_len;) {
        const char *end = memchr(input->payload + at, ';', input->payload_len - at);
        size_t len = end ? (size_t)(end - input->payload) - at : input->payload_len - at;
        if (len && input->payload[at] == '!')
            return GW_ERR_BAD_PAYLOAD;
        if (len && !toy_pair(input, input->payload + at, len, scratch, output))
            return GW_OK;
        at += len + 1;
    }
    return GW_OK;
}

static const char *const toy_captures[] = {"key", NULL};
static const struct gw_transform toy = {
    .name = "toy", .captures = toy_captures, .create = toy_create, .destroy = toy_destroy, .apply = toy_apply};

/* --- the way in ------------------------------------------------------------------------------------------------ */

struct row {
    const char *topic, *channel, *codec, *publish;
    const struct gw_transform *transform;
};

static struct gw_config *configure(const struct row *rows, size_t count)
{
    struct gw_config *config = calloc(1, sizeof *config);
    atomic_init(&config->refs, 1);
    config->file = strdup("test");
    config->limits.payload_messages = 100;
    config->route_count = count;
    config->routes = calloc(count, sizeof *config->routes);
    for (size_t i = 0; i < count; i++) {
        struct gw_cfg_route *route = &config->routes[i];
        route->topic = strdup(rows[i].topic);
        route->channel = rows[i].channel ? strdup(rows[i].channel) : NULL;
        route->codec = gw_codec_find(rows[i].codec ? rows[i].codec : "auto");
        route->transform = rows[i].transform;
        route->publish = rows[i].publish != NULL;
        route->publish_topic = rows[i].publish ? strdup(rows[i].publish) : NULL;
    }
    return config;
}

static void nothing(void *context)
{
    (void)context;
}

struct world {
    struct gw_config *config;
    struct gw_routes *routes;
    struct gw_inbox *inbox;
    struct gw_ingest ingest;
    struct gw_engine_store *store;
    struct gw_stored stored; /* of no connection */
    uint64_t seq;
};

static void world_start(struct world *world, struct gw_config *config)
{
    *world = (struct world){.config = config};
    world->routes = gw_routes_build(world->config);
    world->inbox = gw_inbox_create(1000, nothing, NULL);
    const struct gw_engine *engine = gw_engine_find("memory");
    struct gw_engine_found found;
    struct gw_buf error = {0};
    assert_int_equal(engine->open(NULL, &found, &world->store, &error), GW_OK);
    gw_ingest_init(&world->ingest, engine, world->store, &world->inbox, 1, &world->stored);
    gw_route_stats_configure(&world->ingest.routes, world->config);
    const struct gw_engine_sink sink = gw_ingest_sink(&world->ingest);
    assert_int_equal(engine->start(world->store, &sink, &error), GW_OK);
}

static void world_open(struct world *world, const struct row *rows, size_t count)
{
    world_start(world, configure(rows, count));
}

/* A configuration as a file has it. Returns what is wrong with it, if something is; NULL: *config is there. */
static char *load(const char *routes, struct gw_config **config)
{
    char path[] = "/tmp/transform_test.XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    dprintf(file, "broker: { url: 'mqtt://localhost' }\nlisten: [{ address: '127.0.0.1:0' }]\nroutes:\n%s", routes);
    close(file);
    struct gw_buf problems = {0};
    enum gw_err err = gw_config_load(path, config, &problems);
    unlink(path);
    if (err == GW_OK) {
        gw_buf_fini(&problems);
        return NULL;
    }
    return gw_buf_take(&problems);
}

static void world_load(struct world *world, const char *routes)
{
    struct gw_config *config;
    char *problems = load(routes, &config);
    assert_null(problems);
    world_start(world, config);
}

static void world_close(struct world *world)
{
    gw_engine_find("memory")->close(world->store, true, 0);
    gw_ingest_fini(&world->ingest);
    gw_inbox_destroy(world->inbox);
    gw_routes_unref(world->routes);
    gw_config_unref(world->config);
}

/* What a payload becomes: `channel data payload;` for each message. Numbers must follow one another. */
static char *world_take(struct world *world, const char *topic, const char *payload)
{
    const struct gw_packet packet = {
        .topic = topic, .topic_len = strlen(topic), .payload = payload, .payload_len = strlen(payload)};
    gw_ingest_message(&world->ingest, world->routes, &packet);
    struct gw_event *events;
    size_t count;
    struct gw_buf out = {0};
    gw_buf_adds(&out, "");
    gw_inbox_take(world->inbox, &events, &count);
    for (size_t i = 0; i < count; i++) {
        const struct gw_message *msg = events[i].u.message;
        assert_int_equal(events[i].type, GW_EVENT_MESSAGE);
        assert_int_equal(msg->seq, ++world->seq);
        char cursor[32];
        snprintf(cursor, sizeof cursor, ".%" PRIu64 "\"", msg->seq);
        assert_non_null(memmem(msg->text.data, msg->text.len, cursor, strlen(cursor)));
        gw_buf_printf(&out, "%.*s %.*s %.*s%s;", (int)msg->channel.len, msg->channel.data, (int)msg->data.len,
                      msg->data.data, (int)msg->payload.len, msg->payload.data, msg->clear ? "cleared" : "");
        gw_event_release(&events[i]);
    }
    return gw_buf_take(&out);
}

#define TAKES(world, topic, payload, expected)                                                                       \
    do {                                                                                                             \
        char *taken_ = world_take(world, topic, payload);                                                            \
        assert_string_equal(taken_, expected);                                                                       \
        free(taken_);                                                                                                \
    } while (0)

static uint64_t dropped(const struct world *world)
{
    return atomic_load(&world->ingest.codec_dropped);
}

static void test_none_one_many(void **state)
{
    (void)state;
    const struct row rows[] = {{"in/{device}", "out/{key}/{device}", NULL, NULL, &toy}};
    struct world world;
    world_open(&world, rows, 1);
    TAKES(&world, "in/x", ";;", "");
    TAKES(&world, "in/x", "a=1", "out/a/x \"x:1\" 1;");
    TAKES(&world, "in/x", "a=1;b=2;a=3", "out/a/x \"x:1\" 1;out/b/x \"x:2\" 2;out/a/x \"x:3\" 3;");
    TAKES(&world, "in/y", "-a;b=", "out/a/y null cleared;out/b/y \"y:\" ;");
    TAKES(&world, "in/y", "", "");
    assert_int_equal(dropped(&world), 0);
    assert_int_equal(atomic_load(&world.ingest.unrouted), 0);
    assert_int_equal(atomic_load(&world.ingest.messages), 6);
    TAKES(&world, "in/y", "a=1;!;b=2", "out/a/y \"y:1\" 1;"); /* what was emitted before the refusal stays */
    assert_int_equal(dropped(&world), 1);
    world_close(&world);
    assert_int_equal(toys_alive, 0);
}

/* What a payload says is no part of a name that the route does not have. */
static void test_names(void **state)
{
    (void)state;
    const struct row rows[] = {{"in/{device}", "out/{device}/{key}", NULL, NULL, &toy},
                               {"deep/{device}", "deep/{device}/{key...}", NULL, NULL, &toy}};
    struct world world;
    world_open(&world, rows, 2);
    TAKES(&world, "in/x", "a/b=1;+=1;#=1;c#=1;\xff=1;ok=1", "out/x/ok \"x:1\" 1;");
    assert_int_equal(dropped(&world), 5);
    TAKES(&world, "deep/x", "a/b=1;a/+=1;c=1", "deep/x/a/b \"x:1\" 1;deep/x/c \"x:1\" 1;");
    assert_int_equal(dropped(&world), 6);
    /* The channel leads back to the route by its name, as for messages of another node and for subscriptions. */
    assert_ptr_equal(gw_routes_of_channel(world.routes, "out/x/ok", 8), &world.config->routes[0]);
    assert_true(gw_routes_channel_possible(world.routes, "out/+/ok", 8));
    assert_false(gw_routes_channel_possible(world.routes, "out/x", 5));
    world_close(&world);
}

static void test_first_route_wins(void **state)
{
    (void)state;
    const struct row rows[] = {{"in/{device}", "out/{device}/{key}", NULL, NULL, &toy},
                               {"in/{device}", "out/{device}/a", "text", NULL, NULL},
                               {"in/+", "out/x/{key}", NULL, NULL, &toy},
                               {"in/{device}", "raw/{device}", "text", NULL, NULL}};
    struct world world;
    world_open(&world, rows, 4);
    TAKES(&world, "in/x", "a=1", "out/x/a \"x:1\" 1;raw/x \"a=1\" a=1;");
    TAKES(&world, "in/y", "b=1", "out/y/b \"y:1\" 1;out/y/a \"b=1\" b=1;out/x/b \":1\" 1;raw/y \"b=1\" b=1;");
    world_close(&world);
}

static void test_bound(void **state)
{
    (void)state;
    const struct row rows[] = {{"in/{device}", "out/{key}", NULL, NULL, &toy}};
    struct world world;
    world_open(&world, rows, 1);
    world.config->limits.payload_messages = 2;
    TAKES(&world, "in/x", "a=1;b=2", "out/a \"x:1\" 1;out/b \"x:2\" 2;");
    assert_int_equal(dropped(&world), 0);
    TAKES(&world, "in/x", "a=1;b=2;c=3;d=4", "out/a \"x:1\" 1;out/b \"x:2\" 2;");
    assert_int_equal(dropped(&world), 1);
    TAKES(&world, "in/x", "e=5", "out/e \"x:5\" 5;");
    world_close(&world);
}

/* The state lives as long as its routes: a reload makes another one while the old one is in use. */
static void test_state(void **state)
{
    (void)state;
    const struct row rows[] = {{"in/{device}", "out/{key}", NULL, NULL, &toy}};
    struct gw_config *config = configure(rows, 1);
    struct gw_routes *one = gw_routes_build(config), *two = gw_routes_build(config);
    const struct toy *first = gw_routes_transform_state(one, 0);
    assert_int_equal(toys_alive, 2);
    assert_string_equal(first->channel, "out/{key}");
    assert_ptr_not_equal(first, gw_routes_transform_state(two, 0));
    gw_routes_ref(one);
    gw_routes_unref(one);
    assert_int_equal(toys_alive, 2);
    gw_routes_unref(one);
    gw_routes_unref(two);
    assert_int_equal(toys_alive, 0);
    gw_config_unref(config);
}

/* --- split ----------------------------------------------------------------------------------------------------- */

static void test_split(void **state)
{
    (void)state;
    struct world world;
    world_load(&world,
               "  - { topic: 's/{device}', channel: 'd/{device}/{member}', transform: split,"
               " publish: { topic: 's/{device}/set' } }\n"
               "  - { topic: 'j/{device}', channel: 'j/{device}/{member...}', codec: lenient, transform: split }\n");
    TAKES(&world, "s/x", "{\"temp\":21.50,\"state\":\"ON\"}", "d/x/temp 21.50 21.50;d/x/state \"ON\" ON;");
    TAKES(&world, "s/x", " {}", "");
    TAKES(&world, "s/x", "{\"a\":{\"b\":[1]},\"a\":null,\"e\":\"\"}",
          "d/x/a {\"b\":[1]} {\"b\":[1]};d/x/a null null;d/x/e \"\" ;");
    TAKES(&world, "s/x", "{\"\\u00e9\":1,\"\":2}", "d/x/\xc3\xa9 1 1;d/x/ 2 2;");
    assert_int_equal(dropped(&world), 0);
    const char *const refused[] = {"ON", "[1]", "5", "", "{\"a/b\":1}", "{\"+\":1}", "{\"\\u0000\":1}"};
    for (size_t i = 0; i < COUNT(refused); i++)
        TAKES(&world, "s/x", refused[i], "");
    assert_int_equal(dropped(&world), COUNT(refused));
    TAKES(&world, "j/x", "{'t':nan,'a/b':'c'}", "j/x/t null null;j/x/a/b \"c\" \"c\";");
    world_close(&world);
}

static void test_split_some(void **state)
{
    (void)state;
    struct world world;
    world_load(&world, "  - { topic: 's/{device}', channel: 'd/{device}/{member...}',"
                       " transform: { split: { members: [t, in/h, in], depth: 2 } } }\n");
    TAKES(&world, "s/x", "{\"t\":1,\"u\":2,\"in\":{\"h\":3,\"i\":4},\"h\":5}", "d/x/t 1 1;d/x/in/h 3 3;");
    TAKES(&world, "s/x", "{\"in\":[1],\"t\":{\"t\":1}}", "d/x/in [1] [1];");
    TAKES(&world, "s/x", "", "d/x/t null cleared;d/x/in/h null cleared;d/x/in null cleared;");
    assert_int_equal(dropped(&world), 0);
    world_close(&world);
}

/* Members to objects, the way back. */
static void test_split_publish(void **state)
{
    (void)state;
    static const struct {
        const char *channel, *json, *payload;
        enum gw_err err;
    } rows[] = {
        {"d/x/state", "\"ON\"", "{\"state\":\"ON\"}", GW_OK}, {"d/x/st\"ate", "null", "{\"st\\\"ate\":null}", GW_OK},
        {"n/x/a/b/c", "5", "{\"a\":{\"b/c\":5}}", GW_OK},     {"n/x/a", "[]", "{\"a\":[]}", GW_OK},
        {"n/x/b", "5", NULL, GW_ERR_UNKNOWN_CHANNEL},
    };
    struct world world;
    world_load(&world, "  - { topic: 's/{device}', channel: 'd/{device}/{member}', transform: split,"
                       " publish: { topic: 's/{device}/set' } }\n"
                       "  - { topic: 'n/{device}', channel: 'n/{device}/{member...}', publish: {},"
                       " transform: { split: { depth: 2, members: [a, a/b/c] } } }\n");
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct gw_publish_target target = {0};
        struct gw_buf payload = {0};
        const char *why = NULL;
        assert_int_equal(gw_routes_publish_target(world.routes, rows[i].channel, strlen(rows[i].channel), &target),
                         GW_OK);
        assert_string_equal(target.topic.data, *rows[i].channel == 'd' ? "s/x/set" : "n/x");
        enum gw_err err = target.transform->encode(target.state, &target.captures, rows[i].json, strlen(rows[i].json),
                                                   &payload, &why);
        CHECK_ROW(err == rows[i].err && (err == GW_OK || why), rows[i].channel);
        if (err == GW_OK)
            CHECK_ROW(!strcmp(payload.data, rows[i].payload), payload.data);
        gw_buf_fini(&target.topic);
        gw_buf_fini(&payload);
    }
    world_close(&world);
}

/* --- the file -------------------------------------------------------------------------------------------------- */

static void test_file(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"  - { topic: 'a/{d}', channel: 'a/{d}/{member}', transform: nope }\n",
         "routes[0].transform: there is no 'nope' (one of: split, toy, oneway expected)"},
        {"  - { topic: 'a/{d}', channel: 'a/{d}/{member}', transform: [split] }\n",
         "routes[0].transform: it is no name, and no mapping of one name to its options (one of: split, toy, "
         "oneway expected)"},
        {"  - { topic: 'a/{d}', transform: split }\n",
         "routes[0].channel: it is missing (a channel with {member} expected, which transform split makes for "
         "each message)"},
        {"  - { topic: 'a/{d}', channel: 'b/{d}', transform: split }\n",
         "routes[0].channel: 'b/{d}' lacks {member}, which transform split makes for each message (a channel with it "
         "expected)"},
        {"  - { topic: 'a/{member}', channel: 'b/{member}', transform: split }\n",
         "routes[0].transform: split makes {member}, which the topic 'a/{member}' has too (another name there "
         "expected)"},
        {"  - { topic: 'a/{d}', channel: 'b/{d}/{other}', transform: split }\n",
         "routes[0].channel: uses {other}, which the topic 'a/{d}' lacks (one of its captures expected)"},
        {"  - { topic: 'a/{d}', channel: 'b/{member}', transform: { split: { dept: 2 } } }\n",
         "routes[0].transform.split.dept: unknown key (did you mean depth?)"},
        {"  - { topic: 'a/{d}', channel: 'b/{member}', transform: { split: { depth: 9 } } }\n",
         "routes[0].transform.split.depth: 9 is out of range (1 to 8 expected)"},
        {"  - { topic: 'a/{d}', channel: 'b/{member}', transform: { split: { depth: 2 } } }\n",
         "routes[0].transform: split.depth above 1 and members with a slash make several levels ({member...} "
         "in "
         "channel expected)"},
        {"  - { topic: 'a/{d}', channel: 'b/{member}', codec: number, transform: split }\n",
         "routes[0].transform: codec number makes no objects, so that there is nothing to split (codec json, "
         "lenient or auto expected)"},
        {"  - { topic: 'a/{d}', channel: 'b/{member}', transform: { split: false } }\n",
         "routes[0].transform.split: a transform can't be switched off (options expected, or no transform)"},
        {"  - { topic: 'a/{d}', channel: 'b/{key}', codec: json, transform: toy }\n",
         "routes[0].transform: it takes codec auto only"},
        {"  - { topic: 'a/{d}', channel: 'b/{key}', transform: { toy: { a: 1 } } }\n",
         "routes[0].transform.toy: it has no options (toy expected)"},
        {"  - { topic: 'a/{d}', publish: {}, transform: oneway }\n",
         "routes[0].publish: what transform oneway takes apart can't be put together (no publish expected)"},
        {"  - { topic: 'a/{d}', channel: 'c/{d}', publish: { topic: 'a/{d}' } }\n"
         "  - { topic: 'b/{d}', channel: 'c/{member}', publish: { topic: 'a/{member}' }, transform: split }\n",
         "has another transform here than by routes[0] in line 4 (one way for each channel expected)"},
        {"  - { topic: 'a/{d}', channel: 'a/{d}/{member}', transform: { split: } }\n", NULL},
        {"  - { topic: 'a/{d}', transform: oneway }\n", NULL},
        {"  - { topic: 'a/{d}', channel: '{key}', transform: { toy: {} } }\n", NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct gw_config *config;
        char *problems = load(rows[i][0], &config);
        if (rows[i][1]) {
            CHECK_ROW(problems != NULL, rows[i][0]);
            CHECK_ROW(strstr(problems, rows[i][1]) != NULL, problems);
        } else {
            CHECK_ROW(problems == NULL, problems ? problems : "");
        }
        free(problems);
        gw_config_unref(config);
    }
    assert_int_equal(toys_alive, 0);
}

/* One without captures, options, state and a way back: it lets through what is not `-`. */
static enum gw_err oneway_apply(void *state, const struct gw_transform_input *input, struct gw_buf *scratch,
                                const struct gw_transform_output *output)
{
    assert_null(state);
    gw_buf_add_json_string(scratch, input->topic, input->topic_len);
    const struct gw_transform_message message = {.json = scratch->data, .json_len = scratch->len};
    if (input->payload_len && input->payload[0] != '-')
        output->emit(output->context, &message);
    return GW_OK;
}

static const struct gw_transform oneway = {.name = "oneway", .apply = oneway_apply};

static void test_oneway(void **state)
{
    (void)state;
    struct world world;
    world_load(&world, "  - { topic: 'a/{d}', transform: oneway }\n  - { topic: a/+, codec: text }\n"
                       "  - { topic: 'b/{d}', channel: 'b', transform: oneway }\n");
    TAKES(&world, "a/x", "1", "a/x \"a/x\" \"a/x\";");
    TAKES(&world, "b/x", "1", "b \"b/x\" \"b/x\";");
    /* The second route makes the message that the first does not make. */
    TAKES(&world, "a/x", "-", "a/x \"-\" -;");
    TAKES(&world, "b/x", "-", "");
    world_close(&world);
}

int main(void)
{
    const struct gw_transform *const list[] = {gw_transform_find("split"), &toy, &oneway, NULL};
    gw_transforms_use(list);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none_one_many),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_first_route_wins),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_state),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_split_some),
        cmocka_unit_test(test_split_publish),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_oneway),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
