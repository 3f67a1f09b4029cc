/* sharing.c: taking messages in for an engine that shares its sequence with other processes: only while the engine
 * wants this process to, and acknowledging nothing that the engine does not have. */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mqtt/source_private.h"
#include "route/routes.h"

static uint64_t sharing_taken(void *context)
{
    const struct gw_ingest *ingest = &((struct gw_source *)context)->ingest;
    return ingest->engine->shared->taken(ingest->store);
}

static uint64_t sharing_safe(void *context)
{
    const struct gw_ingest *ingest = &((struct gw_source *)context)->ingest;
    return ingest->engine->shared->safe(ingest->store);
}

static bool sharing_room(void *context)
{
    const struct gw_ingest *ingest = &((struct gw_source *)context)->ingest;
    return ingest->engine->shared->room(ingest->store);
}

const struct gw_receiver_safety gw_sharing_safety = {sharing_taken, sharing_safe, sharing_room};

/* Has it come before, to whichever process? The broker says that it may have, but libmosquitto does not hand that on,
 * and a broker that went back to an older state of its own does not know. So what comes first after the connection
 * was made may have, too, up to the first that has not. A packet that makes no message, since its payload is refused,
 * leaves no trace in the log: it says nothing of those behind it. */
static bool sharing_is_known(const struct gw_source *source, const struct gw_packet *packet, uint64_t hash)
{
    const struct gw_ingest *ingest = &source->ingest;
    return packet->qos && (packet->dup || source->expecting) &&
           ingest->engine->shared->known(ingest->store, packet->mid, hash);
}

void gw_sharing_take(struct gw_source *source, const struct gw_packet *packet)
{
    struct gw_ingest *ingest = &source->ingest;
    const struct gw_engine_shared *shared = ingest->engine->shared;
    uint64_t hash = gw_redelivery_hash(packet);
    if (sharing_is_known(source, packet, hash) || gw_subscriptions_is_double(&source->subs, source->routes, packet)) {
        atomic_fetch_add_explicit(&source->doubles, 1, memory_order_relaxed);
        return;
    }
    uint64_t taken = source->expecting ? sharing_taken(source) : 0;
    shared->begin(ingest->store, packet->mid, hash);
    gw_ingest_message(ingest, source->routes, packet);
    shared->commit(ingest->store);
    if (source->expecting && packet->qos && sharing_taken(source) != taken)
        source->expecting = false;
}

void gw_sharing_flush(struct gw_source *source)
{
    const struct gw_ingest *ingest = &source->ingest;
    if (source->role == GW_SOURCE_INGEST && ingest->engine->shared->flush)
        ingest->engine->shared->flush(ingest->store);
}

/* libmosquitto acknowledges when its callback returns. So that waits until the message is safe, and if it never will
 * be, the acknowledgement must not get out. */
void gw_sharing_await(struct gw_source *source)
{
    int fd = mosquitto_socket(source->mosq);
    uint64_t taken = sharing_taken(source);
    gw_sharing_flush(source);
    while (sharing_safe(source) < taken) {
        struct pollfd wait = {.fd = source->wake_fd, .events = POLLIN};
        uint64_t count;
        if (poll(&wait, 1, 100) > 0 && read(source->wake_fd, &count, sizeof count) < 0 && errno != EAGAIN)
            break;
        if (atomic_load(&source->ingest.term) != source->term || atomic_load(&source->stopping))
            break;
    }
    /* Those that wait are older, and must leave first. */
    gw_receiver_settle(&source->receiver);
    while (sharing_safe(source) >= taken && gw_receiver_owes(&source->receiver)) {
        struct pollfd wait = {.fd = fd, .events = POLLOUT};
        if (poll(&wait, 1, GW_SOURCE_STOP_MS) <= 0 || !gw_receiver_send(&source->receiver, source->mosq))
            break;
        gw_receiver_settle(&source->receiver);
    }
    if (sharing_safe(source) < taken || gw_receiver_owes(&source->receiver))
        shutdown(fd, SHUT_RDWR);
    gw_source_wake(source);
}

void gw_sharing_check_term(struct gw_source *source)
{
    uint64_t term = atomic_load(&source->ingest.term);
    if (source->role != GW_SOURCE_INGEST || term == source->term)
        return;
    source->up = false;
    gw_connection_give_up(source, NULL, false);
    source->again = false;
    if (source->mosq)
        mosquitto_destroy(source->mosq);
    source->mosq = NULL;
    source->term = term;
    source->ingest.engine->shared->join(source->ingest.store, term);
    gw_attempts_reset(&source->attempts);
}
