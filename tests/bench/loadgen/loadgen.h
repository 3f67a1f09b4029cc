/* loadgen.h: what the files of the load generator share. One process, one thread: it opens the clients, publishes,
 * receives, checks every payload and reads what the servers cost from /proc. Errors end the process with a message: a
 * measurement that went wrong is no measurement. Times are nanoseconds of CLOCK_MONOTONIC. */
#ifndef BENCH_LOADGEN_H
#define BENCH_LOADGEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NS 1000000000LL

struct client {
    int fd;
    unsigned channel;
    uint64_t next;   /* number of the next message of its channel */
    uint8_t step;    /* the protocol's; 0 at the start */
    bool ready;      /* subscribed: nothing published from now on may be missing */
    size_t rest_len; /* bytes of an incomplete frame or answer */
    char *rest;
    char *position; /* long-poll: what the next poll goes on from */
};

/* How one kind of client speaks. */
struct protocol {
    const char *name;
    /* Sends what begins the conversation. */
    void (*open)(struct client *client);
    /* Takes whole frames or answers from the front of `data`; returns how many bytes it took. data[len] may be
     * written. */
    size_t (*feed)(struct client *client, char *data, size_t len);
};

extern const struct protocol protocol_sluice_ws, protocol_raw, protocol_socketio, protocol_mqtt, protocol_sse,
    protocol_sluice_poll, protocol_nchan_poll, protocol_socketio_poll;

struct options {
    const struct protocol *protocol;
    const char *path;    /* of the request, before the channel's name */
    const char *topic;   /* of the channels, before "/<number>" */
    const char *publish; /* mqtt or nchan */
    int port, publish_port, qos;
    unsigned clients, channels, window, burst, messages;
    size_t payload;
    double interval_us, seconds, warm, idle;
    bool pingpong, saturate;
    const char *server, *broker; /* process ids, with commas */
};
extern struct options options;

/* options.c */
void options_read(int argc, char **argv);

/* util.c */
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
int64_t now_ns(void);
/* A nonblocking socket, connecting to loopback. */
int dial(int port);
/* Sends all of it or dies: what clients say is short. */
void say(struct client *client, const void *data, size_t len);
void say_text(struct client *client, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Length of the head with its blank line, 0 while it is incomplete. Dies unless it begins with "HTTP/1.1 <status>".
 */
size_t http_head(const char *data, size_t len, int status);
/* The header's value, ended by a NUL in `out`; false if it is not there. The head must be complete. */
bool http_header(const char *data, size_t head, const char *name, char *out, size_t size);

/* tally.c: numbers and times of what comes. */
struct tally {
    uint64_t delivered, expected, published;
    uint64_t reads; /* that gave something */
    uint64_t lost, doubled, disordered;
    unsigned ready;
};
extern struct tally tally;
void tally_init(void);
/* Writes the payload of the next message of this channel, options.payload bytes, and counts it as expected. */
void tally_payload(unsigned channel, char *out);
/* A text with one payload of ours in it, or none. True if there was one. */
bool tally_receive(struct client *client, const char *text, size_t len);
/* Time at which the bytes that are being looked at were read. */
extern int64_t tally_read_at;
void tally_forget_latency(void);
/* Nanoseconds below which the share of all latencies lies. */
double tally_latency(double share);
/* Counts what clients still lack as lost. */
void tally_close(const struct client *clients);
void client_ready(struct client *client);

/* wsframe.c: the client's half of RFC 6455. */
void ws_upgrade(struct client *client, const char *path, const char *subprotocol);
void ws_say(struct client *client, int opcode, const void *data, size_t len);
/* Takes the frame at the front: its length in all, or 0 while it is incomplete. Answers pings by itself, dies at a
 * close. */
size_t ws_frame(struct client *client, char *data, size_t len, int *opcode, char **text, size_t *text_len);
/* The 101 at the front: its length, or 0. */
size_t ws_accepted(const char *data, size_t len);

/* publish.c */
void publish_open(int poller);
/* Publishes the channel's next message; it leaves with publish_flush(). */
void publish(unsigned channel);
/* False while the server does not take what there is. */
bool publish_flush(void);
void publish_readable(void);
extern struct client publisher; /* so that epoll can tell it from the clients */

/* meter.c */
struct cost {
    double server_us, broker_us; /* user and system time of all threads since each began */
};
struct cost meter_cost(void);
/* Bytes resident of all server processes. */
double meter_memory(void);

#endif
