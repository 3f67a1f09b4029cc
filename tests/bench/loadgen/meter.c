/* meter.c: what the servers use, from /proc. schedstat counts in nanoseconds, where /proc/PID/stat counts in 10 ms. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loadgen.h"

static double process_cpu_us(long pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/task", pid);
    DIR *tasks = opendir(path);
    if (!tasks)
        die("process %ld has ended", pid);
    double total = 0;
    for (struct dirent *entry; (entry = readdir(tasks));) {
        if (entry->d_name[0] == '.')
            continue;
        char name[400];
        snprintf(name, sizeof name, "/proc/%ld/task/%s/schedstat", pid, entry->d_name);
        FILE *file = fopen(name, "r");
        unsigned long long ns;
        if (!file)
            continue; /* a thread that has just ended */
        if (fscanf(file, "%llu", &ns) != 1)
            die("%s: no number", name);
        fclose(file);
        total += (double)ns / 1e3;
    }
    closedir(tasks);
    return total;
}

static double each_process(const char *pids, double (*of)(long pid))
{
    double total = 0;
    char *end;
    for (const char *at = pids; *at; at = *end ? end + 1 : end) {
        long pid = strtol(at, &end, 10);
        if (end == at || (*end && *end != ','))
            die("no list of process ids: %s", pids);
        total += of(pid);
    }
    return total;
}

struct cost meter_cost(void)
{
    return (struct cost){each_process(options.server, process_cpu_us), each_process(options.broker, process_cpu_us)};
}

static double process_memory(long pid)
{
    char path[64];
    unsigned long size, resident;
    snprintf(path, sizeof path, "/proc/%ld/statm", pid);
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%lu %lu", &size, &resident) != 2)
        die("%s: no numbers", path);
    fclose(file);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

double meter_memory(void)
{
    return each_process(options.server, process_memory);
}
