/* valkey_options.h: `engine:` of the configuration, the options of engine `valkey`. Thread: any. */
#ifndef GW_ENGINE_VALKEY_OPTIONS_H
#define GW_ENGINE_VALKEY_OPTIONS_H

#include <stdbool.h>

#include "gateway/options.h"

struct gw_valkey_options {
    char *url;                                 /* of the server */
    char *username, *password, *password_file; /* NULL: none */
    char *ca_file, *cert_file, *key_file;      /* of TLS; NULL: none */
    bool verify_hostname;
    char *file_password; /* what password_file holds; no key */
    char *prefix;        /* of the keys of this cluster */
    char *node;          /* this process's name in it, unique */
    int64_t lease_ms;    /* who takes messages in and is silent for so long is replaced */
    uint32_t log_count;  /* messages that the shared log holds, and every process in memory */
    size_t log_bytes;    /* ... bytes of them in memory */
    uint32_t channels;   /* whose histories are kept */
};

extern const struct gw_options gw_valkey_options;

#endif
