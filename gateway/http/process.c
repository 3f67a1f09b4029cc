#include "http/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* Reads a short file of /proc; the text ends in NUL. */
static bool process_read(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t got = read(fd, out, size - 1);
    close(fd);
    if (got <= 0)
        return false;
    out[got] = '\0';
    return true;
}

/* proc(5), /proc/self/stat: fields 14, 15, 23, 24. The name in field 2 may hold anything, also parentheses. */
static void process_stat(struct gw_exposition *to)
{
    char text[1024];
    unsigned long user, system, virtual;
    long resident;
    const char *fields = process_read("/proc/self/stat", text, sizeof text) ? strrchr(text, ')') : NULL;
    if (!fields ||
        sscanf(fields + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %*d %*d %*u %lu %ld",
               &user, &system, &virtual, &resident) != 4)
        return;
    gw_metric_family(to, "process_cpu_seconds_total", GW_METRIC_COUNTER,
                     "User and system CPU time of all threads, in seconds.");
    gw_metric_seconds(to, "process_cpu_seconds_total", (double)(user + system) / (double)sysconf(_SC_CLK_TCK));
    gw_metric_gauge(to, "process_resident_memory_bytes", "Resident memory, in bytes.",
                    (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE));
    gw_metric_gauge(to, "process_virtual_memory_bytes", "Virtual memory, in bytes.", virtual);
}

static uint64_t process_descriptors(void)
{
    struct stat info; /* since Linux 6.2 the size of that folder is their number */
    if (!stat("/proc/self/fd", &info) && info.st_size > 0)
        return (uint64_t)info.st_size;
    DIR *folder = opendir("/proc/self/fd");
    uint64_t count = 0;
    while (folder && readdir(folder))
        count++;
    if (folder)
        closedir(folder);
    return count > 3 ? count - 3 : 0; /* without `.`, `..` and the folder itself */
}

void gw_process_metrics(struct gw_exposition *to, int64_t started_wall_ms)
{
    process_stat(to);
    gw_metric_family(to, "process_start_time_seconds", GW_METRIC_GAUGE,
                     "When the process started, in seconds since 1970.");
    gw_metric_seconds(to, "process_start_time_seconds", (double)started_wall_ms / 1000);
    uint64_t open_now = process_descriptors();
    if (open_now)
        gw_metric_gauge(to, "process_open_fds", "Open file descriptors.", open_now);
    struct rlimit limit;
    if (!getrlimit(RLIMIT_NOFILE, &limit))
        gw_metric_gauge(to, "process_max_fds", "Most file descriptors that the process may have.", limit.rlim_cur);
}
