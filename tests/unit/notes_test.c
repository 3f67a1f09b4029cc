/* What a broker adds to DISCONNECT and to the acknowledgements of publishes: read from whole packets only, and no
 * piece or broken length of one is read past its end (each input lies in a block of exactly its size, for the
 * sanitizers). */
#include "mqtt/notes.h"

#include <mqtt_protocol.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

/* DISCONNECT 0x87, reason string "no", server reference "s", user property a: "b" */
static const uint8_t disconnect[] = {0xe0, 18, 0x87, 16,   0x1f, 0, 2,   'n', 'o', 0x1c,
                                     0,    1,  's',  0x26, 0,    1, 'a', 0,   1,   'b'};
/* PUBACK of packet 7, 0x97, reason string "q" */
static const uint8_t puback[] = {0x40, 8, 0, 7, 0x97, 4, 0x1f, 0, 1, 'q'};

static mosquitto_property *read_exactly(const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1);
    memcpy(copy, data, len);
    mosquitto_property *notes = gw_notes_read(copy, len);
    free(copy);
    return notes;
}

static void expect_text(const mosquitto_property *notes, int identifier, const char *wanted)
{
    char *value = NULL;
    mosquitto_property_read_string(notes, identifier, &value, false);
    assert_string_equal(value, wanted);
    free(value);
}

static void test_whole_packets(void **state)
{
    (void)state;
    char *name = NULL, *value = NULL;
    mosquitto_property *notes = read_exactly(disconnect, sizeof disconnect);
    expect_text(notes, MQTT_PROP_REASON_STRING, "no");
    expect_text(notes, MQTT_PROP_SERVER_REFERENCE, "s");
    assert_non_null(mosquitto_property_read_string_pair(notes, MQTT_PROP_USER_PROPERTY, &name, &value, false));
    assert_string_equal(name, "a");
    assert_string_equal(value, "b");
    free(name);
    free(value);
    mosquitto_property_free_all(&notes);
    notes = read_exactly(puback, sizeof puback);
    expect_text(notes, MQTT_PROP_REASON_STRING, "q");
    mosquitto_property_free_all(&notes);
}

static void test_pieces_and_other_packets(void **state)
{
    (void)state;
    static const uint8_t others[][4] = {{0xe0, 0}, {0xe0, 1, 0x87}, {0x40, 2, 0, 7}, {0x30, 2, 0, 0}, {0xd0, 0}};
    for (size_t len = 0; len < sizeof disconnect; len++)
        assert_null(read_exactly(disconnect, len));
    for (size_t len = 0; len < sizeof puback; len++)
        assert_null(read_exactly(puback, len));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_null(read_exactly(others[i], others[i][1] + 2u));
}

/* Every byte replaced by every other one: lengths that lead astray among them. */
static void test_broken_bytes(void **state)
{
    (void)state;
    for (size_t at = 0; at < sizeof disconnect; at++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            uint8_t broken[sizeof disconnect];
            memcpy(broken, disconnect, sizeof broken);
            broken[at] = (uint8_t)byte;
            mosquitto_property *notes = read_exactly(broken, sizeof broken);
            mosquitto_property_free_all(&notes);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_packets),
        cmocka_unit_test(test_pieces_and_other_packets),
        cmocka_unit_test(test_broken_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
