/* nouring: runs a program as most container runtimes do, which refuse io_uring.
 *
 *   nouring PROGRAM WORDS... */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (!filter || seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(io_uring_setup), 0) ||
        seccomp_load(filter)) {
        fprintf(stderr, "nouring: no filter\n");
        return 1;
    }
    seccomp_release(filter);
    execv(argv[1], argv + 1);
    perror(argv[1]);
    return 1;
}
