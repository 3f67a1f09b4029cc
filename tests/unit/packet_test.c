/* PUBLISH packets: what is taken, what is left to libmosquitto, and that no piece of a packet is taken for a whole.
 */
#include "check.h"
#include "mqtt/packet.h"

struct row {
    const char *name, *bytes;
    size_t len;
    bool v5;
    const char *topic, *payload; /* NULL: left to libmosquitto */
    uint32_t expiry;
};
#define ROW(name, v5, bytes, topic, payload)                                                                         \
    {                                                                                                                \
        name, bytes, sizeof(bytes) - 1, v5, topic, payload, 60                                                       \
    }

static const struct row rows[] = {
    ROW("QoS 0", false, "\x30\x05\0\1axy", "a", "xy"),
    ROW("QoS 0, retained", false, "\x31\x05\0\1axy", "a", "xy"),
    ROW("QoS 1", false, "\x32\x07\0\1a\x12\x34xy", "a", "xy"),
    ROW("QoS 1, again", false, "\x3a\x07\0\1a\x12\x34xy", "a", "xy"),
    ROW("no payload", false, "\x30\x03\0\1a", "a", ""),
    ROW("version 5, no properties", true, "\x30\x06\0\1a\0xy", "a", "xy"),
    ROW("version 5, QoS 1", true, "\x32\x08\0\1a\x12\x34\0xy", "a", "xy"),
    ROW("subscription identifier", true, "\x30\x08\0\1a\2\x0b\7xy", "a", "xy"),
    ROW("long subscription identifier", true, "\x30\x0b\0\1a\5\x0b\xff\xff\xff\x7fxy", "a", "xy"),
    ROW("a byte that is no property", true, "\x30\x09\0\1a\3\x0b\2xyy", NULL, NULL),
    ROW("format, expiry, content type, user property", true,
        "\x30\x1a\0\1a\x15\1\1\2\0\0\0\x3c\3\0\2t/\x26\0\1k\0\1v\x0b\2x", "a", "x"),
    {"largest expiry", "\x30\x0a\0\1a\5\2\xff\xff\xff\xfex", 12, true, "a", "x", 0xfffffffe},
    ROW("expiry cut short", true, "\x30\x08\0\1a\4\2\0\0\x3cx", NULL, NULL),
    ROW("correlation data", true, "\x30\x09\0\1a\4\x09\0\1cx", NULL, NULL),
    ROW("response topic", true, "\x30\x09\0\1a\4\x08\0\1cx", NULL, NULL),
    ROW("topic alias", true, "\x30\x08\0\1a\3\x23\0\1x", NULL, NULL),
    ROW("alias instead of a topic", true, "\x30\x07\0\0\3\x23\0\1x", NULL, NULL),
    ROW("properties longer than the packet", true, "\x30\x05\0\1a\2x", NULL, NULL),
    ROW("a property cut by the end of the properties", true, "\x30\x07\0\1a\2\2\0x", NULL, NULL),
    ROW("identifier without an end", true, "\x30\x0a\0\1a\6\x0b\xff\xff\xff\xff\x7f", NULL, NULL),
    ROW("QoS 2", false, "\x34\x07\0\1a\x12\x34xy", NULL, NULL),
    ROW("QoS 3", false, "\x36\x07\0\1a\x12\x34xy", NULL, NULL),
    ROW("packet identifier 0", false, "\x32\x07\0\1a\0\0xy", NULL, NULL),
    ROW("no topic", false, "\x30\x04\0\0xy", NULL, NULL),
    ROW("topic longer than the packet", false, "\x30\x04\0\3ax", NULL, NULL),
    ROW("no room for the packet identifier", false, "\x32\x04\0\1a\1", NULL, NULL),
    ROW("length of five bytes", false, "\x30\x85\x80\x80\x80\0\0\1axy", NULL, NULL),
    ROW("PUBACK", false, "\x40\2\0\1", NULL, NULL),
    ROW("PINGRESP", false, "\xd0\0", NULL, NULL),
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct row *row = &rows[i];
        struct gw_packet packet;
        size_t len = gw_packet_parse((const uint8_t *)row->bytes, row->len, row->v5, &packet);
        CHECK_ROW(len == (row->topic ? row->len : 0), row->name);
        if (!row->topic)
            continue;
        CHECK_ROW(packet.topic_len == strlen(row->topic) && !memcmp(packet.topic, row->topic, packet.topic_len),
                  row->name);
        CHECK_ROW(packet.payload_len == strlen(row->payload) &&
                      !memcmp(packet.payload, row->payload, packet.payload_len),
                  row->name);
        CHECK_ROW(packet.qos == ((row->bytes[0] >> 1) & 3) && packet.retain == (row->bytes[0] & 1), row->name);
        bool expires = strstr(row->name, "expiry") != NULL;
        CHECK_ROW(packet.expires == expires && (!expires || packet.expiry == row->expiry), row->name);
        CHECK_ROW(packet.mid == (packet.qos ? 0x1234 : 0), row->name);
    }
}

/* In a block of its own length, so that the sanitizer sees a read beyond it. */
static void test_pieces(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (size_t len = 0; len < rows[i].len; len++) {
            uint8_t *piece = malloc(len ? len : 1);
            memcpy(piece, rows[i].bytes, len);
            struct gw_packet packet;
            CHECK_ROW(gw_packet_parse(piece, len, rows[i].v5, &packet) == 0, rows[i].name);
            free(piece);
        }
    }
}

static void test_identifiers(void **state)
{
    (void)state;
    for (unsigned count = 0; count <= GW_PACKET_IDS_MAX + 1; count++) {
        uint8_t bytes[128] = {0x30, (uint8_t)(4 + 2 * count), 0, 1, 'a', (uint8_t)(2 * count)};
        for (unsigned i = 0; i < count; i++) {
            bytes[6 + 2 * i] = 0x0b;
            bytes[7 + 2 * i] = (uint8_t)(i + 1);
        }
        struct gw_packet packet;
        size_t len = gw_packet_parse(bytes, 6 + 2 * count, true, &packet);
        assert_int_equal(len, count <= GW_PACKET_IDS_MAX ? 6 + 2 * count : 0);
        for (unsigned i = 0; len && i < count; i++)
            assert_int_equal(packet.ids[i], i + 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_pieces),
                                       cmocka_unit_test(test_identifiers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
