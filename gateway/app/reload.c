/* reload.c: finds the running gateway in /proc and signals it.
 *
 * `docker compose kill -s HUP` would do, but the engine takes any `kill` for a stop that was asked for and no longer
 * restarts the container (moby/moby#47792). A signal from a process inside the container has no such side effect. */
#include "app/reload.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/command.h"

#define CMDLINE_BYTES 4096
#define ARGUMENTS_MAX 8

/* Reads a small file of /proc; false if it cannot be read. */
static bool reload_read(pid_t pid, const char *name, char *out, size_t size, size_t *len)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/%s", (long)pid, name);
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    *len = fread(out, 1, size - 1, file);
    out[*len] = '\0';
    fclose(file);
    return true;
}

/* Do both names lead to the same file? A relative name counts from the working directory of its process; where that
 * cannot be seen, the texts decide. */
static bool reload_same_file(pid_t pid, const char *theirs, const char *ours)
{
    char path[PATH_MAX], a[PATH_MAX], b[PATH_MAX];
    if (theirs[0] == '/')
        snprintf(path, sizeof path, "%s", theirs);
    else
        snprintf(path, sizeof path, "/proc/%ld/cwd/%s", (long)pid, theirs);
    if (realpath(path, a) && realpath(ours, b))
        return !strcmp(a, b);
    return !strcmp(theirs, ours);
}

/* Is this process a gateway that runs (and not another command of the same program) with that file? */
static bool reload_is_gateway(pid_t pid, const char *file)
{
    char name[32], line[CMDLINE_BYTES];
    size_t len;
    if (!reload_read(pid, "comm", name, sizeof name, &len) || strcmp(name, "sluice\n") != 0 ||
        !reload_read(pid, "cmdline", line, sizeof line, &len))
        return false;
    const char *arguments[ARGUMENTS_MAX];
    size_t count = 0;
    for (size_t at = 0; at < len && count < ARGUMENTS_MAX; at += strlen(line + at) + 1)
        arguments[count++] = line + at;
    if (count == 1)
        return reload_same_file(pid, GW_DEFAULT_FILE, file);
    return count == 3 && !strcmp(arguments[1], "-c") && reload_same_file(pid, arguments[2], file);
}

int gw_reload(const char *file)
{
    DIR *proc = opendir("/proc");
    pid_t found = 0;
    if (!proc) {
        fprintf(stderr, "sluice: cannot read /proc: %s\n", strerror(errno));
        return 1;
    }
    for (struct dirent *entry; (entry = readdir(proc));) {
        pid_t pid = isdigit((unsigned char)entry->d_name[0]) ? (pid_t)strtol(entry->d_name, NULL, 10) : 0;
        if (pid <= 0 || pid == getpid() || !reload_is_gateway(pid, file))
            continue;
        if (found) {
            fprintf(stderr, "sluice: processes %ld and %ld both run with %s: send SIGHUP to the one you mean\n",
                    (long)found, (long)pid, file);
            closedir(proc);
            return 1;
        }
        found = pid;
    }
    closedir(proc);
    if (!found) {
        fprintf(stderr, "sluice: no gateway runs with %s (give -c FILE as the running one has it)\n", file);
        return 1;
    }
    if (kill(found, SIGHUP) != 0) {
        fprintf(stderr, "sluice: cannot signal process %ld: %s%s\n", (long)found, strerror(errno),
                errno == EPERM ? " (run this as the gateway's user or as root)" : "");
        return 1;
    }
    printf("%s is valid; process %ld reads it again. Its log says what changed.\n", file, (long)found);
    return 0;
}
