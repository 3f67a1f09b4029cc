#include "engine/valkey_entry.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digits.h"
#include "gateway/alloc.h"

/* The head's numbers in hexadecimal, so that they are short: ts, flags, keep, packet identifier, hash of the packet,
 * where in the JSON the watched value lies and how long it is. */
#define HEAD_NUMBERS 7
#define HEAD_SIZE    (HEAD_NUMBERS * 17)

#define FLAG_RETAINED 1u
#define FLAG_CLEAR    2u
#define FLAG_BINARY   4u
#define FLAG_WATCHED  8u
#define FLAG_STORED   16u
#define FLAG_QOS      32u

/* --- making ----------------------------------------------------------------------------------------------------- */

static struct gw_entry *entry_make(const struct gw_slice *fields, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += fields[i].len + 1;
    struct gw_entry *entry = gw_malloc(sizeof *entry + bytes);
    memset(entry, 0, sizeof *entry);
    entry->count = (uint8_t)count;
    char *at = entry->bytes;
    for (size_t i = 0; i < count; i++) {
        if (fields[i].len)
            memcpy(at, fields[i].data, fields[i].len);
        at[fields[i].len] = '\0';
        entry->len[i] = (uint32_t)fields[i].len;
        at += fields[i].len + 1;
    }
    return entry;
}

struct gw_entry *gw_entry_control(const char *const *words)
{
    struct gw_slice fields[GW_ENTRY_FIELDS];
    size_t count = 0;
    for (; words[count] && count < GW_ENTRY_FIELDS; count++)
        fields[count] = (struct gw_slice){words[count], strlen(words[count])};
    struct gw_entry *entry = entry_make(fields, count);
    entry->last = true;
    return entry;
}

static void entry_add(struct gw_slice *fields, size_t *count, const char *name, struct gw_slice value)
{
    fields[(*count)++] = (struct gw_slice){name, strlen(name)};
    fields[(*count)++] = value;
}

struct gw_entry *gw_entry_of_draft(const struct gw_message_spec *draft, uint16_t mid, uint64_t hash)
{
    char head[HEAD_SIZE];
    bool watched = draft->watched.data != NULL;
    unsigned flags = (draft->retained ? FLAG_RETAINED : 0) | (draft->clear ? FLAG_CLEAR : 0) |
                     (draft->binary ? FLAG_BINARY : 0) | (watched ? FLAG_WATCHED : 0) |
                     (draft->stored ? FLAG_STORED : 0) | (draft->qos ? FLAG_QOS : 0);
    const uint64_t numbers[HEAD_NUMBERS] = {(uint64_t)draft->ts,
                                            flags,
                                            draft->keep,
                                            mid,
                                            hash,
                                            watched ? (uint64_t)(draft->watched.data - draft->json) : 0,
                                            draft->watched.len};
    char *end = head;
    for (size_t i = 0; i < HEAD_NUMBERS; i++) {
        end = gw_put_hex(end, numbers[i]);
        *end++ = ' ';
    }
    size_t len = (size_t)(end - head) - 1;
    bool same = draft->payload_len == draft->json_len && !memcmp(draft->payload, draft->json, draft->json_len);
    struct gw_slice fields[GW_ENTRY_FIELDS] = {
        {"c", 1}, {draft->channel, draft->channel_len}, {"h", 1}, {head, len},
        {"d", 1}, {draft->json, draft->json_len},
    };
    size_t count = 6;
    char expires[24], told[64];
    if (draft->state) { /* the first of the others: the script looks for it there */
        int digits = snprintf(told, sizeof told, "%x %" PRIx64 " %" PRIx64, draft->state, (uint64_t)draft->since,
                              (uint64_t)draft->seen);
        entry_add(fields, &count, "s", (struct gw_slice){told, (size_t)digits});
    }
    if (!same)
        entry_add(fields, &count, "p", (struct gw_slice){draft->payload, draft->payload_len});
    if (draft->properties.len)
        entry_add(fields, &count, "m", draft->properties);
    if (draft->expires_ms) {
        int digits = snprintf(expires, sizeof expires, "%" PRIx64, (uint64_t)draft->expires_ms);
        entry_add(fields, &count, "e", (struct gw_slice){expires, (size_t)digits});
    }
    struct gw_entry *entry = entry_make(fields, count);
    entry->message = true;
    entry->mid = mid;
    entry->hash = hash;
    entry->keep = draft->keep;
    entry->state = draft->state != GW_STATE_NONE;
    entry->clear = draft->clear;
    return entry;
}

/* A number and the blank or dash behind it; sscanf() would take a tenth of a start's time. */
static bool entry_number(const char **at, unsigned base, uint64_t *out)
{
    const char *begin = *at;
    uint64_t number = 0;
    for (;; ++*at) {
        unsigned byte = (unsigned char)**at, digit = byte - '0';
        if (digit > 9) /* a letter, or it is above every base */
            digit = byte - 'a' <= 5 ? byte - 'a' + 10 : base;
        if (digit >= base)
            break;
        number = number * base + digit;
    }
    *out = number;
    bool some = *at > begin;
    if (**at == ' ' || **at == '-')
        ++*at;
    return some;
}

static bool entry_numbers(const char *text, uint64_t numbers[HEAD_NUMBERS])
{
    for (size_t i = 0; i < HEAD_NUMBERS; i++)
        if (!entry_number(&text, 16, &numbers[i]))
            return false;
    return true;
}

static bool entry_read_head(struct gw_entry *entry)
{
    struct gw_slice head = gw_entry_field(entry, "h");
    uint64_t numbers[HEAD_NUMBERS];
    if (!head.data || !entry_numbers(head.data, numbers))
        return false;
    unsigned flags = (unsigned)numbers[1], mid = (unsigned)numbers[3];
    entry->keep = (unsigned)numbers[2];
    entry->hash = numbers[4];
    entry->mid = (uint16_t)mid;
    entry->message = true;
    entry->state = gw_entry_field(entry, "s").data != NULL;
    entry->clear = flags & FLAG_CLEAR;
    return true;
}

struct gw_entry *gw_entry_of_reply(const redisReply *reply)
{
    struct gw_slice fields[GW_ENTRY_FIELDS];
    struct gw_entry_id id;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 || reply->element[0]->type != REDIS_REPLY_STRING ||
        reply->element[1]->type != REDIS_REPLY_ARRAY || !gw_entry_id_parse(reply->element[0]->str, &id))
        return NULL;
    const redisReply *list = reply->element[1];
    if (list->elements < 2 || list->elements % 2 || list->elements > GW_ENTRY_FIELDS)
        return NULL;
    for (size_t i = 0; i < list->elements; i++) {
        if (!list->element[i]->str)
            return NULL;
        fields[i] = (struct gw_slice){list->element[i]->str, (size_t)list->element[i]->len};
    }
    struct gw_entry *entry = entry_make(fields, list->elements);
    entry->id = id;
    if (!gw_entry_field(entry, "k").data && !entry_read_head(entry)) {
        free(entry);
        return NULL;
    }
    return entry;
}

/* --- reading ---------------------------------------------------------------------------------------------------- */

size_t gw_entry_size(const struct gw_entry *entry)
{
    size_t bytes = sizeof *entry;
    for (unsigned i = 0; i < entry->count; i++)
        bytes += entry->len[i] + 1;
    return bytes;
}

struct gw_slice gw_entry_field(const struct gw_entry *entry, const char *name)
{
    const char *at = entry->bytes;
    for (unsigned i = 0; i + 1 < entry->count; i += 2) {
        const char *value = at + entry->len[i] + 1;
        if (!strcmp(at, name))
            return (struct gw_slice){value, entry->len[i + 1]};
        at = value + entry->len[i + 1] + 1;
    }
    return (struct gw_slice){0};
}

bool gw_entry_read_state(const char *text, struct gw_message_spec *spec)
{
    unsigned state;
    uint64_t since, seen;
    if (sscanf(text, "%x %" SCNx64 " %" SCNx64, &state, &since, &seen) != 3 || !state || state >= GW_STATE_COUNT)
        return false;
    struct gw_slice json = gw_state_json((enum gw_state)state);
    spec->json = spec->payload = json.data;
    spec->json_len = spec->payload_len = json.len;
    spec->state = (uint8_t)state;
    spec->since = (int64_t)since;
    spec->seen = (int64_t)seen;
    return true;
}

bool gw_entry_spec(const struct gw_entry *entry, struct gw_message_spec *spec)
{
    struct gw_slice channel = gw_entry_field(entry, "c"), head = gw_entry_field(entry, "h");
    struct gw_slice json = gw_entry_field(entry, "d"), payload = gw_entry_field(entry, "p");
    struct gw_slice expires = gw_entry_field(entry, "e"); /* NUL-terminated */
    uint64_t numbers[HEAD_NUMBERS];
    if (!entry->message || !channel.len || !json.data || !head.data || !entry_numbers(head.data, numbers))
        return false;
    uint64_t ts = numbers[0], from = numbers[5], len = numbers[6];
    unsigned flags = (unsigned)numbers[1], keep = (unsigned)numbers[2];
    if (!payload.data)
        payload = json;
    *spec = (struct gw_message_spec){
        .channel = channel.data,
        .channel_len = channel.len,
        .json = json.data,
        .json_len = json.len,
        .payload = payload.data,
        .payload_len = payload.len,
        .seq = entry->id.seq,
        .ts = (int64_t)ts,
        .route = GW_ROUTE_BY_NAME,
        .retained = flags & FLAG_RETAINED,
        .clear = flags & FLAG_CLEAR,
        .binary = flags & FLAG_BINARY,
        .stored = flags & FLAG_STORED,
        .qos = flags & FLAG_QOS ? 1 : 0,
        .keep = keep,
        .properties = gw_entry_field(entry, "m"),
        .expires_ms = expires.data ? (int64_t)strtoull(expires.data, NULL, 16) : 0,
    };
    if (entry->state && !gw_entry_read_state(gw_entry_field(entry, "s").data, spec))
        return false;
    if (flags & FLAG_WATCHED && from <= json.len && len <= json.len - from)
        spec->watched = (struct gw_slice){json.data + from, len};
    return true;
}

/* --- ids -------------------------------------------------------------------------------------------------------- */

int gw_entry_id_compare(struct gw_entry_id a, struct gw_entry_id b)
{
    if (a.term != b.term)
        return a.term < b.term ? -1 : 1;
    return a.seq < b.seq ? -1 : a.seq > b.seq;
}

bool gw_entry_id_parse(const char *text, struct gw_entry_id *id)
{
    return text && entry_number(&text, 10, &id->term) && entry_number(&text, 10, &id->seq);
}

void gw_entry_id_format(char out[GW_ENTRY_ID_SIZE], struct gw_entry_id id)
{
    out = gw_put_digits(out, id.term);
    *out++ = '-';
    *gw_put_digits(out, id.seq) = '\0';
}

/* --- lists ------------------------------------------------------------------------------------------------------ */

void gw_entry_list_add(struct gw_entry_list *list, struct gw_entry *entry)
{
    entry->next = NULL;
    if (list->newest)
        list->newest->next = entry;
    else
        list->oldest = entry;
    list->newest = entry;
    list->count++;
    list->bytes += gw_entry_size(entry);
}

struct gw_entry *gw_entry_list_take(struct gw_entry_list *list)
{
    struct gw_entry *entry = list->oldest;
    if (!entry)
        return NULL;
    list->oldest = entry->next;
    if (!list->oldest)
        list->newest = NULL;
    list->count--;
    list->bytes -= gw_entry_size(entry);
    entry->next = NULL;
    return entry;
}

void gw_entry_list_clear(struct gw_entry_list *list)
{
    struct gw_entry *entry;
    while ((entry = gw_entry_list_take(list)))
        free(entry);
}
