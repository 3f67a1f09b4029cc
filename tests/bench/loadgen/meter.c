/* meter.c: what the servers use. A process's own clock counts the user and system time of all its threads, ended ones
 * included, in nanoseconds; /proc/PID/stat counts the same in 10 ms. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "loadgen.h"

static double process_cpu_us(long pid)
{
    clockid_t clock;
    struct timespec used;
    int error = clock_getcpuclockid((pid_t)pid, &clock);
    if (error || clock_gettime(clock, &used))
        die("process %ld has no clock: %s", pid, strerror(error ? error : errno));
    return (double)used.tv_sec * 1e6 + (double)used.tv_nsec / 1e3;
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
