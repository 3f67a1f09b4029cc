#include "base/tls_peer.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SYSTEM_CERTIFICATES "/etc/ssl/certs"
#define NAME_MAX_LEN        160

static void tls_say(struct gw_tls_reason *tls, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void tls_say(struct gw_tls_reason *tls, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(tls->text, sizeof tls->text, format, args);
    va_end(args);
    tls->final = true;
}

static const char *tls_name(char out[NAME_MAX_LEN], X509_NAME *name)
{
    if (X509_NAME_get_text_by_NID(name, NID_commonName, out, NAME_MAX_LEN) <= 0)
        X509_NAME_oneline(name, out, NAME_MAX_LEN);
    return out;
}

static const char *tls_time(char out[64], const ASN1_TIME *time)
{
    BIO *bio = BIO_new(BIO_s_mem());
    out[0] = '\0';
    if (bio && ASN1_TIME_print(bio, time)) {
        int len = BIO_read(bio, out, 63);
        out[len > 0 ? len : 0] = '\0';
    }
    BIO_free(bio);
    return out;
}

/* The names that a certificate is for, as far as there is room. */
static const char *tls_hosts(char out[NAME_MAX_LEN], X509 *certificate)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    size_t at = 0;
    out[0] = '\0';
    for (int i = 0; i < sk_GENERAL_NAME_num(names) && at < NAME_MAX_LEN; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        char text[INET6_ADDRSTRLEN] = "";
        const char *word = text;
        if (name->type == GEN_DNS)
            word = (const char *)ASN1_STRING_get0_data(name->d.dNSName);
        else if (name->type == GEN_IPADD && ASN1_STRING_length(name->d.iPAddress) == 4)
            inet_ntop(AF_INET, ASN1_STRING_get0_data(name->d.iPAddress), text, sizeof text);
        else if (name->type == GEN_IPADD && ASN1_STRING_length(name->d.iPAddress) == 16) /* others are malformed */
            inet_ntop(AF_INET6, ASN1_STRING_get0_data(name->d.iPAddress), text, sizeof text);
        if (*word)
            at += (size_t)snprintf(out + at, NAME_MAX_LEN - at, "%s%s", at ? ", " : "", word);
    }
    GENERAL_NAMES_free(names);
    return *out ? out : tls_name(out, X509_get_subject_name(certificate));
}

/* The certificate that the chain lacks: `issuer` signed the last one that is there. */
static void tls_say_unknown(struct gw_tls_reason *tls, const char *subject, const char *issuer)
{
    const struct gw_tls_peer *peer = tls->peer;
    if (!peer->ca_file)
        tls_say(tls,
                "the certificate '%s' is signed by '%s', which is not among the system's certificates "
                "(" SYSTEM_CERTIFICATES "): set %s.ca_file to that CA's certificate",
                subject, issuer, peer->key);
    else
        tls_say(tls,
                "the certificate '%s' is signed by '%s', which is not in %s.ca_file (%s): put that CA's certificate "
                "there, or, if it is an intermediate one, let %s send it (%s with the whole chain)",
                subject, issuer, peer->key, peer->ca_file, peer->who, peer->chain);
}

/* A connection's own, or the one that all of a context share. */
static struct gw_tls_reason *tls_reason_of(const SSL *ssl)
{
    struct gw_tls_reason *own = SSL_get_app_data(ssl);
    return own ? own : SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
}

static int tls_verify(int ok, X509_STORE_CTX *store)
{
    if (ok)
        return 1;
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct gw_tls_reason *tls = tls_reason_of(ssl);
    const struct gw_tls_peer *peer = tls->peer;
    X509 *certificate = X509_STORE_CTX_get_current_cert(store);
    int error = X509_STORE_CTX_get_error(store);
    char subject[NAME_MAX_LEN] = "?", issuer[NAME_MAX_LEN] = "?", text[NAME_MAX_LEN];
    if (certificate) {
        tls_name(subject, X509_get_subject_name(certificate));
        tls_name(issuer, X509_get_issuer_name(certificate));
    }
    switch (error) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        tls_say_unknown(tls, subject, issuer);
        break;
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        tls_say(tls, "%s's chain ends in the CA '%s', which is not in %s: set %s.ca_file to that CA's certificate",
                peer->who, subject, peer->ca_file ? peer->ca_file : SYSTEM_CERTIFICATES, peer->key);
        break;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        tls_say(tls, "the certificate '%s' is self-signed: set %s.ca_file to this very certificate", subject,
                peer->key);
        break;
    case X509_V_ERR_CERT_HAS_EXPIRED:
        tls_say(tls, "the certificate '%s' expired on %s: renew it, or set this machine's clock", subject,
                tls_time(text, X509_get0_notAfter(certificate)));
        break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        tls_say(tls, "the certificate '%s' is not valid before %s: set this machine's clock, or wait", subject,
                tls_time(text, X509_get0_notBefore(certificate)));
        break;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        tls_say(tls,
                "the certificate is for %s, and not for '%s': use one of these names in %s, or set "
                "%s.verify_hostname to false",
                tls_hosts(text, certificate), peer->host, peer->url_key, peer->key);
        break;
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        tls_say(
            tls,
            "the certificate '%s' names the CA '%s', but another key than that of %s.ca_file signed it: the CA was "
            "made anew",
            subject, issuer, peer->key);
        break;
    default:
        tls_say(tls, "the certificate '%s' is not accepted: %s", subject, X509_verify_cert_error_string(error));
    }
    return 0;
}

/* What the peer says before it hangs up (RFC 8446 section 6.2). */
static void tls_on_alert(struct gw_tls_reason *tls, int alert)
{
    const struct gw_tls_peer *peer = tls->peer;
    bool own = peer->cert_file != NULL;
    switch (alert) {
    case SSL_AD_CERTIFICATE_REQUIRED:
        tls_say(tls, "%s wants a client certificate: set %s.cert_file and key_file", peer->who, peer->key);
        break;
    case SSL_AD_HANDSHAKE_FAILURE:
        if (own)
            tls_say(tls, "%s ends the handshake: no cipher in common, or it does not take our certificate",
                    peer->who);
        else
            tls_say(tls,
                    "%s ends the handshake: it wants a client certificate (%s.cert_file and key_file), or there is "
                    "no cipher in common",
                    peer->who, peer->key);
        break;
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_EXPIRED:
    case SSL_AD_ACCESS_DENIED:
        tls_say(tls, "%s does not take our client certificate (%s.cert_file): %s", peer->who, peer->key,
                SSL_alert_desc_string_long(alert));
        break;
    case SSL_AD_PROTOCOL_VERSION:
        tls_say(tls, "%s speaks no TLS version from 1.2 on: let it speak a newer one", tls->peer->who);
        break;
    default:
        tls_say(tls, "%s ends the handshake: %s", peer->who, SSL_alert_desc_string_long(alert));
    }
}

/* The name that we mean (RFC 6066 section 3), whatever address the caller connects to, and has put there; for an
 * address, which may not be there, nothing. */
static void tls_name_server(SSL *ssl, const char *host)
{
    unsigned char address[16];
    char name[256];
    bool numeric = strchr(host, ':') || inet_pton(AF_INET, host, address) == 1;
    snprintf(name, sizeof name, "%s", host); /* OpenSSL wants a text that it could write to */
    SSL_set_tlsext_host_name(ssl, numeric ? NULL : name);
}

static void tls_on_info(const SSL *ssl, int where, int value)
{
    struct gw_tls_reason *tls = tls_reason_of(ssl);
    if (where & SSL_CB_HANDSHAKE_START)
        tls_name_server((SSL *)ssl, tls->peer->host);
    if (where & SSL_CB_HANDSHAKE_DONE) /* mosquitto, and whatever is killed, ends without TLS's goodbye */
        SSL_set_options((SSL *)ssl, SSL_OP_IGNORE_UNEXPECTED_EOF);
    if ((where & (SSL_CB_READ | SSL_CB_ALERT)) == (SSL_CB_READ | SSL_CB_ALERT) &&
        (value & 0xff) != SSL_AD_CLOSE_NOTIFY && !tls->final)
        tls_on_alert(tls, value & 0xff);
}

void gw_tls_note(struct gw_tls_reason *tls, const char *line)
{
    if (tls->final || !tls->peer)
        return;
    const char *words = strrchr(line, ':'); /* error:0A00010B:SSL routines::wrong version number */
    words = words && words[1] ? words + 1 : line;
    if (strstr(words, "wrong version number") || strstr(words, "packet length too long"))
        tls_say(tls, "%s does not speak TLS at this port: use that of its TLS listener, or %s", tls->peer->who,
                tls->peer->plain);
    else if (strstr(words, "unsupported protocol") || strstr(words, "version too low"))
        tls_say(tls, "%s speaks no TLS version from 1.2 on: let it speak a newer one", tls->peer->who);
    else if (strstr(words, "unexpected eof"))
        snprintf(
            tls->text, sizeof tls->text,
            "%s closed the connection in the TLS handshake without a reason: is the port that of its TLS listener? "
            "See its log",
            tls->peer->who);
    else
        snprintf(tls->text, sizeof tls->text, "TLS fails: %s", words);
}

/* Nobody is there to be asked for the password of a key. */
static int tls_no_password(char *buffer, int size, int writing, void *context)
{
    (void)buffer;
    (void)size;
    (void)writing;
    (void)context;
    return -1;
}

static bool tls_fail(struct gw_tls_reason *tls, const char *key, const char *path, const char *expected)
{
    const char *why = ERR_reason_error_string(ERR_peek_last_error());
    tls_say(tls, "%s.%s: can't use '%s': %s (%s expected)", tls->peer->key, key, path, why ? why : "unknown error",
            expected);
    return false;
}

static bool tls_load(struct gw_tls_reason *tls, SSL_CTX *context)
{
    const struct gw_tls_peer *peer = tls->peer;
    SSL_CTX_set_default_passwd_cb(context, tls_no_password);
    if (!SSL_CTX_load_verify_locations(context, peer->ca_file, peer->ca_file ? NULL : SYSTEM_CERTIFICATES))
        return tls_fail(tls, "ca_file", peer->ca_file ? peer->ca_file : SYSTEM_CERTIFICATES, "PEM certificates");
    if (!peer->cert_file)
        return true;
    if (SSL_CTX_use_certificate_chain_file(context, peer->cert_file) != 1)
        return tls_fail(tls, "cert_file", peer->cert_file, "a PEM certificate");
    if (SSL_CTX_use_PrivateKey_file(context, peer->key_file, SSL_FILETYPE_PEM) != 1)
        return tls_fail(tls, "key_file", peer->key_file, "the PEM key of cert_file, without a password");
    return true;
}

static void tls_expect_host(SSL_CTX *context, const char *host)
{
    X509_VERIFY_PARAM *checks = SSL_CTX_get0_param(context);
    if (!X509_VERIFY_PARAM_set1_ip_asc(checks, host)) {
        X509_VERIFY_PARAM_set_hostflags(checks, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        X509_VERIFY_PARAM_set1_host(checks, host, 0);
    }
}

SSL_CTX *gw_tls_peer_context(struct gw_tls_reason *tls)
{
    ERR_clear_error();
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (context && !tls_load(tls, context)) {
        SSL_CTX_free(context);
        context = NULL;
    }
    if (context) {
        SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
        SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                      SSL_MODE_RELEASE_BUFFERS);
        SSL_CTX_set_app_data(context, tls);
        SSL_CTX_set_info_callback(context, tls_on_info);
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, tls_verify);
        if (tls->peer->verify_hostname)
            tls_expect_host(context, tls->peer->host);
    }
    ERR_clear_error();
    return context;
}
