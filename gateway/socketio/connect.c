/* connect.c: CONNECT: a client joins a namespace, and says who it is and which messages it has. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "gateway/auth.h"
#include "gateway/session_log.h"
#include "gateway/shared.h"
#include "gateway/upstream.h"
#include "message/cursor.h"
#include "socketio/arguments.h"
#include "socketio/engine.h"

/* The name as the configuration has it; NULL: there is no such namespace. */
static const char *sio_space(const struct eio *eio, struct gw_slice space)
{
    const struct gw_strings *spaces = &eio->options->namespaces;
    if (space.len == 1)
        return "/";
    for (size_t i = 0; i < spaces->count; i++) {
        if (strlen(spaces->items[i]) == space.len && !memcmp(spaces->items[i], space.data, space.len))
            return spaces->items[i];
    }
    return NULL;
}

/* `44`: the client hears `connect_error` and does not try again by itself. */
void gw_sio_connect_error(struct eio *eio, struct gw_slice space, const char *message, const char *code)
{
    struct gw_buf packet = {0};
    gw_sio_add_head(&packet, GW_SIO_CONNECT_ERROR, "/");
    if (space.len > 1) {
        gw_buf_add(&packet, space.data, space.len);
        gw_buf_addc(&packet, ',');
    }
    gw_buf_adds(&packet, "{\"message\":");
    gw_buf_add_json_string(&packet, message, strlen(message));
    if (code) {
        gw_buf_printf(&packet, ",\"data\":{\"code\":\"%s\",\"message\":", code);
        gw_buf_add_json_string(&packet, message, strlen(message));
        gw_buf_addc(&packet, '}');
    }
    gw_buf_addc(&packet, '}');
    gw_eio_send(eio, packet.data, packet.len);
    gw_buf_fini(&packet);
}

/* A CONNECT for which the engine that gateways share is asked: who has the ticket, as any of them may have given it
 * out; and then what the session subscribed to, wherever that was. */
struct sio_joining {
    struct gw_shared_wait *wait; /* NULL: the answer is here */
    struct gw_buf space, json;   /* of the packet */
    bool has_json;
    bool known, recalled;         /* it is known who it is; the session was asked for */
    struct gw_identity *identity; /* ... of who it is; NULL: nobody in particular */
    struct gw_shared_answer answer;
};

void gw_sio_joining_free(struct eio *eio)
{
    struct sio_joining *joining = eio->joining;
    if (!joining)
        return;
    eio->joining = NULL;
    gw_shared_forget(joining->wait);
    gw_identity_unref(joining->identity);
    gw_buf_fini(&joining->space);
    gw_buf_fini(&joining->json);
    free(joining);
}

/* Who it is by the CONNECT packet, else by the request that opened the connection. *out NULL with GW_OK: nobody has
 * to say. */
static enum gw_err sio_identify(const struct eio *eio, const struct sio_arguments *arguments,
                                const struct sio_joining *joining, struct gw_identity **out, const char **why)
{
    struct gw_auth *auth = gw_hub_auth(eio->hub);
    enum gw_err err = GW_OK;
    *out = NULL;
    *why = NULL;
    if (!auth)
        return GW_OK;
    if (arguments->token.data) {
        err = gw_auth_token(auth, arguments->token.data, arguments->token.len, gw_hub_wall(eio->hub), out, why);
    } else if (arguments->ticket.data) {
        err = gw_hub_redeem(eio->hub, (struct gw_slice){arguments->ticket.data, arguments->ticket.len},
                            joining ? &joining->answer : NULL, out, why);
    } else if (eio->identity) {
        *out = gw_identity_ref(eio->identity);
    } else {
        err = eio->refused != GW_OK ? eio->refused : GW_ERR_UNAUTHORIZED;
        *why = eio->refused != GW_OK ? "the token, ticket or cookie of the handshake is unknown, used or too old"
                                     : "auth has neither a token nor a ticket";
        return err;
    }
    if (err != GW_OK) {
        GW_STAT_ADD(gw_hub_stats(eio->hub), auth_failures, 1);
        GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "auth", "CONNECT of a Socket.IO client was refused: %s",
                             *why ? *why : gw_err_code(err));
    }
    return err;
}

static void connect_push(struct sio *sio)
{
    struct gw_buf packet = {0};
    gw_sio_add_head(&packet, GW_SIO_CONNECT, gw_sio_shape_space(sio->shape));
    gw_buf_printf(&packet, "{\"sid\":\"%s\"", sio->sid);
    if (sio->owner)
        gw_buf_printf(&packet, ",\"pid\":\"%s\"", gw_sio_owner_pid(sio->owner));
    gw_buf_addc(&packet, '}');
    gw_sio_push(sio, &packet);
    gw_buf_fini(&packet);
}

/* It brings an offset, so that a client that is cut off now can recover. `~0`: last values may not be through. */
static void connect_welcome(struct sio *sio)
{
    struct gw_hub *hub = sio->session.hub;
    char cursor[64], offset[72], name[GW_SESSION_NAME_MAX];
    struct gw_buf json = {0};
    gw_hub_format_cursor(hub, sio->told, cursor);
    gw_session_name(&sio->session, name);
    gw_buf_printf(&json, "{\"session\":\"%s\",\"cursor\":\"%s\"", name, cursor);
    if (sio->session.identity) {
        gw_buf_adds(&json, ",\"subject\":");
        gw_buf_add_json_string(&json, sio->session.identity->name, strlen(sio->session.identity->name));
    }
    gw_buf_addc(&json, '}');
    snprintf(offset, sizeof offset, "%s~0", cursor);
    gw_sio_emit(sio, "welcome", json.data, offset);
    gw_buf_fini(&json);
}

/* --- recovery -------------------------------------------------------------------------------------------------- */

/* Where the client stands: its `offset` is a cursor, and behind a `~` the generation of the last values that are
 * through, where it is not that of a message. */
struct stand {
    bool known, message;
    struct gw_cursor cursor;
    char text[GW_CURSOR_MAX];
    uint32_t generation;
};

static void stand_read(struct stand *stand, const struct gw_buf *offset)
{
    *stand = (struct stand){.known = false};
    if (!offset->len)
        return;
    size_t len = strcspn(offset->data, "~");
    stand->known = len < sizeof stand->text && gw_cursor_parse(&stand->cursor, offset->data, len);
    if (!stand->known)
        return;
    memcpy(stand->text, offset->data, len);
    stand->message = !offset->data[len];
    if (!stand->message)
        stand->generation = (uint32_t)strtoul(offset->data + len + 1, NULL, 10);
}

/* Is it a place in the sequence that this gateway has now? */
static bool stand_check(const struct stand *stand, const struct gw_hub *hub)
{
    uint64_t seq;
    return gw_hub_check_cursor(hub, stand->text, strlen(stand->text), &seq) == GW_CURSOR_OK;
}

/* Has the client got all last values of this subscription? They come in the order of their numbers, and before
 * anything that is newer. */
static bool stand_has(const struct stand *stand, const struct sio_filter *filter)
{
    bool windows = *gw_sio_filter_aggregate(filter); /* their cursors are behind what has been sent */
    return stand->cursor.seq > filter->fresh_to ||
           ((stand->cursor.seq == filter->fresh_to || (windows && filter->fresh_to != UINT64_MAX)) &&
            stand->generation >= filter->generation);
}

struct resumed {
    bool missing;  /* something is gone for good */
    uint64_t told; /* what comes after this has offsets */
};

/* Where a subscription goes on whose beginning has not all reached the client: where that began, or, if it came with
 * offsets, where the client is. */
static const char *resume_from(const struct sio_wanted *wanted, const struct stand *stand, struct resumed *resumed)
{
    struct gw_cursor from;
    if (!wanted->first || !gw_cursor_parse(&from, wanted->from, strlen(wanted->from)))
        return wanted->from;
    if (stand->message && stand->cursor.seq > from.seq)
        return stand->text;
    if (from.seq < resumed->told)
        resumed->told = from.seq;
    return wanted->from;
}

/* Subscribes from where the client is; `values`: what it began with comes again, since not all of it has reached the
 * client: last values as of there, or what came after a cursor. */
static enum gw_err connect_subscribe(struct sio *sio, const struct sio_wanted *wanted, const struct stand *stand,
                                     bool values, struct resumed *resumed)
{
    const char *text = wanted->text;
    struct gw_aggregate aggregate;
    struct gw_start start = {.at = GW_START_LAST, .interval_ms = wanted->interval_ms};
    if (*wanted->aggregate && !gw_aggregate_parse(&aggregate, wanted->aggregate, strlen(wanted->aggregate)))
        start.aggregate = &aggregate;
    if (values && *wanted->from) {
        start.at = GW_START_CURSOR;
        start.cursor = resume_from(wanted, stand, resumed);
        start.cursor_len = strlen(start.cursor);
    } else if (stand->known) {
        start.at = values ? GW_START_LAST_AFTER : GW_START_CURSOR;
        start.cursor = stand->text;
        start.cursor_len = strlen(stand->text);
    }
    struct gw_subscribed subscribed;
    enum gw_err err = gw_session_subscribe(&sio->session, text, strlen(text), &start, &subscribed);
    if (err != GW_OK)
        return err;
    resumed->missing = resumed->missing || !subscribed.recovered;
    gw_sio_after_subscribe(sio, text);
    bool cursor = start.aggregate || !subscribed.fresh_to;
    struct sio_wanted noted = *wanted;
    noted.fresh_to = start.aggregate ? UINT64_MAX : cursor ? sio->fresh_to : subscribed.fresh_to;
    noted.generation = sio->generation + 1;
    noted.from = !cursor ? "" : start.aggregate && values && *wanted->from ? wanted->from : subscribed.cursor;
    noted.first = cursor && !start.aggregate && (wanted->first || start.cursor == stand->text);
    gw_sio_filter_add(sio, &noted);
    return GW_OK;
}

/* Goes on where the client stands. False: it can't without missing something. */
static bool connect_recover(struct sio *sio, const struct sio_filter *filters, const struct stand *stand,
                            struct resumed *resumed)
{
    for (; filters && !resumed->missing; filters = filters->next) {
        bool values = !stand_has(stand, filters);
        const struct sio_wanted wanted = {.text = filters->text,
                                          .aggregate = gw_sio_filter_aggregate(filters),
                                          .from = gw_sio_filter_from(filters),
                                          .interval_ms = filters->interval_ms,
                                          .first = filters->first};
        enum gw_err err = connect_subscribe(sio, &wanted, stand, values, resumed);
        resumed->missing = resumed->missing || err != GW_OK;
    }
    return !resumed->missing;
}

/* The set that the client declares, from where it stands if it says so. */
static enum gw_err connect_declared(struct sio *sio, const struct sio_arguments *arguments,
                                    const struct sio_filter *filters, const struct stand *stand,
                                    struct resumed *resumed)
{
    const char *name = arguments->channels.data;
    const char *aggregate = arguments->aggregate.data ? arguments->aggregate.data : "";
    enum gw_err err = GW_OK;
    for (unsigned i = 0; i < arguments->channel_count && err == GW_OK; i++, name += strlen(name) + 1) {
        const struct sio_filter *known = filters;
        while (known && (strcmp(known->text, name) != 0 || strcmp(gw_sio_filter_aggregate(known), aggregate) != 0))
            known = known->next;
        bool through = stand->known && (known ? stand_has(stand, known) : stand->generation || stand->message);
        const struct sio_wanted wanted = {.text = name,
                                          .aggregate = aggregate,
                                          .from = known ? gw_sio_filter_from(known) : "",
                                          .interval_ms = arguments->interval_ms,
                                          .first = known && known->first};
        err = connect_subscribe(sio, &wanted, stand, !through, resumed);
    }
    return err;
}

/* Returns the session, subscribed to what it had or declares, or NULL with *err and *why. */
static struct sio *connect_open(struct eio *eio, const char *space, struct gw_identity *identity,
                                const struct sio_arguments *arguments, const struct sio_joining *joining,
                                bool *recovered, enum gw_err *err)
{
    bool keeps = eio->options->recovery_ms > 0;
    bool declared = arguments->channel_count > 0;
    struct sio_claim claim = {.pid = arguments->pid.data, .space = space, .identity = identity};
    struct sio_filter *filters = NULL;
    struct stand stand = {.known = false};
    if (keeps && gw_sio_pid_valid(arguments->pid.data, arguments->pid.len))
        stand_read(&stand, &arguments->offset);
    bool known = stand.known && gw_sio_recall_take(eio->hub, &claim, &filters);
    struct sio_filter *shared = NULL; /* newer than what is known here: the client has been elsewhere since */
    if (stand.known && joining && joining->recalled && joining->answer.err == GW_OK &&
        gw_sio_shared_read(joining->answer.text, joining->answer.len, space, identity, &shared)) {
        gw_sio_filters_free(filters);
        filters = shared;
        known = true;
    }
    struct sio *sio = gw_sio_create(eio, space, identity);
    sio->generation = stand.generation;
    struct resumed resumed = {.told = stand.cursor.seq};
    *err = GW_OK;
    *recovered = false;
    if (stand.known)
        gw_session_pace_from(&sio->session, gw_hub_now(eio->hub)); /* it may have had a value just now */
    if (declared) {
        *err = connect_declared(sio, arguments, filters, &stand, &resumed);
        *recovered = stand.known && !resumed.missing;
    } else if (known) {
        *recovered = connect_recover(sio, filters, &stand, &resumed);
        if (!*recovered) { /* nothing of it, since the page subscribes again */
            gw_sio_forget(sio);
            sio = gw_sio_create(eio, space, identity);
        }
    }
    gw_sio_filters_free(filters);
    if (*err != GW_OK) {
        gw_sio_forget(sio);
        return NULL;
    }
    char pid[SIO_ID_SIZE];
    gw_sio_id_make(pid);
    if (!*recovered)
        claim.pid = pid;
    /* What is still there since then comes with offsets, also if something is missing. */
    if (*recovered || (declared && stand.known && stand_check(&stand, eio->hub)))
        sio->told = resumed.told;
    if (keeps)
        sio->owner = gw_sio_recall_begin(&claim, sio, gw_hub_worker(eio->hub));
    sio->generation++;
    gw_sio_recall_note(sio->owner, sio->filters);
    if (sio->filters)
        gw_sio_share(sio, 0);
    return sio;
}

static void connect_as(struct eio *eio, const char *space, struct gw_identity *identity,
                       const struct sio_arguments *arguments, const struct sio_joining *joining, struct gw_slice name)
{
    bool recovered;
    enum gw_err err;
    struct sio *sio = connect_open(eio, space, identity, arguments, joining, &recovered, &err);
    if (!sio) {
        gw_sio_connect_error(eio, name,
                             err == GW_ERR_BAD_REQUEST ? "one of the channels is no valid name or filter"
                                                       : gw_err_text(err),
                             gw_err_code(err));
        return;
    }
    connect_push(sio);
    if (!recovered)
        connect_welcome(sio);
    if (!gw_hub_upstream(eio->hub)->up)
        sio->session.ops->upstream(&sio->session, gw_hub_upstream(eio->hub));
    gw_session_catch_up(&sio->session);
    gw_sio_drain(sio);
}

static void connect_handle(struct eio *eio, const struct gw_sio_packet *packet, struct sio_joining *joining);

static void joining_answered(void *context, enum gw_err err, const char *text, size_t len)
{
    struct eio *eio = context;
    struct sio_joining *joining = eio->joining;
    joining->wait = NULL;
    joining->answer = (struct gw_shared_answer){err, text, len};
    const struct gw_sio_packet packet = {
        .type = GW_SIO_CONNECT,
        .space = {joining->space.data, joining->space.len},
        .json = {joining->has_json ? joining->json.data : NULL, joining->json.len},
    };
    if (!eio->over && !gw_sio_find(eio, packet.space))
        connect_handle(eio, &packet, joining);
    if (joining->wait) /* it has another question */
        return;
    gw_sio_joining_free(eio);
    if (!eio->over && eio->polling && eio->polling->leaving)
        gw_eio_leave(eio);
}

/* One at a time: a client joins its namespaces one after the other. */
static struct sio_joining *joining_create(struct eio *eio, const struct gw_sio_packet *packet)
{
    struct sio_joining *joining = gw_calloc(1, sizeof *joining);
    gw_buf_add(&joining->space, packet->space.data, packet->space.len);
    gw_buf_add(&joining->json, packet->json.data, packet->json.len);
    joining->has_json = packet->json.data != NULL;
    eio->joining = joining;
    return joining;
}

/* Asks for the ticket. */
static bool connect_ask(struct eio *eio, const struct gw_sio_packet *packet, const struct sio_arguments *arguments)
{
    const struct gw_slice ticket = {arguments->ticket.data, arguments->ticket.len};
    struct gw_shared_wait *wait = NULL;
    if (!arguments->token.data && !eio->joining)
        wait = gw_hub_ask_ticket(eio->hub, ticket, joining_answered, eio);
    if (wait)
        joining_create(eio, packet)->wait = wait;
    return wait != NULL;
}

/* Asks for the session, unless the client says itself what it subscribes to. */
static bool connect_recall(struct eio *eio, const struct gw_sio_packet *packet, const struct sio_arguments *arguments,
                           struct sio_joining *joining, struct gw_identity *identity)
{
    char key[SIO_SHARE_KEY_SIZE];
    if (!gw_hub_shares(eio->hub) || !eio->options->recovery_ms || !arguments->offset.len ||
        arguments->channel_count || (joining && joining->recalled) || (eio->joining && eio->joining != joining) ||
        !gw_sio_pid_valid(arguments->pid.data, arguments->pid.len))
        return false;
    if (!joining)
        joining = joining_create(eio, packet);
    joining->known = joining->recalled = true;
    joining->identity = gw_identity_ref(identity);
    gw_sio_share_key(arguments->pid.data, key);
    joining->wait = gw_shared_take(eio->hub, key, joining_answered, eio);
    return true;
}

void gw_sio_connect(struct eio *eio, const struct gw_sio_packet *packet)
{
    connect_handle(eio, packet, NULL);
}

static void connect_handle(struct eio *eio, const struct gw_sio_packet *packet, struct sio_joining *joining)
{
    const char *space = sio_space(eio, packet->space), *why;
    if (!space) {
        gw_sio_connect_error(eio, packet->space, "Invalid namespace", NULL);
        return;
    }
    struct sio_arguments arguments;
    struct gw_identity *identity = NULL;
    enum gw_err err = gw_sio_arguments_read_auth(&arguments, packet->json, &why);
    bool waits = err == GW_OK && !joining && connect_ask(eio, packet, &arguments);
    if (joining && joining->known)
        identity = gw_identity_ref(joining->identity);
    else if (err == GW_OK && !waits)
        err = sio_identify(eio, &arguments, joining, &identity, &why);
    waits = waits || (err == GW_OK && connect_recall(eio, packet, &arguments, joining, identity));
    if (err == GW_OK && !waits)
        connect_as(eio, space, identity, &arguments, joining, packet->space);
    else if (!waits)
        gw_sio_connect_error(eio, packet->space, why ? why : gw_err_text(err), gw_err_code(err));
    gw_identity_unref(identity);
    gw_sio_arguments_fini(&arguments);
}
