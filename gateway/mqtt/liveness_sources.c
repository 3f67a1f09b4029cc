/* liveness_sources.c: what devices say of themselves: the topics of their availability or will, and what counts as
 * online. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/json_scan.h"
#include "gateway/alloc.h"
#include "gateway/hash.h"
#include "gateway/list.h"
#include "gateway/log.h"
#include "mqtt/liveness_private.h"
#include "mqtt/packet.h"

/* --- the word --------------------------------------------------------------------------------------------------- */

static bool word_is(const char *text, size_t len, const char *wanted)
{
    return strlen(wanted) == len && !strncasecmp(text, wanted, len);
}

static bool word_is_online(const struct gw_cfg_route *route, const char *text, size_t len)
{
    if (!route->online.count)
        return word_is(text, len, "online");
    for (size_t i = 0; i < route->online.count; i++) {
        if (word_is(text, len, route->online.items[i]))
            return true;
    }
    return false;
}

static struct gw_slice word_unquoted(struct gw_slice text)
{
    if (text.len >= 2 && text.data[0] == '"' && text.data[text.len - 1] == '"')
        return (struct gw_slice){text.data + 1, text.len - 2};
    return text;
}

static struct gw_slice word_trimmed(const char *text, size_t len)
{
    while (len && strchr(" \t\r\n", text[len - 1]))
        len--;
    while (len && strchr(" \t\r\n", text[0])) {
        text++;
        len--;
    }
    return (struct gw_slice){text, len};
}

/* What a payload says: the text itself, or the member `state` of an object. */
static struct gw_slice word_of(const struct gw_packet *packet)
{
    struct gw_slice text = word_trimmed(packet->payload, packet->payload_len), member;
    bool object = text.len && text.data[0] == '{' && gw_json_valid(text.data, text.len);
    if (object && gw_json_find(text.data, text.len, "state", &member))
        text = member;
    return word_unquoted(text);
}

static void source_hear(struct gw_source_word *source, const struct gw_packet *packet, int64_t now_ms)
{
    struct gw_slice word = word_of(packet);
    source->said = packet->payload_len > 0;
    source->word_len = word.len < GW_SOURCE_BYTES ? (uint8_t)word.len : 0;
    if (source->word_len)
        memcpy(source->word, word.data, source->word_len);
    source->heard_ms = now_ms;
}

enum gw_word gw_watched_word(const struct gw_liveness *liveness, const struct gw_watched *watched)
{
    const struct gw_source_word *source = watched->source;
    if (!source || !source->said)
        return GW_WORD_NONE;
    const struct gw_cfg_route *route = gw_routes_get(liveness->routes, watched->route);
    return word_is_online(route, source->word, source->word_len) ? GW_WORD_ONLINE : GW_WORD_OFFLINE;
}

/* --- their table ------------------------------------------------------------------------------------------------ */

static void source_free(struct gw_liveness *liveness, struct gw_source_word *source)
{
    gw_table_remove(&liveness->sources, &source->item);
    free(source);
}

/* Once after each reload that needs the room: what no route names any more. */
static void sources_drop_former(struct gw_liveness *liveness)
{
    if (liveness->sources_reloads == liveness->reloads)
        return;
    liveness->sources_reloads = liveness->reloads;
    for (size_t i = 0; i < liveness->sources.size; i++) {
        for (struct gw_table_item *item = liveness->sources.buckets[i], *next; item; item = next) {
            struct gw_source_word *source = (struct gw_source_word *)item;
            next = item->next;
            if (!source->watched && !source->held &&
                !gw_routes_is_availability(liveness->routes, source->topic, source->len))
                source_free(liveness, source);
        }
    }
}

/* NULL: there is none, and either none is to be made or there are too many. */
static struct gw_source_word *source_get(struct gw_liveness *liveness, const char *topic, size_t len, bool make)
{
    uint64_t hash = gw_hash(topic, len);
    for (struct gw_table_item *item = gw_table_first(&liveness->sources, hash); item; item = gw_table_next(item)) {
        struct gw_source_word *known = (struct gw_source_word *)item;
        if (known->len == len && !memcmp(known->topic, topic, len))
            return known;
    }
    if (!make)
        return NULL;
    uint32_t most = gw_routes_config(liveness->routes)->limits.channels;
    if (liveness->sources.count >= most)
        sources_drop_former(liveness);
    if (liveness->sources.count >= most) {
        GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "mqtt",
                             "limits.channels (%u) reached: the availability on '%.*s' is not watched", most,
                             (int)len, topic);
        return NULL;
    }
    struct gw_source_word *source = gw_calloc(1, sizeof *source + len + 1);
    source->len = (uint16_t)len;
    source->heard_ms = GW_NEVER_MS;
    memcpy(source->topic, topic, len);
    gw_table_add(&liveness->sources, &source->item, hash);
    return source;
}

/* One that nobody needs and that has said nothing. */
static void source_drop(struct gw_liveness *liveness, struct gw_source_word *source)
{
    if (!source->watched && !source->said && !source->held)
        source_free(liveness, source);
}

void gw_sources_hold(struct gw_liveness *liveness, int64_t now_ms)
{
    for (size_t i = 0; i < liveness->sources.size; i++) {
        for (struct gw_table_item *item = liveness->sources.buckets[i]; item; item = item->next) {
            struct gw_source_word *source = (struct gw_source_word *)item;
            if (source->heard_ms != GW_NEVER_MS)
                source->heard_ms = now_ms;
        }
    }
}

void gw_sources_free(struct gw_liveness *liveness)
{
    for (struct gw_table_item *item = gw_table_empty(&liveness->sources), *next; item; item = next) {
        next = item->next;
        free(item);
    }
}

/* --- channels --------------------------------------------------------------------------------------------------- */

void gw_watched_untie(struct gw_liveness *liveness, struct gw_watched *watched)
{
    struct gw_source_word *source = watched->source;
    if (!source)
        return;
    GW_LIST_REMOVE(watched, source_next, source_link);
    watched->source = NULL;
    source_drop(liveness, source);
}

void gw_watched_tie(struct gw_liveness *liveness, struct gw_watched *watched)
{
    struct gw_buf topic = {0};
    gw_watched_untie(liveness, watched);
    if (gw_routes_availability(liveness->routes, watched->route, watched->name, watched->len, &topic))
        watched->source = source_get(liveness, topic.data, topic.len, true);
    gw_buf_fini(&topic);
    struct gw_source_word *source = watched->source;
    if (!source)
        return;
    GW_LIST_ADD(source->watched, watched, source_next, source_link);
}

bool gw_liveness_available(struct gw_liveness *liveness, const struct gw_packet *packet, int64_t now_ms)
{
    pthread_mutex_lock(&liveness->lock);
    bool ours = gw_routes_is_availability(liveness->routes, packet->topic, packet->topic_len);
    struct gw_source_word *source =
        ours ? source_get(liveness, packet->topic, packet->topic_len, packet->payload_len > 0) : NULL;
    if (source) {
        source_hear(source, packet, now_ms);
        source->held = true; /* a channel that a reload has changed leaves it */
        for (struct gw_watched *watched = source->watched, *next; watched; watched = next) {
            next = watched->source_next;
            if (gw_watched_meet(liveness, watched, now_ms))
                gw_watched_look(liveness, watched, now_ms);
        }
        source->held = false;
        source_drop(liveness, source);
    }
    pthread_mutex_unlock(&liveness->lock);
    return ours;
}
