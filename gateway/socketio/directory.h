/* directory.h: where the sessions of Engine.IO are that began with polling: one table for all workers, under a lock,
 * since requests of a session arrive on any of them. Thread: any. */
#ifndef GW_SOCKETIO_DIRECTORY_H
#define GW_SOCKETIO_DIRECTORY_H

#include <stdbool.h>
#include <stddef.h>

/* Ids of Engine.IO and Socket.IO: 15 random bytes in base64url, and the NUL. */
#define SIO_ID_SIZE 21

struct eio;

enum eio_place {
    EIO_NOWHERE, /* not known, or not any more */
    EIO_POLLING,
    EIO_PROBING, /* ... and a WebSocket tries to take it over */
    EIO_UPGRADED
};

void gw_sio_id_make(char id[SIO_ID_SIZE]);

/* False: there are `most` already. */
bool gw_eio_directory_add(const char *sid, struct eio *eio, unsigned worker, size_t most);
/* *worker: who has it. */
enum eio_place gw_eio_directory_find(const char *sid, unsigned *worker);
/* The session, if this worker has it; else NULL. Thread: the worker's, and what it returns is that worker's. */
struct eio *gw_eio_directory_own(const char *sid, unsigned worker);
/* Polling becomes probing. False: it is in another place. */
bool gw_eio_directory_probe(const char *sid);
void gw_eio_directory_probe_failed(const char *sid);
/* It belongs to this worker from now on, upgraded. `eio` NULL: it is on its way there. */
void gw_eio_directory_move(const char *sid, struct eio *eio, unsigned worker);
/* Fine if it is not there. */
void gw_eio_directory_remove(const char *sid);

#endif
