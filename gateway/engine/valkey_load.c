/* valkey_load.c: what a process reads at its start: the histories as they were at the top of the log, and the log
 * itself, for what it tells of packets and to mend with. What is younger comes by the tail. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/valkey_private.h"
#include "gateway/hash.h"
#include "gateway/log.h"

#define LOAD_MS     60000 /* for one reply */
#define LOAD_WINDOW 128   /* channels asked for at once */
#define LOG_PAGE    "1000"

static enum gw_err load_failed(struct gw_engine_store *store, struct gw_buf *error)
{
    gw_buf_printf(error, "engine: can't read from %s:%s: %s", store->host, store->port, store->commands.error);
    return GW_ERR_INTERNAL;
}

/* --- histories -------------------------------------------------------------------------------------------------- */

/* The entries of one channel that are no younger than the top, of a stream that may have lost older ones since.
 * `newest`: the number of its last message; where the stream is gone (a server without memory throws keys away), all
 * up to there is. */
static void load_channel(struct gw_engine_store *store, const struct gw_engine_load *load, const redisReply *name,
                         uint64_t newest, const redisReply *reply)
{
    struct gw_entry_list list = {0};
    bool gone = reply->type == REDIS_REPLY_ARRAY && !reply->elements;
    uint64_t before = 0, oldest = gone ? newest : 0;
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
        struct gw_entry *entry = gw_entry_of_reply(reply->element[i]);
        if (!entry)
            continue;
        struct gw_slice field = gw_entry_field(entry, "b");
        before = field.data ? strtoull(field.data, NULL, 10) : 0;
        if (i == 0)
            oldest = before;
        if (gw_entry_id_compare(entry->id, store->read) > 0) {
            free(entry);
            break;
        }
        gw_entry_list_add(&list, entry);
    }
    struct gw_engine_channel channel = {
        .name = gw_resp_text(name),
        .len = (size_t)name->len,
        .hash = gw_hash(gw_resp_text(name), (size_t)name->len),
        .evicted = oldest < store->read.seq ? oldest : store->read.seq,
        .kept = true,
    };
    if (!list.count) { /* all of it is younger: older ones were there if it says so */
        channel.last_seq = channel.before_last = channel.evicted;
        if (channel.last_seq)
            load->channel(load->context, &channel);
        return;
    }
    struct gw_message_spec spec;
    struct gw_slice field = gw_entry_field(list.newest, "b");
    channel.last_seq = list.newest->id.seq;
    channel.before_last = field.data ? strtoull(field.data, NULL, 10) : 0;
    if (gw_entry_spec(list.newest, &spec) && !spec.clear)
        channel.last = channel.last_seq;
    load->channel(load->context, &channel);
    for (const struct gw_entry *entry = list.oldest; entry; entry = entry->next) {
        if (!gw_entry_spec(entry, &spec))
            continue;
        spec.epoch = store->epoch;
        load->message(load->context, &spec);
    }
    gw_entry_list_clear(&list);
}

static bool load_ask_channel(struct gw_engine_store *store, const redisReply *name)
{
    struct gw_resp_args args = {0};
    struct gw_buf key = {0};
    gw_buf_adds(&key, store->keys.histories);
    gw_buf_add(&key, name->str, (size_t)name->len);
    gw_resp_arg(&args, "XRANGE", 6);
    gw_resp_arg(&args, key.data, key.len);
    gw_resp_arg(&args, "-", 1);
    gw_resp_arg(&args, "+", 1);
    bool good = gw_resp_send(&store->commands, &args, LOAD_MS);
    gw_resp_args_fini(&args);
    gw_buf_fini(&key);
    return good;
}

static bool load_histories(struct gw_engine_store *store, const struct gw_engine_load *load)
{
    redisReply *names =
        gw_resp_ask(&store->commands, LOAD_MS, "ZRANGE", store->keys.channels, "0", "-1", "WITHSCORES", NULL);
    bool good = names && names->type == REDIS_REPLY_ARRAY;
    size_t asked = 0;
    for (size_t i = 0; good && i + 1 < names->elements; i += 2) { /* a name and its score */
        for (; good && asked + 1 < names->elements && asked < i + 2 * LOAD_WINDOW; asked += 2)
            good = load_ask_channel(store, names->element[asked]);
        redisReply *reply = good ? gw_resp_read(&store->commands, LOAD_MS) : NULL;
        good = reply != NULL;
        if (reply) {
            uint64_t newest = strtoull(gw_resp_text(names->element[i + 1]), NULL, 10);
            if (names->element[i]->len) /* the member without a name is no channel (valkey_scripts.h) */
                load_channel(store, load, names->element[i], newest, reply);
            freeReplyObject(reply);
        }
    }
    if (names)
        freeReplyObject(names);
    return good;
}

/* What was told last of the channels' states, as far as it is no younger than the top. */
static bool load_states(struct gw_engine_store *store, const struct gw_engine_load *load)
{
    struct gw_buf key = {0};
    gw_buf_printf(&key, "%s:states", store->keys.meta);
    redisReply *all = gw_resp_ask(&store->commands, LOAD_MS, "HGETALL", key.data, NULL);
    gw_buf_fini(&key);
    if (!all)
        return false;
    for (size_t i = 0; all->type == REDIS_REPLY_ARRAY && i + 1 < all->elements; i += 2) {
        const redisReply *name = all->element[i], *value = all->element[i + 1];
        struct gw_message_spec spec = {.channel = name->str, .channel_len = (size_t)name->len, .epoch = store->epoch};
        struct gw_entry_id id;
        const char *state = value->str ? strchr(value->str, ' ') : NULL;
        if (!name->str || !state || !gw_entry_id_parse(value->str, &id) || !gw_entry_read_state(state + 1, &spec) ||
            gw_entry_id_compare(id, store->read) > 0)
            continue;
        spec.seq = id.seq;
        spec.ts = spec.since;
        spec.route = GW_ROUTE_BY_NAME;
        load->message(load->context, &spec);
    }
    freeReplyObject(all);
    return true;
}

/* --- the log ---------------------------------------------------------------------------------------------------- */

static bool load_log(struct gw_engine_store *store)
{
    char from[GW_ENTRY_ID_SIZE + 1] = "-", to[GW_ENTRY_ID_SIZE];
    const struct gw_entry_id top = store->read;
    gw_entry_id_format(to, top);
    for (bool more = true; more;) {
        redisReply *reply =
            gw_resp_ask(&store->commands, LOAD_MS, "XRANGE", store->keys.log, from, to, "COUNT", LOG_PAGE, NULL);
        if (!reply)
            return false;
        const redisReply *newest =
            reply->type == REDIS_REPLY_ARRAY && reply->elements ? reply->element[reply->elements - 1] : NULL;
        struct gw_entry_id last; /* also where it is not ours */
        more = newest && newest->elements && gw_entry_id_parse(newest->element[0]->str, &last);
        for (size_t i = 0; more && i < reply->elements; i++) {
            struct gw_entry *entry = gw_entry_of_reply(reply->element[i]);
            if (entry)
                gw_valkey_note(store, entry);
        }
        freeReplyObject(reply);
        from[0] = '('; /* what follows */
        if (more)
            gw_entry_id_format(from + 1, last);
    }
    store->read = top;
    return true;
}

/* What the newest fence and state say, which the log may not hold any more. */
static bool load_meta(struct gw_engine_store *store)
{
    redisReply *reply = gw_resp_ask(&store->commands, LOAD_MS, "HMGET", store->keys.meta, "leader", "run", "upstream",
                                    "routes", NULL);
    if (!reply)
        return false;
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 4) {
        if (reply->element[0]->str && !*store->leader)
            snprintf(store->leader, sizeof store->leader, "%s", reply->element[0]->str);
        if (reply->element[1]->str && !*store->run)
            snprintf(store->run, sizeof store->run, "%s", reply->element[1]->str);
        if (reply->element[2]->str) {
            store->cluster_up = reply->element[2]->str[0] == '1';
            store->cluster_since = strtoll(reply->element[2]->str + 1, NULL, 10);
        }
        if (reply->element[3]->str)
            store->leader_digest = strtoull(reply->element[3]->str, NULL, 16);
    }
    freeReplyObject(reply);
    return true;
}

enum gw_err gw_valkey_load(struct gw_engine_store *store, const struct gw_engine_load *load, struct gw_buf *error)
{
    if (!load_histories(store, load) || !load_states(store, load) || !load_log(store) || !load_meta(store))
        return load_failed(store, error);
    return GW_OK;
}
