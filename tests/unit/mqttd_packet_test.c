/* Packets of MQTT clients: what is read of good ones, and with which reason code each malformed one is refused. */
#include "check.h"
#include "gateway/properties.h"
#include "mqttd/packet.h"

static struct gw_slice slice(const char *bytes, size_t len)
{
    return (struct gw_slice){bytes, len};
}

static bool is(struct gw_slice text, const char *expected)
{
    return text.len == strlen(expected) && (!text.len || !memcmp(text.data, expected, text.len));
}

/* The body in a block of its own length, so that the sanitizer sees a read beyond it. */
static char *alone(const char *bytes, size_t len)
{
    char *block = malloc(len ? len : 1);
    memcpy(block, bytes, len);
    return block;
}

/* --- fixed header ---------------------------------------------------------------------------------------------- */

static void test_fixed(void **state)
{
    (void)state;
    static const struct {
        const char *name, *bytes;
        size_t len;
        unsigned reason, type, header, remaining;
    } rows[] = {
        {"nothing", "", 0, 0, 0, 0, 0},
        {"one byte", "\x30", 1, 0, 3, 0, 0},
        {"PINGREQ", "\xc0\0", 2, 0, 12, 2, 0},
        {"a length of two bytes", "\x30\x80\1", 3, 0, 3, 3, 128},
        {"half a length", "\x30\x80", 2, 0, 3, 0, 0},
        {"the longest", "\x30\xff\xff\xff\x7f", 5, 0, 3, 5, 268435455},
        {"a length of five bytes", "\x30\x80\x80\x80\x80\1", 6, 0x81, 3, 0, 0},
        {"a length with a superfluous byte", "\x30\x81\0", 3, 0x81, 3, 0, 0},
        {"type 0", "\x00\0", 2, 0x81, 0, 0, 0},
        {"PUBREL without its flags", "\x60\2", 2, 0x81, 6, 0, 0},
        {"PUBREL", "\x62\2", 2, 0, 6, 2, 2},
        {"SUBSCRIBE without its flags", "\x80\2", 2, 0x81, 8, 0, 0},
        {"UNSUBSCRIBE", "\xa2\2", 2, 0, 10, 2, 2},
        {"CONNECT with flags", "\x11\2", 2, 0x81, 1, 0, 0},
        {"PINGREQ with flags", "\xc2\0", 2, 0x81, 12, 0, 0},
        {"PUBLISH with all flags", "\x3f\2", 2, 0, 3, 2, 2},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct gw_mqttd_fixed fixed;
        const char *why = NULL;
        enum gw_mqttd_reason reason = gw_mqttd_read_fixed(rows[i].bytes, rows[i].len, &fixed, &why);
        CHECK_ROW(reason == rows[i].reason && (!reason || why), rows[i].name);
        CHECK_ROW(fixed.type == rows[i].type && fixed.len == rows[i].header, rows[i].name);
        CHECK_ROW(!fixed.len || fixed.remaining == rows[i].remaining, rows[i].name);
    }
}

/* --- CONNECT --------------------------------------------------------------------------------------------------- */

struct row {
    const char *name;
    unsigned reason, version;
    const char *bytes;
    size_t len;
};
#define ROW(name, reason, version, bytes)                                                                            \
    {                                                                                                                \
        name, reason, version, bytes, sizeof(bytes) - 1                                                              \
    }
#define V4 "\0\4MQTT\4"
#define V5 "\0\4MQTT\5"

static const struct row connects[] = {
    ROW("3.1.1", 0, 4, V4 "\2\0\x3c\0\1a"),
    ROW("3.1", 0, 3, "\0\6MQIsdp\3\2\0\x3c\0\1a"),
    ROW("5.0", 0, 5, V5 "\2\0\x3c\0\0\1a"),
    ROW("no client id, clean", 0, 4, V4 "\2\0\0\0\0"),
    ROW("no client id, kept", 0x85, 4, V4 "\0\0\0\0\0"),
    ROW("no client id, kept, 5.0", 0, 5, V5 "\0\0\0\0\0\0"),
    ROW("user and password", 0, 4, V4 "\xc2\0\0\0\1a\0\1u\0\1p"),
    ROW("password alone", 0x81, 4, V4 "\x42\0\0\0\1a\0\1p"),
    ROW("password alone, 5.0", 0, 5, V5 "\x42\0\0\0\0\1a\0\1p"),
    ROW("a password that is not there", 0x81, 4, V4 "\xc2\0\0\0\1a\0\1u"),
    ROW("a user name that is not UTF-8", 0x81, 4, V4 "\x82\0\0\0\1a\0\1\xff"),
    ROW("a password that is not UTF-8", 0, 4, V4 "\xc2\0\0\0\1a\0\1u\0\1\xff"),
    ROW("more than the flags say", 0x81, 4, V4 "\2\0\0\0\1a\0\1u"),
    ROW("reserved flag", 0x81, 4, V4 "\3\0\0\0\1a"),
    ROW("will", 0, 4, V4 "\x0e\0\0\0\1a\0\1t\0\1m"),
    ROW("will without a topic", 0x90, 4, V4 "\x0e\0\0\0\1a\0\0\0\1m"),
    ROW("will to a wildcard", 0x90, 5, V5 "\x0e\0\0\0\0\1a\0\0\1#\0\1m"),
    ROW("will of QoS 3", 0x81, 4, V4 "\x1e\0\0\0\1a\0\1t\0\1m"),
    ROW("QoS of no will", 0x81, 4, V4 "\x0a\0\0\0\1a"),
    ROW("retain of no will", 0x81, 4, V4 "\x22\0\0\0\1a"),
    ROW("a will that is cut", 0x81, 4, V4 "\x0e\0\0\0\1a\0\1t\0\2m"),
    ROW("will properties", 0, 5, V5 "\x06\0\0\0\0\1a\x05\x18\0\0\0\7\0\1t\0\0"),
    ROW("will delay in CONNECT", 0x81, 5, V5 "\2\0\0\5\x18\0\0\0\7\0\1a"),
    ROW("version 6", 0x84, 5, "\0\4MQTT\6\2\0\0\0\0\1a"),
    ROW("version 2", 0x84, 4, "\0\4MQTT\2\2\0\0\0\1a"),
    ROW("a bridge's version", 0x84, 5, "\0\4MQTT\x84\2\0\0\0\1a"),
    ROW("MQIsdp of version 4", 0x84, 4, "\0\6MQIsdp\4\2\0\0\0\1a"),
    ROW("another protocol", 0x81, 4, "\0\4HTTP\4\2\0\0\0\1a"),
    ROW("nothing", 0x81, 4, ""),
    ROW("a client id with NUL", 0x81, 4, V4 "\2\0\0\0\1\0"),
    ROW("a client id with a surrogate", 0x81, 4, V4 "\2\0\0\0\3\xed\xa0\x80"),
    ROW("properties", 0, 5, V5 "\2\0\0\x14\x11\0\0\0\x0a\x21\0\5\x22\0\3\x27\0\0\1\0\x17\0\x19\0\0\1a"),
    ROW("receive maximum 0", 0x82, 5, V5 "\2\0\0\3\x21\0\0\0\1a"),
    ROW("maximum packet size 0", 0x82, 5, V5 "\2\0\0\5\x27\0\0\0\0\0\1a"),
    ROW("session expiry twice", 0x82, 5, V5 "\2\0\0\x0a\x11\0\0\0\1\x11\0\0\0\1\0\1a"),
    ROW("request problem information 2", 0x82, 5, V5 "\2\0\0\2\x17\2\0\1a"),
    ROW("authentication method", 0, 5, V5 "\2\0\0\4\x15\0\1m\0\1a"),
    ROW("authentication data alone", 0x82, 5, V5 "\2\0\0\4\x16\0\1m\0\1a"),
    ROW("a property of PUBLISH", 0x81, 5, V5 "\2\0\0\3\x23\0\1\0\1a"),
    ROW("a property of servers", 0x81, 5, V5 "\2\0\0\2\x2a\1\0\1a"),
    ROW("an unknown property", 0x81, 5, V5 "\2\0\0\2\x7e\1\0\1a"),
    ROW("a property that is cut", 0x81, 5, V5 "\2\0\0\2\x21\0\0\1a"),
    ROW("properties longer than the packet", 0x81, 5, V5 "\2\0\0\x7f\x21\0\1"),
    ROW("user properties", 0, 5, V5 "\2\0\0\x0e\x26\0\1k\0\1v\x26\0\1k\0\1w\0\1a"),
    ROW("a user property that is not UTF-8", 0x81, 5, V5 "\2\0\0\7\x26\0\1k\0\1\xff\0\1a"),
};

static void test_connects(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(connects); i++) {
        const struct row *row = &connects[i];
        char *block = alone(row->bytes, row->len);
        struct gw_mqttd_connect connect;
        const char *why = NULL;
        enum gw_mqttd_reason reason = gw_mqttd_read_connect(slice(block, row->len), &connect, &why);
        CHECK_ROW(reason == row->reason && (!reason || why), row->name);
        CHECK_ROW(connect.version == row->version, row->name);
        free(block);
    }
}

static void test_connect_fields(void **state)
{
    (void)state;
    static const char bytes[] = V5 "\xee\1\2\x12\x11\0\0\0\x0a\x21\0\5\x22\0\3\x27\0\0\1\0\x17\0"
                                   "\0\2id\x05\x18\0\0\0\7\0\1t\0\2mm\0\1u\0\2p\xff";
    struct gw_mqttd_connect connect;
    const char *why;
    assert_int_equal(gw_mqttd_read_connect(slice(bytes, sizeof bytes - 1), &connect, &why), 0);
    assert_true(connect.clean && connect.has_will && connect.will_retain && connect.will_qos == 1);
    assert_int_equal(connect.keep_alive, 258);
    assert_true(is(connect.client_id, "id") && is(connect.will_topic, "t") && is(connect.will_payload, "mm"));
    assert_true(is(connect.user, "u") && is(connect.password, "p\xff"));
    assert_int_equal(connect.properties.session_expiry, 10);
    assert_int_equal(connect.properties.receive_maximum, 5);
    assert_int_equal(connect.properties.alias_maximum, 3);
    assert_int_equal(connect.properties.maximum_packet, 256);
    assert_int_equal(connect.properties.request_problem, 0);
    assert_int_equal(connect.will.will_delay, 7);

    static const char bare[] = V5 "\2\0\0\0\0\0";
    assert_int_equal(gw_mqttd_read_connect(slice(bare, sizeof bare - 1), &connect, &why), 0);
    assert_int_equal(connect.properties.receive_maximum, 65535);
    assert_int_equal(connect.properties.request_problem, 1);
    assert_false(gw_mqttd_has(&connect.properties, GW_MQTTD_P_SESSION_EXPIRY));
}

/* --- PUBLISH --------------------------------------------------------------------------------------------------- */

static const struct publish_row {
    struct row row;
    uint8_t flags;
} publishes[] = {
    {ROW("QoS 0", 0, 4, "\0\1txy"), 0},
    {ROW("QoS 0, again", 0x81, 4, "\0\1txy"), 8},
    {ROW("QoS 1", 0, 4, "\0\1t\0\7xy"), 2},
    {ROW("QoS 2, again, retained", 0, 4, "\0\1t\0\7xy"), 13},
    {ROW("QoS 3", 0x81, 4, "\0\1t\0\7xy"), 6},
    {ROW("identifier 0", 0x82, 4, "\0\1t\0\0xy"), 2},
    {ROW("no identifier", 0x81, 4, "\0\1t\0"), 2},
    {ROW("no topic", 0x82, 4, "\0\0xy"), 0},
    {ROW("a topic that is cut", 0x81, 4, "\0\4txy"), 0},
    {ROW("a topic with +", 0x90, 4, "\0\3a/+x"), 0},
    {ROW("a topic with #", 0x90, 5, "\0\3a/#\0x"), 0},
    {ROW("a topic with NUL", 0x81, 4, "\0\2a\0x"), 0},
    {ROW("a topic that is not UTF-8", 0x81, 4, "\0\2\xc3\x28x"), 0},
    {ROW("5.0, no properties", 0, 5, "\0\1t\0xy"), 0},
    {ROW("5.0 without their length", 0x81, 5, "\0\1t"), 0},
    {ROW("alias and topic", 0, 5, "\0\1t\3\x23\0\1x"), 0},
    {ROW("alias alone", 0, 5, "\0\0\3\x23\0\1x"), 0},
    {ROW("alias 0", 0x94, 5, "\0\1t\3\x23\0\0x"), 0},
    {ROW("neither alias nor topic", 0x82, 5, "\0\0\0x"), 0},
    {ROW("subscription identifier", 0x82, 5, "\0\1t\2\x0b\1x"), 0},
    {ROW("expiry, content type, format, correlation", 0, 5,
         "\0\1t\x15\2\0\0\0\x3c\3\0\2t/\1\1\x09\0\2\xff\xfe\x08\0\1rx"),
     0},
    {ROW("format 2", 0x82, 5, "\0\1t\2\1\2x"), 0},
    {ROW("content type twice", 0x82, 5, "\0\1t\x08\3\0\1a\3\0\1ax"), 0},
    {ROW("content type that is not UTF-8", 0x81, 5, "\0\1t\4\3\0\1\xffx"), 0},
    {ROW("response topic with a wildcard", 0x82, 5, "\0\1t\4\x08\0\1#x"), 0},
    {ROW("session expiry", 0x81, 5, "\0\1t\5\x11\0\0\0\1x"), 0},
    {ROW("properties with a superfluous byte in their length", 0x81, 5, "\0\1t\x80\0x"), 0},
};

static void test_publishes(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(publishes); i++) {
        const struct row *row = &publishes[i].row;
        char *block = alone(row->bytes, row->len);
        struct gw_mqttd_publish publish;
        const char *why = NULL;
        enum gw_mqttd_reason reason =
            gw_mqttd_read_publish(publishes[i].flags, slice(block, row->len), row->version, &publish, &why);
        CHECK_ROW(reason == row->reason && (!reason || why), row->name);
        CHECK_ROW(reason || publish.qos == (publishes[i].flags >> 1 & 3), row->name);
        CHECK_ROW(reason || publish.id == (publish.qos ? 7 : 0), row->name);
        CHECK_ROW(reason || publish.payload.data + publish.payload.len == block + row->len, row->name);
        free(block);
    }
}

static void test_publish_properties(void **state)
{
    (void)state;
    static const char bytes[] = "\0\3a/b\0\7\x2d\2\0\0\1\0\3\0\2t/"
                                "\1\1\x09\0\2\xff\xfe\x08\0\1r\x23\0\2\x26\0\1k\0\1v\x26\0\1l\0\1w\x26\0\1k\0"
                                "\1xpay";
    struct gw_mqttd_publish publish;
    const char *why;
    assert_int_equal(gw_mqttd_read_publish(2, slice(bytes, sizeof bytes - 1), 5, &publish, &why), 0);
    assert_true(is(publish.topic, "a/b") && is(publish.payload, "pay"));
    assert_int_equal(publish.properties.message_expiry, 256);
    assert_int_equal(publish.properties.alias, 2);
    assert_true(is(publish.properties.response_topic, "r"));
    static const struct {
        enum gw_property_id id;
        const char *name, *value;
        uint8_t byte;
    } expected[] = {
        {GW_PROPERTY_CONTENT_TYPE, "", "t/", 0},
        {GW_PROPERTY_PAYLOAD_FORMAT, "", "", 1},
        {GW_PROPERTY_CORRELATION, "", "\xff\xfe", 0},
        {GW_PROPERTY_RESPONSE_TOPIC, "", "r", 0},
        {GW_PROPERTY_USER, "k", "v", 0},
        {GW_PROPERTY_USER, "l", "w", 0},
        {GW_PROPERTY_USER, "k", "x", 0},
    };
    struct gw_property property;
    size_t at = 0;
    for (size_t i = 0; i < COUNT(expected); i++) {
        assert_true(gw_properties_next(publish.properties.all, &at, &property));
        assert_true(property.id == expected[i].id && property.byte == expected[i].byte);
        assert_true(is(property.name, expected[i].name) && is(property.value, expected[i].value));
    }
    assert_false(gw_properties_next(publish.properties.all, &at, &property));
    assert_true(is(gw_mqttd_user(&publish.properties, "l"), "w"));
    assert_null(gw_mqttd_user(&publish.properties, "m").data);
}

/* --- SUBSCRIBE, acknowledgements, DISCONNECT ------------------------------------------------------------------- */

static const struct subscribe_row {
    struct row row;
    enum gw_mqttd_type type;
    uint32_t count;
} subscribes[] = {
    {ROW("one filter", 0, 4, "\0\7\0\3a/#\1"), GW_MQTTD_SUBSCRIBE, 1},
    {ROW("two filters", 0, 4, "\0\7\0\1a\0\0\1b\2"), GW_MQTTD_SUBSCRIBE, 2},
    {ROW("no filter", 0x82, 4, "\0\7"), GW_MQTTD_SUBSCRIBE, 0},
    {ROW("identifier 0", 0x82, 4, "\0\0\0\1a\0"), GW_MQTTD_SUBSCRIBE, 0},
    {ROW("nothing", 0x81, 4, ""), GW_MQTTD_SUBSCRIBE, 0},
    {ROW("QoS 3", 0x81, 4, "\0\7\0\1a\3"), GW_MQTTD_SUBSCRIBE, 1},
    {ROW("options of 5.0 in 3.1.1", 0x81, 4, "\0\7\0\1a\4"), GW_MQTTD_SUBSCRIBE, 1},
    {ROW("no options", 0x81, 4, "\0\7\0\1a"), GW_MQTTD_SUBSCRIBE, 1},
    {ROW("a filter that is cut", 0x81, 4, "\0\7\0\4a"), GW_MQTTD_SUBSCRIBE, 1},
    {ROW("a filter that is not UTF-8", 0x81, 4, "\0\7\0\1\xff\0"), GW_MQTTD_SUBSCRIBE, 1},
    {ROW("an empty filter", 0, 4, "\0\7\0\0\0"), GW_MQTTD_SUBSCRIBE, 1},
    {ROW("all options of 5.0", 0, 5, "\0\7\0\0\1a\x2e"), GW_MQTTD_SUBSCRIBE, 1},
    {ROW("retain handling 3", 0x82, 5, "\0\7\0\0\1a\x30"), GW_MQTTD_SUBSCRIBE, 1},
    {ROW("reserved options", 0x81, 5, "\0\7\0\0\1a\x40"), GW_MQTTD_SUBSCRIBE, 1},
    {ROW("subscription identifier", 0, 5, "\0\7\2\x0b\1\0\1a\0"), GW_MQTTD_SUBSCRIBE, 1},
    {ROW("subscription identifier 0", 0x82, 5, "\0\7\2\x0b\0\0\1a\0"), GW_MQTTD_SUBSCRIBE, 0},
    {ROW("two subscription identifiers", 0x82, 5, "\0\7\4\x0b\1\x0b\2\0\1a\0"), GW_MQTTD_SUBSCRIBE, 0},
    {ROW("no local of a shared one", 0x82, 5, "\0\7\0\0\x0a$share/g/a\4"), GW_MQTTD_SUBSCRIBE, 1},
    {ROW("a property of UNSUBSCRIBE's own", 0x81, 5, "\0\7\2\x0b\1\0\1a"), GW_MQTTD_UNSUBSCRIBE, 0},
    {ROW("UNSUBSCRIBE", 0, 4, "\0\7\0\1a\0\1b"), GW_MQTTD_UNSUBSCRIBE, 2},
    {ROW("UNSUBSCRIBE of nothing", 0x82, 5, "\0\7\0"), GW_MQTTD_UNSUBSCRIBE, 0},
};

static void test_subscribes(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(subscribes); i++) {
        const struct row *row = &subscribes[i].row;
        char *block = alone(row->bytes, row->len);
        struct gw_mqttd_subscribe packet;
        const char *why = NULL;
        enum gw_mqttd_reason reason =
            gw_mqttd_read_subscribe(subscribes[i].type, slice(block, row->len), row->version, &packet, &why);
        CHECK_ROW(reason == row->reason && (!reason || why), row->name);
        CHECK_ROW(packet.count == subscribes[i].count, row->name);
        struct gw_mqttd_filter filter;
        uint32_t count = 0;
        for (size_t at = 0; !reason && gw_mqttd_next_filter(&packet, &at, &filter); count++)
            CHECK_ROW(filter.text.data + filter.text.len <= block + row->len, row->name);
        CHECK_ROW(reason || count == packet.count, row->name);
        free(block);
    }
    struct gw_mqttd_subscribe packet;
    struct gw_mqttd_filter filter;
    const char *why;
    size_t at = 0;
    static const char bytes[] = "\0\7\0\0\1a\x1c\0\1b\x22";
    assert_int_equal(gw_mqttd_read_subscribe(GW_MQTTD_SUBSCRIBE, slice(bytes, sizeof bytes - 1), 5, &packet, &why),
                     0);
    assert_true(gw_mqttd_next_filter(&packet, &at, &filter) && is(filter.text, "a"));
    assert_true(filter.qos == 0 && filter.no_local && filter.as_published && filter.retain_handling == 1);
    assert_true(gw_mqttd_next_filter(&packet, &at, &filter) && is(filter.text, "b"));
    assert_true(filter.qos == 2 && !filter.no_local && !filter.as_published && filter.retain_handling == 2);
    assert_false(gw_mqttd_next_filter(&packet, &at, &filter));
}

static const struct ack_row {
    struct row row;
    enum gw_mqttd_type type;
    unsigned code;
} acks[] = {
    {ROW("PUBACK", 0, 4, "\0\7"), GW_MQTTD_PUBACK, 0},
    {ROW("PUBACK with a code in 3.1.1", 0x81, 4, "\0\7\0"), GW_MQTTD_PUBACK, 0},
    {ROW("PUBACK of 0", 0x82, 4, "\0\0"), GW_MQTTD_PUBACK, 0},
    {ROW("half a PUBACK", 0x81, 4, "\0"), GW_MQTTD_PUBACK, 0},
    {ROW("brief", 0, 5, "\0\7"), GW_MQTTD_PUBREC, 0},
    {ROW("with a code", 0, 5, "\0\7\x97"), GW_MQTTD_PUBREC, 0x97},
    {ROW("with properties", 0, 5, "\0\7\x92\4\x1f\0\1r"), GW_MQTTD_PUBREL, 0x92},
    {ROW("with more", 0x81, 5, "\0\7\x92\0x"), GW_MQTTD_PUBCOMP, 0x92},
    {ROW("with a property that it can't have", 0x81, 5, "\0\7\0\2\x17\1"), GW_MQTTD_PUBACK, 0},
    {ROW("DISCONNECT", 0, 4, ""), GW_MQTTD_DISCONNECT, 0},
    {ROW("DISCONNECT with a code in 3.1.1", 0x81, 4, "\0"), GW_MQTTD_DISCONNECT, 0},
    {ROW("DISCONNECT, brief", 0, 5, ""), GW_MQTTD_DISCONNECT, 0},
    {ROW("DISCONNECT with will", 0, 5, "\4"), GW_MQTTD_DISCONNECT, 4},
    {ROW("DISCONNECT with session expiry", 0, 5, "\0\5\x11\0\0\0\1"), GW_MQTTD_DISCONNECT, 0},
    {ROW("DISCONNECT with session expiry twice", 0x82, 5, "\0\x0a\x11\0\0\0\1\x11\0\0\0\1"), GW_MQTTD_DISCONNECT, 0},
};

static void test_acks(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(acks); i++) {
        const struct row *row = &acks[i].row;
        char *block = alone(row->bytes, row->len);
        struct gw_slice body = slice(block, row->len);
        struct gw_mqttd_ack ack;
        const char *why = NULL;
        enum gw_mqttd_reason reason = acks[i].type == GW_MQTTD_DISCONNECT
                                          ? gw_mqttd_read_disconnect(body, row->version, &ack, &why)
                                          : gw_mqttd_read_ack(acks[i].type, body, row->version, &ack, &why);
        CHECK_ROW(reason == row->reason && (!reason || why), row->name);
        CHECK_ROW(ack.reason == acks[i].code, row->name);
        CHECK_ROW(reason || acks[i].type == GW_MQTTD_DISCONNECT || ack.id == 7, row->name);
        free(block);
    }
}

/* Whatever is cut off a good packet, nothing beyond its end is read, and what is short is refused or has another
 * meaning; it is never a crash. */
static void test_pieces(void **state)
{
    (void)state;
    const char *why;
    for (size_t i = 0; i < COUNT(connects); i++) {
        for (size_t len = 0; !connects[i].reason && len < connects[i].len; len++) {
            char *block = alone(connects[i].bytes, len);
            struct gw_mqttd_connect connect;
            CHECK_ROW(gw_mqttd_read_connect(slice(block, len), &connect, &why) != 0, connects[i].name);
            free(block);
        }
    }
    for (size_t i = 0; i < COUNT(publishes); i++) {
        for (size_t len = 0; len < publishes[i].row.len; len++) {
            char *block = alone(publishes[i].row.bytes, len);
            struct gw_mqttd_publish publish;
            if (!gw_mqttd_read_publish(publishes[i].flags, slice(block, len), publishes[i].row.version, &publish,
                                       &why))
                CHECK_ROW(publish.payload.data + publish.payload.len == block + len, publishes[i].row.name);
            free(block);
        }
    }
}

/* --- writing --------------------------------------------------------------------------------------------------- */

#define CHECK_BYTES(buf, expected)                                                                                   \
    do {                                                                                                             \
        assert_int_equal((buf)->len, sizeof(expected) - 1);                                                          \
        assert_memory_equal((buf)->data, expected, sizeof(expected) - 1);                                            \
        gw_buf_clear(buf);                                                                                           \
    } while (0)

static void test_writing(void **state)
{
    (void)state;
    struct gw_buf out = {0}, properties = {0};
    gw_mqttd_write_connack(&out, 4, true, 0, NULL);
    CHECK_BYTES(&out, "\x20\2\1\0");
    gw_mqttd_write_connack(&out, 4, false, GW_MQTTD_NOT_AUTHORIZED, NULL);
    CHECK_BYTES(&out, "\x20\2\0\5");
    gw_mqttd_write_connack(&out, 4, false, GW_MQTTD_BAD_PASSWORD, NULL);
    CHECK_BYTES(&out, "\x20\2\0\4");
    gw_mqttd_write_connack(&out, 3, false, GW_MQTTD_UNSUPPORTED_VERSION, NULL);
    CHECK_BYTES(&out, "\x20\2\0\1");
    gw_mqttd_write_connack(&out, 4, false, GW_MQTTD_BAD_CLIENT_ID, NULL);
    CHECK_BYTES(&out, "\x20\2\0\2");
    gw_mqttd_write_connack(&out, 4, false, GW_MQTTD_QUOTA, NULL);
    CHECK_BYTES(&out, "\x20\2\0\3");
    gw_mqttd_put_u16(&properties, GW_MQTTD_P_RECEIVE_MAXIMUM, 20);
    gw_mqttd_put_byte(&properties, GW_MQTTD_P_SHARED_AVAILABLE, 0);
    gw_mqttd_write_connack(&out, 5, false, 0, &properties);
    CHECK_BYTES(&out, "\x20\x08\0\0\5\x21\0\x14\x2a\0");
    gw_mqttd_write_ack(&out, GW_MQTTD_PUBACK, 5, 7, 0, NULL);
    CHECK_BYTES(&out, "\x40\2\0\7");
    gw_mqttd_write_ack(&out, GW_MQTTD_PUBREL, 4, 7, 0, NULL);
    CHECK_BYTES(&out, "\x62\2\0\7");
    gw_mqttd_write_ack(&out, GW_MQTTD_PUBREC, 5, 7, 0x97, NULL);
    CHECK_BYTES(&out, "\x50\4\0\7\x97\0");
    gw_buf_clear(&properties);
    gw_mqttd_put_text(&properties, GW_MQTTD_P_REASON_STRING, "no", 2);
    gw_mqttd_put_user(&properties, "k", "v", 1);
    gw_mqttd_write_ack(&out, GW_MQTTD_PUBACK, 5, 7, 0x87, &properties);
    CHECK_BYTES(&out, "\x40\x10\0\7\x87\x0c\x1f\0\2no\x26\0\1k\0\1v");
    gw_mqttd_write_ack(&out, GW_MQTTD_PUBACK, 4, 7, 0x87, &properties);
    CHECK_BYTES(&out, "\x40\2\0\7");
    static const uint8_t codes[] = {0, 1, 0x87, 0x9e};
    gw_mqttd_write_suback(&out, GW_MQTTD_SUBACK, 4, 7, codes, 4, NULL);
    CHECK_BYTES(&out, "\x90\6\0\7\0\1\x80\x80");
    gw_mqttd_write_suback(&out, GW_MQTTD_SUBACK, 5, 7, codes, 4, NULL);
    CHECK_BYTES(&out, "\x90\7\0\7\0\0\1\x87\x9e");
    gw_mqttd_write_suback(&out, GW_MQTTD_UNSUBACK, 4, 7, codes, 4, NULL);
    CHECK_BYTES(&out, "\xb0\2\0\7");
    gw_mqttd_write_suback(&out, GW_MQTTD_UNSUBACK, 5, 7, codes, 1, NULL);
    CHECK_BYTES(&out, "\xb0\4\0\7\0\0");
    gw_mqttd_write_pingresp(&out);
    CHECK_BYTES(&out, "\xd0\0");
    gw_mqttd_write_disconnect(&out, 4, 0x8e, NULL);
    CHECK_BYTES(&out, "");
    gw_mqttd_write_disconnect(&out, 5, 0x8e, NULL);
    CHECK_BYTES(&out, "\xe0\2\x8e\0");
    gw_buf_fini(&out);
    gw_buf_fini(&properties);
}

/* What is written is read as the same again, for payloads on both sides of every length of a length. */
static void test_publish_there_and_back(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 119, 120, 127, 128, 16375, 16384, 2097152};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        for (unsigned version = 4; version <= 5; version++) {
            for (unsigned qos = 0; qos <= 1; qos++) {
                struct gw_buf out = {0}, properties = {0};
                gw_mqttd_put_u32(&properties, GW_MQTTD_P_MESSAGE_EXPIRY, 0x01020304);
                gw_mqttd_write_publish(&out, version, GW_MQTTD_RETAIN, qos, 258, slice("a/b", 3), &properties,
                                       sizes[i]);
                memset(gw_buf_reserve(&out, sizes[i]), 'x', sizes[i]);
                out.len += sizes[i];
                assert_int_equal(out.len, gw_mqttd_publish_size(version, qos, 3, properties.len, sizes[i]));
                struct gw_mqttd_fixed fixed;
                struct gw_mqttd_publish publish;
                const char *why;
                assert_int_equal(gw_mqttd_read_fixed(out.data, out.len, &fixed, &why), 0);
                assert_int_equal(fixed.len + fixed.remaining, out.len);
                assert_int_equal(gw_mqttd_read_publish(fixed.flags, slice(out.data + fixed.len, fixed.remaining),
                                                       version, &publish, &why),
                                 0);
                assert_true(publish.retain && publish.qos == qos && publish.id == (qos ? 258 : 0));
                assert_true(is(publish.topic, "a/b") && publish.payload.len == sizes[i]);
                assert_int_equal(publish.properties.message_expiry, version == 5 ? 0x01020304 : 0);
                gw_buf_fini(&out);
                gw_buf_fini(&properties);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixed),      cmocka_unit_test(test_connects),
        cmocka_unit_test(test_publishes),  cmocka_unit_test(test_connect_fields),
        cmocka_unit_test(test_subscribes), cmocka_unit_test(test_publish_properties),
        cmocka_unit_test(test_acks),       cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_writing),    cmocka_unit_test(test_publish_there_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
