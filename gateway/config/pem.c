#include "config/pem.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/fields.h"
#include "gateway/alloc.h"

/* A chain of certificates is a few kilobytes. */
#define PEM_BYTES_MAX (1 << 20)

static char *pem_file(const char *name)
{
    FILE *file = name ? fopen(name, "re") : NULL;
    if (!file)
        return NULL; /* told already, as an unreadable file */
    char *text = gw_malloc(PEM_BYTES_MAX + 1);
    size_t len = fread(text, 1, PEM_BYTES_MAX, file);
    text[len] = '\0';
    fclose(file);
    char *exact = gw_strdup(text);
    OPENSSL_cleanse(text, len);
    free(text);
    return exact;
}

/* The empty password: without one, OpenSSL would ask for it on the terminal. */
static EVP_PKEY *pem_key(const char *text)
{
    BIO *bio = BIO_new_mem_buf(text, -1);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)(uintptr_t) "") : NULL;
    BIO_free(bio);
    return key;
}

static X509 *pem_certificate(const char *text)
{
    BIO *bio = BIO_new_mem_buf(text, -1);
    X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    return cert;
}

void gw_pem_read(struct gw_cfg_listen *listen, const struct gw_node *tls, const char *path,
                 struct gw_problems *problems)
{
    const struct gw_node *cert_at = gw_node_get(tls, "cert_file"), *key_at = gw_node_get(tls, "key_file");
    listen->cert_pem = pem_file(listen->cert_file);
    listen->key_pem = pem_file(listen->key_file);
    if (!listen->cert_pem || !listen->key_pem || !cert_at || !key_at)
        return;
    X509 *cert = pem_certificate(listen->cert_pem);
    EVP_PKEY *key = pem_key(listen->key_pem);
    if (!cert)
        gw_problem_add(problems, cert_at->line, cert_at->column,
                       "%s.tls.cert_file: '%s' holds no certificate (PEM, the server's own first, expected)", path,
                       listen->cert_file);
    if (!key)
        gw_problem_add(problems, key_at->line, key_at->column,
                       "%s.tls.key_file: '%s' holds no private key (PEM without a password expected)", path,
                       listen->key_file);
    if (cert && key && X509_check_private_key(cert, key) != 1)
        gw_problem_add(problems, key_at->line, key_at->column,
                       "%s.tls.key_file: '%s' is not the key of the certificate in '%s' (a pair expected)", path,
                       listen->key_file, listen->cert_file);
    X509_free(cert);
    EVP_PKEY_free(key);
    ERR_clear_error();
}

void gw_pem_free_key(char *key_pem)
{
    if (key_pem)
        OPENSSL_cleanse(key_pem, strlen(key_pem));
    free(key_pem);
}
