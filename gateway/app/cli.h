/* cli.h: what the words of the command line mean: commands and their options, each a row of a table. The help, the
 * errors and the completions of shells come from the same rows. Thread: main. */
#ifndef GW_APP_CLI_H
#define GW_APP_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "app/command.h"

/* Values that one option may have, if it can be repeated. */
#define GW_CLI_LIST_MAX 16
struct gw_cli_list {
    const char *items[GW_CLI_LIST_MAX];
    size_t count;
};

/* The command line, taken apart. Texts point into argv; NULL: not given. */
#define GW_CLI_WORDS_MAX 2
struct gw_cli {
    int (*start)(struct gw_config *config); /* the gateway itself */
    const struct gw_cli_command *command;   /* the one that was given */
    const char *words[GW_CLI_WORDS_MAX];    /* what is not an option */
    size_t word_count;
    const char *file; /* never NULL */
    const char *topic, *channel, *as;
    const char *url, *token, *count, *cursor, *interval;
    const char *broker, *username, *password_file, *ca_file, *output, *listen;
    bool man;
    const char *subject, *expires;
    struct gw_cli_list roles, claims;
};

enum gw_cli_kind { GW_CLI_TEXT, GW_CLI_FLAG, GW_CLI_LIST };

struct gw_cli_option {
    const char *name;
    const char *value; /* what the help calls its value; NULL: a flag */
    enum gw_cli_kind kind;
    size_t offset;     /* in struct gw_cli: of a text, a bool or a list */
    const char *hints; /* what completions offer: words, or "FILE"; NULL: nothing */
    const char *help;
};

struct gw_cli_command {
    const char *name;    /* "": the gateway itself */
    const char *words;   /* "CHANNEL VALUE": each is required; NULL: none */
    const char *hints;   /* of the first word, as of an option */
    const char *options; /* names, separated by blanks; NULL: none */
    const char *help;    /* one line */
    int (*run)(const struct gw_cli *cli);
};

/* Both end with a row without a name. */
extern const struct gw_cli_command gw_cli_commands[];
extern const struct gw_cli_option gw_cli_options[];

/* The row of an option of the command, or NULL. */
const struct gw_cli_option *gw_cli_option(const struct gw_cli_command *command, const char *name, size_t len);

/* Fills `cli` from what comes behind the command. Returns 0, or 2 after a complaint. */
int gw_cli_parse(const struct gw_cli_command *command, int argc, char **argv, int from, struct gw_cli *cli);

/* Complains on standard error; `argument` may be NULL. Returns 2. */
int gw_cli_usage(const struct gw_cli_command *command, const char *what, const char *argument);

/* The help of one command, or of all of them (NULL). */
void gw_cli_help(const struct gw_cli_command *command, FILE *out);

/* The command that the word most likely means, or NULL. */
const struct gw_cli_command *gw_cli_nearest(const char *word);

/* Loads the configuration; NULL after saying why not. With `warn` warnings are printed too: elsewhere they would be
 * noise. */
struct gw_config *gw_cli_load(const char *file, bool warn);

/* A client of the running gateway that --url, or else the configuration, names. The caller frees it and gives
 * *config, which may be NULL, back. NULL after saying why not; *status is then the exit status. */
struct gw_http_client;
struct gw_http_client *gw_cli_client(const struct gw_cli *cli, struct gw_config **config, int *status);

/* The commands that have files of their own; each returns the exit status. */
int gw_cli_completion(const struct gw_cli *cli);
int gw_cli_explain(const struct gw_cli *cli);
int gw_cli_doctor(const struct gw_cli *cli);
int gw_cli_init(const struct gw_cli *cli);
int gw_cli_pub(const struct gw_cli *cli);
int gw_cli_sub(const struct gw_cli *cli);
int gw_cli_token(const struct gw_cli *cli);
int gw_cli_top(const struct gw_cli *cli);

#endif
