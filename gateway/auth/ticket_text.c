/* ticket_text.c: what a ticket stands for, as text, for another gateway to read. */
#include <jansson.h>
#include <string.h>

#include "auth/encode.h"
#include "base/base64.h"
#include "gateway/auth.h"

bool gw_auth_is_ticket(const char *text, size_t len)
{
    return len == GW_TICKET_SIZE - 1 && gw_base64url_text(text, len);
}

bool gw_auth_ticket_key(const char *ticket, size_t len, char key[GW_TICKET_KEY_SIZE])
{
    uint8_t digest[GW_SHA256_SIZE];
    if (!gw_auth_is_ticket(ticket, len))
        return false;
    gw_sha256(ticket, len, digest);
    memcpy(key, "t:", 2);
    gw_hex_32(digest, key + 2);
    return true;
}

void gw_auth_ticket_text(const struct gw_identity *identity, struct gw_buf *out)
{
    gw_buf_printf(out, "{\"kind\":%d,\"expires\":%lld,\"name\":", (int)identity->kind,
                  (long long)identity->expires_ms);
    gw_buf_add_json_string(out, identity->name, strlen(identity->name));
    if (identity->proof) {
        gw_buf_adds(out, ",\"proof\":");
        gw_buf_add_json_string(out, identity->proof, strlen(identity->proof));
    }
    gw_buf_addc(out, '}');
}

/* Only what a gateway has written comes here; another version may have written it differently. */
static struct gw_identity *text_identity(const char *text, size_t len)
{
    json_error_t error;
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    const json_t *kind = json_object_get(root, "kind"), *expires = json_object_get(root, "expires");
    const char *name = json_string_value(json_object_get(root, "name"));
    const char *proof = json_string_value(json_object_get(root, "proof"));
    struct gw_identity *identity = NULL;
    json_int_t number = json_integer_value(kind);
    if (name && json_is_integer(kind) && json_is_integer(expires) && (number == GW_API_KEY || number == GW_TOKEN) &&
        proof) {
        struct gw_grants *none = gw_grants_create();
        identity = gw_identity_create((enum gw_identity_kind)number, name, proof, json_integer_value(expires), none);
        gw_grants_unref(none);
    }
    json_decref(root);
    return identity;
}

enum gw_err gw_auth_redeem_text(struct gw_auth *auth, const char *ticket, size_t len, const char *text,
                                size_t text_len, int64_t wall_ms, struct gw_identity **out)
{
    struct gw_identity *own = NULL;
    *out = NULL;
    if (!auth)
        return GW_OK;
    /* Here it is used up as well, so that it no longer counts among its owner's. */
    if (gw_auth_redeem(auth, ticket, len, wall_ms, &own) == GW_OK)
        gw_identity_unref(own);
    struct gw_identity *written = text_identity(text, text_len);
    *out = gw_auth_again(auth, written);
    gw_identity_unref(written);
    if (*out && (*out)->expires_ms > wall_ms)
        return GW_OK;
    enum gw_err err = *out ? GW_ERR_EXPIRED : GW_ERR_UNAUTHORIZED;
    gw_identity_unref(*out);
    *out = NULL;
    return err;
}
