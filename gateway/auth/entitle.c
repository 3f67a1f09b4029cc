#include "auth/entitle.h"

#include <stdlib.h>
#include <string.h>

#include "auth/claims.h"
#include "auth/intern.h"
#include "gateway/alloc.h"
#include "gateway/log.h"
#include "gateway/topic.h"

#define INTERN_MAX       4096
#define INTERN_BYTES_MAX (16 * 1024 * 1024)
/* Filters of one identity: each is asked about at delivery. */
#define GRANTS_MAX 1024
#define FIELDS_MAX 256

struct gw_entitle {
    struct gw_config *config;
    struct gw_projection **role_projections; /* one for each role */
    struct gw_intern *grants, *projections;
};

static void *entitle_ref_grants(void *object)
{
    return gw_grants_ref(object);
}

static void entitle_unref_grants(void *object)
{
    gw_grants_unref(object);
}

static void *entitle_ref_projection(void *object)
{
    return gw_projection_ref(object);
}

static void entitle_unref_projection(void *object)
{
    gw_projection_unref(object);
}

/* --- projections ------------------------------------------------------------------------------------------------ */

static void *entitle_make_projection(void *context)
{
    return gw_projection_create(context);
}

static struct gw_projection *entitle_projection(struct gw_entitle *entitle, const struct gw_strings *fields)
{
    if (!fields->count)
        return NULL;
    struct gw_buf key = {0};
    for (size_t i = 0; i < fields->count; i++)
        gw_buf_add(&key, fields->items[i], strlen(fields->items[i]) + 1);
    struct gw_strings copy = *fields;
    struct gw_projection *projection =
        gw_intern_get(entitle->projections, key.data, key.len, entitle_make_projection, &copy);
    gw_buf_fini(&key);
    return projection;
}

struct gw_entitle *gw_entitle_create(struct gw_config *config)
{
    struct gw_entitle *entitle = gw_calloc(1, sizeof *entitle);
    entitle->config = gw_config_ref(config);
    entitle->grants = gw_intern_create(INTERN_MAX, INTERN_BYTES_MAX, entitle_ref_grants, entitle_unref_grants);
    entitle->projections =
        gw_intern_create(INTERN_MAX, INTERN_BYTES_MAX, entitle_ref_projection, entitle_unref_projection);
    entitle->role_projections = gw_calloc(config->role_count, sizeof(struct gw_projection *));
    for (size_t i = 0; i < config->role_count; i++)
        entitle->role_projections[i] = entitle_projection(entitle, &config->roles[i].fields);
    return entitle;
}

void gw_entitle_free(struct gw_entitle *entitle)
{
    if (!entitle)
        return;
    for (size_t i = 0; i < entitle->config->role_count; i++)
        gw_projection_unref(entitle->role_projections[i]);
    free(entitle->role_projections);
    gw_intern_free(entitle->grants);
    gw_intern_free(entitle->projections);
    gw_config_unref(entitle->config);
    free(entitle);
}

/* --- a list of grants ------------------------------------------------------------------------------------------- */

struct listed {
    enum gw_right right;
    char *filter;
    size_t len;
    struct gw_projection *projection; /* a reference, or NULL */
};

struct list {
    struct listed items[GRANTS_MAX];
    size_t count;
    enum gw_right right;              /* of what is added next */
    struct gw_projection *projection; /* the same, borrowed */
};

static void entitle_add(void *context, const char *filter, size_t len)
{
    struct list *list = context;
    for (size_t i = 0; i < list->count; i++) {
        const struct listed *item = &list->items[i];
        if (item->right == list->right && item->projection == list->projection && item->len == len &&
            !memcmp(item->filter, filter, len))
            return;
    }
    if (list->count == GRANTS_MAX) {
        GW_LOG_ONCE_A_SECOND(GW_LOG_WARN, "auth", "an identity has over %d grants; those beyond are left out",
                             GRANTS_MAX);
        return;
    }
    list->items[list->count++] =
        (struct listed){list->right, gw_strndup(filter, len), len, gw_projection_ref(list->projection)};
}

static void entitle_add_role(struct gw_entitle *entitle, struct list *list, size_t index, const json_t *claims)
{
    const struct gw_cfg_role *role = &entitle->config->roles[index];
    const struct gw_strings *rights[GW_RIGHTS] = {[GW_RIGHT_SUBSCRIBE] = &role->subscribe,
                                                  [GW_RIGHT_PUBLISH] = &role->publish,
                                                  [GW_RIGHT_HISTORY] =
                                                      role->has_history ? &role->history : &role->subscribe};
    for (enum gw_right right = 0; right < GW_RIGHTS; right++) {
        list->right = right;
        list->projection =
            right == GW_RIGHT_PUBLISH ? NULL : entitle->role_projections[index]; /* nothing is seen by publishing */
        for (size_t i = 0; i < rights[right]->count; i++)
            gw_claims_fill(claims, rights[right]->items[i], entitle_add, list);
    }
}

static void *entitle_make_grants(void *context)
{
    const struct list *list = context;
    struct gw_grants *grants = gw_grants_create();
    for (size_t i = 0; i < list->count; i++)
        gw_grants_add(grants, list->items[i].right, list->items[i].filter, list->items[i].len,
                      list->items[i].projection);
    return grants;
}

/* The grants object for the list, which is emptied. A projection's address stands for it in the key: what the table
 * holds keeps it alive, so that no other gets the same one. */
static struct gw_grants *entitle_finish(struct gw_entitle *entitle, struct list *list)
{
    struct gw_buf key = {0};
    gw_buf_adds(&key, "grants");
    for (size_t i = 0; i < list->count; i++) {
        const struct listed *item = &list->items[i];
        gw_buf_addc(&key, (char)item->right);
        gw_buf_add(&key, &item->projection, sizeof item->projection);
        gw_buf_add(&key, item->filter, item->len + 1);
    }
    struct gw_grants *grants = gw_intern_get(entitle->grants, key.data, key.len, entitle_make_grants, list);
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].filter);
        gw_projection_unref(list->items[i].projection);
    }
    free(list);
    gw_buf_fini(&key);
    return grants;
}

struct gw_grants *gw_entitle_roles(struct gw_entitle *entitle, const struct gw_strings *roles)
{
    struct list *list = gw_calloc(1, sizeof *list);
    for (size_t i = 0; i < entitle->config->role_count; i++) {
        for (size_t j = 0; j < roles->count; j++) {
            if (!strcmp(roles->items[j], entitle->config->roles[i].name)) {
                entitle_add_role(entitle, list, i, NULL);
                break;
            }
        }
    }
    return entitle_finish(entitle, list);
}

/* --- claims ----------------------------------------------------------------------------------------------------- */

/* Is the role in a text with blanks between names (as in OAuth's scope), or in a list of texts? */
static bool entitle_names(const json_t *claim, const char *name)
{
    const char *text = json_string_value(claim);
    size_t len = strlen(name), i;
    const json_t *item;
    if (text && !strcmp(text, name)) /* a name with a blank in it */
        return true;
    while (text && *text) {
        size_t word = strcspn(text, " ");
        if (word == len && !memcmp(text, name, len))
            return true;
        text += word + (text[word] == ' ');
    }
    json_array_foreach(claim, i, item)
    {
        if (json_is_string(item) && !strcmp(json_string_value(item), name))
            return true;
    }
    return false;
}

/* The texts of a claim that is a text or a list; anything else in it counts for nothing. The items are borrowed, the
 * array is the caller's. */
static struct gw_strings entitle_strings(const json_t *claim, size_t max)
{
    size_t count = json_is_array(claim) ? json_array_size(claim) : json_is_string(claim);
    struct gw_strings strings = {.items = gw_calloc(count, sizeof(char *))};
    for (size_t i = 0; i < count && strings.count < max; i++) {
        const json_t *item = json_is_array(claim) ? json_array_get(claim, i) : claim;
        if (json_is_string(item))
            memcpy(&strings.items[strings.count++], &(const char *){json_string_value(item)}, sizeof(char *));
    }
    return strings;
}

/* permissions_claim: filters that the issuer wrote itself. They are taken as they are. */
static void entitle_add_permissions(struct gw_entitle *entitle, struct list *list, const json_t *permissions)
{
    if (!json_is_object(permissions))
        return;
    const json_t *fields = json_object_get(permissions, "fields"), *history = json_object_get(permissions, "history");
    const json_t *claims[GW_RIGHTS] = {[GW_RIGHT_SUBSCRIBE] = json_object_get(permissions, "subscribe"),
                                       [GW_RIGHT_PUBLISH] = json_object_get(permissions, "publish"),
                                       [GW_RIGHT_HISTORY] =
                                           history ? history : json_object_get(permissions, "subscribe")};
    struct gw_strings names = entitle_strings(fields, FIELDS_MAX);
    /* A list that is there but names nothing that could be read shows nothing, rather than all. */
    static char nothing[] = "";
    if (fields && !names.count)
        names.items[names.count++] = nothing;
    struct gw_projection *projection = entitle_projection(entitle, &names);
    free(names.items);
    for (enum gw_right right = 0; right < GW_RIGHTS; right++) {
        struct gw_strings filters = entitle_strings(claims[right], GRANTS_MAX);
        list->right = right;
        list->projection = right == GW_RIGHT_PUBLISH ? NULL : projection;
        for (size_t i = 0; i < filters.count; i++) {
            if (gw_topic_filter_valid(filters.items[i], strlen(filters.items[i])))
                entitle_add(list, filters.items[i], strlen(filters.items[i]));
        }
        free(filters.items);
    }
    gw_projection_unref(projection);
}

static void entitle_log_unknown(const struct gw_config *config, const json_t *claim)
{
    const json_t *item;
    size_t i;
    if (!gw_log_enabled(GW_LOG_DEBUG))
        return;
    json_array_foreach(claim, i, item)
    {
        bool known = false;
        for (size_t j = 0; j < config->role_count; j++)
            known |= json_is_string(item) && !strcmp(json_string_value(item), config->roles[j].name);
        if (!known && json_is_string(item))
            GW_LOG_ONCE_A_SECOND(GW_LOG_DEBUG, "auth",
                                 "a token has the role '%.64s', which is not under roles:", json_string_value(item));
    }
}

struct gw_grants *gw_entitle_claims(struct gw_entitle *entitle, const json_t *claims)
{
    const struct gw_config *config = entitle->config;
    const struct gw_cfg_jwt *jwt = &config->auth.jwt;
    const json_t *roles =
        jwt->roles_claim ? gw_claims_find(claims, jwt->roles_claim, strlen(jwt->roles_claim)) : NULL;
    struct list *list = gw_calloc(1, sizeof *list);
    for (size_t i = 0; i < config->role_count; i++) {
        if (entitle_names(roles, config->roles[i].name))
            entitle_add_role(entitle, list, i, claims);
    }
    entitle_log_unknown(config, roles);
    if (jwt->permissions_claim)
        entitle_add_permissions(entitle, list,
                                gw_claims_find(claims, jwt->permissions_claim, strlen(jwt->permissions_claim)));
    return entitle_finish(entitle, list);
}
