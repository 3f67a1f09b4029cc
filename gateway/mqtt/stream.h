/* stream.h: the bytes of a connection below libmosquitto, over TCP or TLS: looking at what has come, dropping it, and
 * sending. Over TLS it is libmosquitto's own SSL (mosquitto_ssl_get()), so its reads go on where ours have ended.
 * OpenSSL: SSL_peek(3), SSL_pending(3), SSL_write(3). Thread: the MQTT thread. */
#ifndef GW_MQTT_STREAM_H
#define GW_MQTT_STREAM_H

#include <mosquitto.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* What has come, without taking it: over TLS at most one record. Returns its bytes; 0: nothing now; -1: the end or an
 * error, which libmosquitto sees as well when it reads. */
ssize_t gw_stream_peek(struct mosquitto *mosq, bool tls, void *buffer, size_t size);
/* Takes `len` bytes of those looked at; the buffer is overwritten. False: they are gone, which no other reader can
 * have done. */
bool gw_stream_drop(struct mosquitto *mosq, bool tls, void *buffer, size_t len);
/* Returns the bytes sent; 0: none can leave now, and over TLS the same bytes, or the same and more, must be the next
 * that are sent; -1: the connection is broken. */
ssize_t gw_stream_send(struct mosquitto *mosq, bool tls, const void *data, size_t len);
/* Is there something that poll(2) does not know of, since TLS has read it already? */
bool gw_stream_pending(struct mosquitto *mosq, bool tls);

#endif
