/* wanted.c: the state that a command wants, and whether a channel's messages show it (decision 0024). */
#include "hub/publish/wanted.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/json_scan.h"
#include "codec/json_pointer.h"

#define DEPTH_MAX  16 /* of objects and lists that are compared by their parts */
#define NUMBER_MAX 64 /* longer ones are compared as they are written */

/* --- two values ------------------------------------------------------------------------------------------------- */

static bool same_bytes(struct gw_slice a, struct gw_slice b)
{
    return a.len == b.len && !memcmp(a.data, b.data, a.len);
}

static bool same_text(struct gw_slice a, struct gw_slice b)
{
    struct gw_buf left = {0}, right = {0};
    gw_json_unescape(a.data, a.len, &left);
    gw_json_unescape(b.data, b.len, &right);
    bool same = left.len == right.len;
    for (size_t i = 0; same && i < left.len; i++) {
        unsigned char x = (unsigned char)left.data[i], y = (unsigned char)right.data[i];
        same = x == y || ((x ^ y) == 0x20 && (x | 0x20) >= 'a' && (x | 0x20) <= 'z');
    }
    gw_buf_fini(&left);
    gw_buf_fini(&right);
    return same;
}

static bool is_number(struct gw_slice text)
{
    return *text.data == '-' || (*text.data >= '0' && *text.data <= '9');
}

static bool is_whole(struct gw_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] != '-' && (text.data[i] < '0' || text.data[i] > '9'))
            return false;
    }
    return true;
}

static bool same_number(struct gw_slice a, struct gw_slice b, double tolerance)
{
    if (a.len >= NUMBER_MAX || b.len >= NUMBER_MAX)
        return same_bytes(a, b);
    if (tolerance <= 0 && is_whole(a) && is_whole(b)) /* also those that no double holds */
        return same_bytes(a, b);
    char left[NUMBER_MAX] = "", right[NUMBER_MAX] = "";
    memcpy(left, a.data, a.len);
    memcpy(right, b.data, b.len);
    double difference = strtod(left, NULL) - strtod(right, NULL);
    return (difference < 0 ? -difference : difference) <= tolerance; /* false for NaN: two infinite ones */
}

static bool same_value(struct gw_slice a, struct gw_slice b, double tolerance, unsigned depth);

static bool same_members(struct gw_slice wanted, struct gw_slice is, double tolerance, unsigned depth)
{
    struct gw_slice key, value, other;
    struct gw_buf name = {0};
    bool same = true;
    for (size_t at = 0; same && gw_json_next_member(wanted.data, wanted.len, &at, &key, &value);) {
        gw_buf_clear(&name);
        gw_json_unescape(key.data, key.len, &name);
        gw_buf_addc(&name, '\0');
        same = strlen(name.data) == name.len - 1 && gw_json_find(is.data, is.len, name.data, &other) &&
               same_value(value, other, tolerance, depth + 1);
    }
    gw_buf_fini(&name);
    return same;
}

static bool same_elements(struct gw_slice wanted, struct gw_slice is, double tolerance, unsigned depth)
{
    struct gw_slice left, right;
    size_t at = 0, there = 0;
    while (gw_json_next_element(wanted.data, wanted.len, &at, &left)) {
        if (!gw_json_next_element(is.data, is.len, &there, &right) || !same_value(left, right, tolerance, depth + 1))
            return false;
    }
    return !gw_json_next_element(is.data, is.len, &there, &right);
}

static bool same_value(struct gw_slice wanted, struct gw_slice is, double tolerance, unsigned depth)
{
    wanted = gw_json_trim(wanted.data, wanted.len);
    is = gw_json_trim(is.data, is.len);
    if (!wanted.len || !is.len)
        return false;
    if (is_number(wanted))
        return is_number(is) && same_number(wanted, is, tolerance);
    if (*wanted.data != *is.data)
        return false;
    if (*wanted.data == '"')
        return same_text(wanted, is);
    if (*wanted.data == '{' && depth < DEPTH_MAX)
        return same_members(wanted, is, tolerance, depth);
    if (*wanted.data == '[' && depth < DEPTH_MAX)
        return same_elements(wanted, is, tolerance, depth);
    return same_bytes(wanted, is); /* true, false, null */
}

bool gw_wanted_same(struct gw_slice wanted, struct gw_slice is, double tolerance)
{
    return same_value(wanted, is, tolerance, 0);
}

/* --- what a command wants --------------------------------------------------------------------------------------- */

/* True: it is one of these commands. An empty payload is null here. */
static bool is_named(struct gw_slice value, const struct gw_strings *commands)
{
    struct gw_buf text = {0};
    if (value.len && *value.data == '"')
        gw_json_unescape(value.data, value.len, &text);
    else if (value.len != 4 || memcmp(value.data, "null", 4) != 0)
        gw_buf_add(&text, value.data, value.len);
    bool named = false;
    for (size_t i = 0; i < commands->count && !named; i++) {
        const char *command = commands->items[i];
        size_t len = strlen(command);
        bool begins = len && command[len - 1] == '*';
        len -= begins;
        named = (begins ? text.len >= len : text.len == len) && (!len || !strncasecmp(text.data, command, len));
    }
    gw_buf_fini(&text);
    return named;
}

static enum gw_wanted_by wanted_by(struct gw_slice value, const struct gw_wanted_rules *rules, bool whole)
{
    bool text = whole && rules->text.data && rules->text.len;
    if (is_named(value, rules->any) || (text && is_named(rules->text, rules->any)))
        return GW_WANTED_ANY;
    if (is_named(value, rules->change) || (text && is_named(rules->text, rules->change)))
        return GW_WANTED_CHANGE;
    return GW_WANTED_VALUE;
}

static bool wanted_add(struct gw_wanted *wanted, const char *pointer, struct gw_slice value,
                       const struct gw_wanted_rules *rules, const char **why)
{
    *why = "too much of it is to be confirmed: 32 places and 4 KiB at most (publish.confirm.field names fewer)";
    if (wanted->count == GW_WANTED_MAX || wanted->text.len + strlen(pointer) + value.len > GW_WANTED_BYTES_MAX)
        return false;
    *why = NULL;
    wanted->items[wanted->count].pointer = (uint32_t)wanted->text.len;
    gw_buf_add(&wanted->text, pointer, strlen(pointer) + 1);
    wanted->items[wanted->count].value = (uint32_t)wanted->text.len;
    wanted->items[wanted->count].value_len = (uint32_t)value.len;
    gw_buf_add(&wanted->text, value.data, value.len);
    wanted->items[wanted->count].by = wanted_by(gw_json_trim(value.data, value.len), rules, !*pointer);
    wanted->count++;
    return true;
}

/* The JSON pointer to a member (RFC 6901 section 3). False: its name has a NUL. */
static bool pointer_of(struct gw_slice key, struct gw_buf *pointer)
{
    struct gw_buf name = {0};
    gw_json_unescape(key.data, key.len, &name);
    bool good = !name.len || !memchr(name.data, '\0', name.len);
    gw_buf_clear(pointer);
    gw_buf_addc(pointer, '/');
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] == '~' || name.data[i] == '/')
            gw_buf_adds(pointer, name.data[i] == '~' ? "~0" : "~1");
        else
            gw_buf_addc(pointer, name.data[i]);
    }
    gw_buf_addc(pointer, '\0');
    gw_buf_fini(&name);
    return good;
}

static bool wanted_add_members(struct gw_wanted *wanted, struct gw_slice object, const struct gw_wanted_rules *rules,
                               const char **why)
{
    struct gw_slice key, value;
    struct gw_buf pointer = {0};
    bool good = true;
    for (size_t at = 0; good && gw_json_next_member(object.data, object.len, &at, &key, &value);) {
        *why = "a member's name has the NUL character";
        good = pointer_of(key, &pointer) && wanted_add(wanted, pointer.data, value, rules, why);
    }
    gw_buf_fini(&pointer);
    return good;
}

bool gw_wanted_init(struct gw_wanted *wanted, struct gw_slice json, const struct gw_wanted_rules *rules,
                    const char **why)
{
    const struct gw_strings *fields = rules->fields;
    *wanted = (struct gw_wanted){.tolerance = rules->tolerance};
    json = gw_json_trim(json.data, json.len);
    bool good = true;
    *why = NULL;
    for (size_t i = 0; good && i < fields->count; i++) {
        struct gw_slice value;
        if (gw_json_pointer(json.data, json.len, fields->items[i], &value))
            good = wanted_add(wanted, fields->items[i], value, rules, why);
    }
    if (!fields->count && json.len && *json.data == '{')
        good = wanted_add_members(wanted, json, rules, why);
    else if (!fields->count)
        good = wanted_add(wanted, "", json, rules, why);
    if (good && !wanted->count) {
        *why = "it has nothing that can be confirmed (one of publish.confirm.field expected)";
        good = false;
    }
    if (!good)
        gw_wanted_fini(wanted);
    return good;
}

void gw_wanted_fini(struct gw_wanted *wanted)
{
    gw_buf_fini(&wanted->text);
}

bool gw_wanted_is_command(const struct gw_wanted *wanted)
{
    bool is = false;
    for (uint32_t i = 0; i < wanted->count; i++)
        is |= wanted->items[i].by != GW_WANTED_VALUE;
    return is;
}

static const char *wanted_pointer(const struct gw_wanted *wanted, uint32_t item)
{
    return wanted->text.data + wanted->items[item].pointer;
}

/* What is too long to be kept counts as a value that never changes. */
void gw_wanted_before(struct gw_wanted *wanted, struct gw_slice data)
{
    for (uint32_t i = 0; i < wanted->count; i++) {
        struct gw_slice is;
        if (wanted->items[i].by != GW_WANTED_CHANGE ||
            !gw_json_pointer(data.data, data.len, wanted_pointer(wanted, i), &is))
            continue;
        is = gw_json_trim(is.data, is.len);
        if (wanted->text.len + is.len > 2 * (size_t)GW_WANTED_BYTES_MAX) {
            wanted->items[i].by = GW_WANTED_VALUE;
            continue;
        }
        wanted->items[i].before = (uint32_t)wanted->text.len;
        wanted->items[i].before_len = (uint32_t)is.len;
        gw_buf_add(&wanted->text, is.data, is.len);
    }
}

/* A channel without a value shows no state. */
static bool wanted_shows(const struct gw_wanted *wanted, uint32_t item, struct gw_slice is)
{
    const char *text = wanted->text.data;
    const struct gw_slice want = {text + wanted->items[item].value, wanted->items[item].value_len};
    const struct gw_slice before = {text + wanted->items[item].before, wanted->items[item].before_len};
    enum gw_wanted_by by = wanted->items[item].by;
    if (gw_wanted_same(want, is, wanted->tolerance))
        return true;
    is = gw_json_trim(is.data, is.len);
    if (by == GW_WANTED_VALUE || (is.len == 4 && !memcmp(is.data, "null", 4)))
        return false;
    return by == GW_WANTED_ANY || !before.len || !gw_wanted_same(before, is, wanted->tolerance) ||
           !gw_wanted_same(is, before, wanted->tolerance);
}

bool gw_wanted_see(struct gw_wanted *wanted, struct gw_slice data)
{
    for (uint32_t i = 0; i < wanted->count; i++) {
        struct gw_slice is;
        if (!gw_json_pointer(data.data, data.len, wanted_pointer(wanted, i), &is))
            continue;
        if (wanted_shows(wanted, i, is))
            wanted->shown |= 1u << i;
        else
            wanted->shown &= ~(1u << i);
    }
    return wanted->shown == (wanted->count == 32 ? UINT32_MAX : (1u << wanted->count) - 1);
}

void gw_wanted_forget(struct gw_wanted *wanted)
{
    wanted->shown = 0;
}
