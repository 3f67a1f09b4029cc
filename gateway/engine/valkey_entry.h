/* valkey_entry.h: one entry of the shared log, as this process holds it: to be sent, or to mend the log with.
 *
 * In the log its id is `<term>-<seq>`, and its fields are, for a message: c the channel, h the head (numbers, see
 * valkey_entry.c), d the JSON, s the state that it tells of, p the payload where it differs from that, m what
 * came along with it (properties.h), e when it expires; otherwise k says what it is. Thread: any. */
#ifndef GW_ENGINE_VALKEY_ENTRY_H
#define GW_ENGINE_VALKEY_ENTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/resp.h"
#include "gateway/message.h"

#define GW_ENTRY_FIELDS  16 /* names and values */
#define GW_ENTRY_ID_SIZE 48

struct gw_entry_id {
    uint64_t term, seq;
};

struct gw_entry {
    struct gw_entry *next;
    struct gw_entry_id id;
    uint64_t ticket; /* the packet that it is of, counted by the engine */
    uint64_t hash;   /* of the packet's topic and payload */
    uint32_t keep;   /* messages that the channel's history holds */
    uint16_t mid;    /* the packet's identifier; 0: none */
    bool last;       /* of its packet */
    bool message;    /* otherwise it is a control entry */
    bool state;      /* ... a message that tells of a channel's state */
    bool clear;      /* ... one after which the channel has no value any more */
    uint8_t count;   /* of fields, names and values */
    uint32_t len[GW_ENTRY_FIELDS];
    char bytes[]; /* the fields one after the other, each with a NUL behind it */
};

struct gw_entry_list {
    struct gw_entry *oldest, *newest;
    size_t count, bytes;
};

/* A control entry: names and values, NULL-terminated. */
struct gw_entry *gw_entry_control(const char *const *words);
/* A message; id is the caller's to set. */
struct gw_entry *gw_entry_of_draft(const struct gw_message_spec *draft, uint16_t mid, uint64_t hash);
/* What an XREAD or XRANGE returned: [id, [name, value, ...]]. NULL: it is not of the form. */
struct gw_entry *gw_entry_of_reply(const redisReply *reply);

size_t gw_entry_size(const struct gw_entry *entry);
/* The value of a field; data NULL: there is none. */
struct gw_slice gw_entry_field(const struct gw_entry *entry, const char *name);
/* A state as the log has it: what it is, since when, and when the channel was seen. False: it is not of the form. */
bool gw_entry_read_state(const char *text, struct gw_message_spec *spec);
/* The message that it is, but for epoch, seq and born_ns, which are set too; false: it is none. Borrowed. */
bool gw_entry_spec(const struct gw_entry *entry, struct gw_message_spec *spec);

int gw_entry_id_compare(struct gw_entry_id a, struct gw_entry_id b);
bool gw_entry_id_parse(const char *text, struct gw_entry_id *id);
void gw_entry_id_format(char out[GW_ENTRY_ID_SIZE], struct gw_entry_id id);

void gw_entry_list_add(struct gw_entry_list *list, struct gw_entry *entry);
/* NULL: it is empty. */
struct gw_entry *gw_entry_list_take(struct gw_entry_list *list);
void gw_entry_list_clear(struct gw_entry_list *list);

#endif
