#include "mqtt/receiver.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/alloc.h"
#include "mqtt/stream.h"

#define PEEK_SIZE 65536
/* Looks at the socket in one turn, before the loop sees to anything else. */
#define PEEKS 4
/* The same over TLS, where a look sees one record, which is often one packet; and the packets that libmosquitto reads
 * in one turn where it reads them all. */
#define READ_BATCH 256

void gw_receiver_init(struct gw_receiver *receiver, void (*take)(void *context, const struct gw_packet *packet),
                      void (*other)(void *context, const uint8_t *data, size_t len), void *context)
{
    *receiver = (struct gw_receiver){.take = take, .other = other, .context = context};
}

void gw_receiver_fini(struct gw_receiver *receiver)
{
    gw_receiver_lost(receiver);
    free(receiver->waiting);
    receiver->waiting = NULL;
}

void gw_receiver_defer(struct gw_receiver *receiver, const struct gw_receiver_safety *safety)
{
    receiver->safety = safety;
    receiver->waiting = gw_calloc(GW_RECEIVER_WAITING, sizeof *receiver->waiting);
}

void gw_receiver_stop(struct gw_receiver *receiver)
{
    receiver->closing = true;
}

void gw_receiver_lost(struct gw_receiver *receiver)
{
    receiver->waiting_count = 0;
    free(receiver->buffer);
    receiver->buffer = NULL;
    receiver->between = false;
    receiver->blocked = false;
    receiver->ack_len = receiver->ack_sent = 0;
}

/* That it reads no further than the end of a packet, and leaves errno at 0 there, is how 2.0 works, and not a
 * promise. */
static bool receiver_knows_library(void)
{
    int major, minor, revision;
    mosquitto_lib_version(&major, &minor, &revision);
    return major == 2 && minor == 0;
}

void gw_receiver_connected(struct gw_receiver *receiver, bool v5, bool tls)
{
    gw_receiver_lost(receiver);
    receiver->v5 = v5;
    receiver->tls = tls;
    if (receiver_knows_library())
        receiver->buffer = gw_malloc(PEEK_SIZE);
}

static bool receiver_has_acks(const struct gw_receiver *receiver)
{
    return receiver->ack_sent < receiver->ack_len;
}

/* On a broken connection they pass, so that what has come before it broke is still read, and libmosquitto then
 * sees its end. */
static void receiver_send_acks(struct gw_receiver *receiver, struct mosquitto *mosq)
{
    ssize_t sent = gw_stream_send(mosq, receiver->tls, receiver->acks + receiver->ack_sent,
                                  receiver->ack_len - receiver->ack_sent);
    receiver->blocked = receiver->tls && sent == 0;
    if (sent > 0)
        receiver->ack_sent += (size_t)sent;
    if (sent < 0 || !receiver_has_acks(receiver))
        receiver->ack_len = receiver->ack_sent = 0;
}

bool gw_receiver_send(struct gw_receiver *receiver, struct mosquitto *mosq)
{
    receiver_send_acks(receiver, mosq);
    return mosquitto_socket(mosq) >= 0;
}

/* A part of a PUBACK has left, or TLS has it: the rest goes before anything else. */
static bool receiver_is_inside_ack(const struct gw_receiver *receiver)
{
    return receiver->ack_sent % 4 || receiver->blocked;
}

int gw_receiver_write(struct gw_receiver *receiver, struct mosquitto *mosq)
{
    int rc = MOSQ_ERR_SUCCESS;
    if (receiver_is_inside_ack(receiver))
        receiver_send_acks(receiver, mosq);
    if (!receiver_is_inside_ack(receiver) && mosquitto_want_write(mosq))
        rc = mosquitto_loop_write(mosq, 1);
    if (rc == MOSQ_ERR_SUCCESS && receiver_has_acks(receiver) && mosquitto_socket(mosq) >= 0 &&
        !mosquitto_want_write(mosq))
        receiver_send_acks(receiver, mosq);
    return rc;
}

static bool receiver_may_read(const struct gw_receiver *receiver)
{
    if (receiver->closing)
        return false;
    return !receiver->safety ||
           (receiver->waiting_count < GW_RECEIVER_WAITING && receiver->safety->room(receiver->context));
}

short gw_receiver_events(const struct gw_receiver *receiver, struct mosquitto *mosq)
{
    bool acks = receiver_has_acks(receiver);
    return (short)((acks || !receiver_may_read(receiver) ? 0 : POLLIN) |
                   (acks || mosquitto_want_write(mosq) ? POLLOUT : 0));
}

bool gw_receiver_pending(const struct gw_receiver *receiver, struct mosquitto *mosq)
{
    return receiver->buffer && !receiver_has_acks(receiver) && receiver_may_read(receiver) &&
           gw_stream_pending(mosq, receiver->tls);
}

static void receiver_acknowledge(struct gw_receiver *receiver, uint16_t mid)
{
    const uint8_t puback[4] = {0x40, 2, (uint8_t)(mid >> 8), (uint8_t)mid}; /* MQTT 5.0 section 3.4 */
    memcpy(receiver->acks + receiver->ack_len, puback, sizeof puback);
    receiver->ack_len += sizeof puback;
}

static void receiver_answer(struct gw_receiver *receiver, uint16_t mid)
{
    if (!receiver->safety) {
        receiver_acknowledge(receiver, mid);
        return;
    }
    size_t at = (receiver->waiting_first + receiver->waiting_count++) % GW_RECEIVER_WAITING;
    receiver->waiting[at] = (struct gw_receiver_waiting){receiver->safety->taken(receiver->context), mid};
}

void gw_receiver_settle(struct gw_receiver *receiver)
{
    if (!receiver->safety || !receiver->waiting_count)
        return;
    uint64_t safe = receiver->safety->safe(receiver->context);
    while (receiver->waiting_count && receiver->ack_len < sizeof receiver->acks) {
        const struct gw_receiver_waiting *next = &receiver->waiting[receiver->waiting_first];
        if (next->ticket > safe)
            return;
        receiver_acknowledge(receiver, next->mid);
        receiver->waiting_first = (receiver->waiting_first + 1) % GW_RECEIVER_WAITING;
        receiver->waiting_count--;
    }
}

bool gw_receiver_owes(const struct gw_receiver *receiver)
{
    return receiver->waiting_count || receiver_has_acks(receiver);
}

/* How many bytes at the head of the buffer were messages, now taken. */
static size_t receiver_take(struct gw_receiver *receiver, size_t len)
{
    struct gw_packet packet;
    size_t at = 0;
    while (at < len && receiver->ack_len < sizeof receiver->acks && receiver->waiting_count < GW_RECEIVER_WAITING) {
        size_t packet_len = gw_packet_parse(receiver->buffer + at, len - at, receiver->v5, &packet);
        if (!packet_len)
            break;
        receiver->take(receiver->context, &packet);
        if (packet.qos)
            receiver_answer(receiver, packet.mid);
        at += packet_len;
    }
    return at;
}

/* Takes what libmosquitto need not see. *more: look again. False: what comes next is libmosquitto's. */
static bool receiver_take_messages(struct gw_receiver *receiver, struct mosquitto *mosq, bool *more, int *rc)
{
    *more = false;
    ssize_t got = gw_stream_peek(mosq, receiver->tls, receiver->buffer, PEEK_SIZE);
    if (got <= 0) /* the end and errors are libmosquitto's: it sees the same and has words for it */
        return got == 0;
    size_t taken = receiver_take(receiver, (size_t)got);
    if (taken < (size_t)got && receiver->other)
        receiver->other(receiver->context, receiver->buffer + taken, (size_t)got - taken);
    if (!gw_stream_drop(mosq, receiver->tls, receiver->buffer, taken))
        *rc = MOSQ_ERR_CONN_LOST;
    else if (receiver_has_acks(receiver))
        *rc = gw_receiver_write(receiver, mosq);
    if (*rc != MOSQ_ERR_SUCCESS || receiver_has_acks(receiver))
        return true;
    *more = taken > 0 && (receiver->tls ? receiver_may_read(receiver) : got == PEEK_SIZE);
    return *more || taken == (size_t)got;
}

int gw_receiver_read(struct gw_receiver *receiver, struct mosquitto *mosq)
{
    int rc = MOSQ_ERR_SUCCESS;
    bool more = true;
    int most = receiver->buffer && !receiver->tls ? PEEKS : READ_BATCH;
    for (int i = 0; i < most && more && mosquitto_socket(mosq) >= 0; i++) {
        if (receiver->buffer && receiver->between && receiver_take_messages(receiver, mosq, &more, &rc))
            continue;
        errno = 0;
        rc = mosquitto_loop_read(mosq, 1);
        more = rc == MOSQ_ERR_SUCCESS && errno != EAGAIN && errno != EWOULDBLOCK;
        receiver->between = rc == MOSQ_ERR_SUCCESS && errno == 0;
    }
    return rc;
}
