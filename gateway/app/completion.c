/* completion.c: completions for three shells, of the tables of commands and options. The files in
 * packaging/completions are made by it. */
#include <stdio.h>
#include <string.h>

#include "app/cli.h"

#define EACH_COMMAND(row) for (const struct gw_cli_command *row = gw_cli_commands + 1; row->name; row++)
#define EACH_OPTION(row)  for (const struct gw_cli_option *row = gw_cli_options; row->name; row++)

static bool completion_files(const char *hints)
{
    return hints && !strcmp(hints, "FILE");
}

static bool completion_has(const struct gw_cli_command *command, const struct gw_cli_option *option)
{
    return gw_cli_option(command, option->name, strlen(option->name)) == option;
}

/* The names of the options with a value for which the shell offers nothing, something of its own, or files. */
static void bash_options(bool files)
{
    const char *separator = "    ";
    EACH_OPTION(option)
    {
        if (!option->value || completion_files(option->hints) != files)
            continue;
        printf("%s%s", separator, option->name);
        separator = " | ";
    }
    puts(")");
}

static void completion_bash(void)
{
    static const char files[] = "compopt -o filenames 2>/dev/null\n";
    puts("# bash completion for sluice, made by `sluice completion bash`\n\n_sluice() {\n"
         "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]} "
         "words=\n    COMPREPLY=()\n    case $before in");
    bash_options(true);
    printf("        %s        mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n        return\n        ;;\n",
           files);
    bash_options(false);
    puts("        return\n        ;;\n    esac\n    if [ \"$COMP_CWORD\" -eq 1 ]; then");
    printf("        words=\"");
    EACH_COMMAND(command) printf("%s ", command->name);
    puts("-c --version --help\"\n    else\n        case $command in");
    EACH_COMMAND(command)
    {
        if (!command->options && !command->hints)
            continue;
        printf("        %s)\n", command->name);
        if (completion_files(command->hints))
            printf(
                "            %s            mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n            return\n",
                files);
        else
            printf("            words=\"%s%s%s\"\n", command->hints ? command->hints : "",
                   command->hints && command->options ? " " : "", command->options ? command->options : "");
        puts("            ;;");
    }
    puts("        esac\n    fi\n    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n}\n"
         "complete -F _sluice sluice");
}

/* What may follow a value's name in _arguments. */
static void zsh_hints(const char *hints)
{
    if (completion_files(hints))
        printf("_files");
    else if (hints)
        printf("(%s)", hints);
}

static void completion_zsh(void)
{
    puts("#compdef sluice\n# made by `sluice completion zsh`\n\n_sluice() {\n    local -a commands\n    commands=(");
    EACH_COMMAND(command) printf("        '%s:%s'\n", command->name, command->help);
    puts("    )\n    if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then\n"
         "        _describe -t commands command commands\n        return\n    fi\n"
         "    if [[ $words[2] != -* ]]; then # from here on the command is the first word\n"
         "        shift words\n        (( CURRENT-- ))\n    fi\n    case $words[1] in");
    EACH_COMMAND(command)
    {
        if (!command->options && !command->hints)
            continue;
        printf("    %s) _arguments", command->name);
        if (command->hints) {
            printf(" '1:%.*s:", (int)strcspn(command->words, " "), command->words);
            zsh_hints(command->hints);
            printf("'");
        }
        EACH_OPTION(option)
        {
            if (!completion_has(command, option))
                continue;
            printf(" '%s%s[%s]", option->kind == GW_CLI_LIST ? "*" : "", option->name, option->help);
            if (option->value) {
                printf(":%s:", option->value);
                zsh_hints(option->hints);
            }
            printf("'");
        }
        puts(" ;;");
    }
    puts("    *) _arguments '-c[the configuration]:FILE:_files' '(- *)--version[print the version]' "
         "'(- *)--help[print a short help]' ;;\n    esac\n}\n\n_sluice \"$@\"");
}

static void completion_fish(void)
{
    puts("# fish completion for sluice, made by `sluice completion fish`\n\ncomplete -c sluice -f");
    EACH_COMMAND(command)
    printf("complete -c sluice -n __fish_use_subcommand -a %s -d '%s'\n", command->name, command->help);
    puts("complete -c sluice -n __fish_use_subcommand -l version -d 'print the version'\n"
         "complete -c sluice -n __fish_use_subcommand -l help -s h -d 'print a short help'\n"
         "complete -c sluice -n __fish_use_subcommand -s c -r -F -d 'the configuration'");
    EACH_COMMAND(command)
    {
        if (completion_files(command->hints))
            printf("complete -c sluice -n '__fish_seen_subcommand_from %s' -F\n", command->name);
        else if (command->hints)
            printf("complete -c sluice -n '__fish_seen_subcommand_from %s' -a '%s'\n", command->name, command->hints);
    }
    EACH_OPTION(option)
    {
        printf("complete -c sluice -n '__fish_seen_subcommand_from");
        EACH_COMMAND(command)
        {
            if (completion_has(command, option))
                printf(" %s", command->name);
        }
        bool is_long = option->name[1] == '-';
        printf("' -%c %s", is_long ? 'l' : 's', option->name + (is_long ? 2 : 1));
        if (completion_files(option->hints))
            printf(" -r -F");
        else if (option->value)
            printf(" -x");
        if (option->hints && !completion_files(option->hints))
            printf(" -a '%s'", option->hints);
        printf(" -d '%s'\n", option->help);
    }
}

int gw_cli_completion(const struct gw_cli *cli)
{
    static const struct {
        const char *name;
        void (*print)(void);
    } shells[] = {{"bash", completion_bash}, {"zsh", completion_zsh}, {"fish", completion_fish}};
    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++) {
        if (!strcmp(cli->words[0], shells[i].name)) {
            shells[i].print();
            return 0;
        }
    }
    return gw_cli_usage(cli->command, "a shell is expected after completion: bash, zsh or fish; not", cli->words[0]);
}
