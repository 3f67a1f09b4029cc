/* pem.h: the certificate and key of a TLS listener, read and checked when the configuration is. */
#ifndef GW_CONFIG_PEM_H
#define GW_CONFIG_PEM_H

#include "config/tree.h"
#include "gateway/config.h"

/* Reads listen->cert_file and key_file into cert_pem and key_pem; what is wrong with them goes to *problems. `tls` is
 * their mapping in the file, `path` that of the listener. */
void gw_pem_read(struct gw_cfg_listen *listen, const struct gw_node *tls, const char *path,
                 struct gw_problems *problems);
/* Wipes it. NULL is fine. */
void gw_pem_free_key(char *key_pem);

#endif
