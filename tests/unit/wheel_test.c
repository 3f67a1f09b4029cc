/* The timing wheel against a plain list of deadlines. The clock is the test's. */
#include "base/wheel.h"
#include "check.h"

#define ITEMS 300

struct model {
    struct gw_wheel_item item; /* first member */
    bool set;
    int64_t due_ms, set_ms;
};

static uint32_t seed;

static uint32_t draw(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

/* Everything that comes was due, and everything that was due for longer than a tick has come. */
static void check_due(struct gw_wheel *wheel, struct model *models, int64_t now)
{
    struct gw_wheel_item *item;
    while ((item = gw_wheel_due(wheel, now))) {
        struct model *model = (struct model *)item;
        assert_true(model->set);
        assert_true(model->due_ms <= now);
        model->set = false;
    }
    for (size_t i = 0; i < ITEMS; i++) {
        int64_t due = models[i].due_ms > models[i].set_ms ? models[i].due_ms : models[i].set_ms;
        assert_false(models[i].set && due + GW_WHEEL_TICK_MS <= now);
    }
}

static void against_a_model(void **state)
{
    (void)state;
    for (uint32_t round = 1; round <= 20; round++) {
        seed = round;
        struct model models[ITEMS] = {0};
        struct gw_wheel *wheel = malloc(sizeof *wheel);
        int64_t now = draw(1000000);
        gw_wheel_init(wheel, now);
        for (int step = 0; step < 3000; step++) {
            struct model *model = &models[draw(ITEMS)];
            switch (draw(8)) {
            case 0:
                gw_wheel_cancel(wheel, &model->item);
                model->set = false;
                break;
            case 1: /* time passes, sometimes more than a turn of the wheel */
                now += draw(20) ? draw(400) : draw(3 * GW_WHEEL_SLOTS * GW_WHEEL_TICK_MS);
                check_due(wheel, models, now);
                break;
            default:
                model->set = true;
                model->set_ms = now;
                model->due_ms = now - 100 + (draw(4) ? draw(30000) : draw(10 * GW_WHEEL_SLOTS * GW_WHEEL_TICK_MS));
                gw_wheel_set(wheel, &model->item, model->due_ms);
            }
            uint32_t count = 0;
            for (size_t i = 0; i < ITEMS; i++)
                count += models[i].set;
            assert_int_equal(wheel->count, count);
        }
        free(wheel);
    }
}

/* Whoever sleeps until gw_wheel_next() misses nothing. */
static void sleeping_until_next(void **state)
{
    (void)state;
    seed = 7;
    struct model models[ITEMS] = {0};
    struct gw_wheel *wheel = malloc(sizeof *wheel);
    int64_t now = 12345;
    gw_wheel_init(wheel, now);
    assert_true(gw_wheel_next(wheel) == INT64_MAX);
    for (size_t i = 0; i < ITEMS; i++) {
        models[i].set = true;
        models[i].due_ms = now + draw(4 * GW_WHEEL_SLOTS * GW_WHEEL_TICK_MS);
        gw_wheel_set(wheel, &models[i].item, models[i].due_ms);
    }
    unsigned sleeps = 0;
    while (wheel->count) {
        int64_t next = gw_wheel_next(wheel);
        assert_true(next != INT64_MAX);
        if (next > now)
            now = next;
        check_due(wheel, models, now);
        assert_true(++sleeps < 4 * GW_WHEEL_SLOTS);
    }
    assert_true(gw_wheel_next(wheel) == INT64_MAX);
    free(wheel);
}

/* What is far away costs a look a turn, not one a tick. */
static void far_deadlines_are_rarely_met(void **state)
{
    (void)state;
    struct gw_wheel *wheel = malloc(sizeof *wheel);
    struct gw_wheel_item item = {0};
    const int64_t day = 86400 * 1000, turn = GW_WHEEL_SLOTS * GW_WHEEL_TICK_MS;
    gw_wheel_init(wheel, 0);
    gw_wheel_set(wheel, &item, day);
    unsigned looks = 0;
    for (int64_t now = 0; now < day; now = gw_wheel_next(wheel)) {
        assert_null(gw_wheel_due(wheel, now));
        looks++;
    }
    assert_true(looks <= day / turn + 3);
    assert_ptr_equal(gw_wheel_due(wheel, day), &item);
    free(wheel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_a_model),
        cmocka_unit_test(sleeping_until_next),
        cmocka_unit_test(far_deadlines_are_rarely_met),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
