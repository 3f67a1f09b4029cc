#include "app/sandbox.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gateway/log.h"

/* LeakSanitizer stops its own process by ptrace(2) at the end. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANDBOX_SYSCALLS 0
#else
#define SANDBOX_SYSCALLS 1
#endif

/* What an intruder would want next: other programs, other processes, other privileges, the kernel. A list of what is
 * refused and not of what is allowed: it holds for every libc, resolver and library that may be under us. */
static const char *const sandbox_refused[] = {
    "execve",
    "execveat",
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "pidfd_getfd",
    "kcmp",
    "mount",
    "umount2",
    "move_mount",
    "open_tree",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "mount_setattr",
    "pivot_root",
    "chroot",
    "unshare",
    "setns",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "open_by_handle_at",
    "name_to_handle_at",
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "kexec_file_load",
    "reboot",
    "swapon",
    "swapoff",
    "add_key",
    "request_key",
    "keyctl",
    "acct",
    "quotactl",
    "quotactl_fd",
    "settimeofday",
    "clock_settime",
    "clock_adjtime",
    "adjtimex",
    "sethostname",
    "setdomainname",
    "iopl",
    "ioperm",
    "modify_ldt",
    "personality",
    "vhangup",
    "lookup_dcookie",
    "mknod",
    "mknodat",
    "setuid",
    "setgid",
    "setreuid",
    "setregid",
    "setresuid",
    "setresgid",
    "setgroups",
    "setfsuid",
    "setfsgid",
    "capset",
    /* The same under the names of architectures with 32 bits, armv7 among them; elsewhere they are no calls. */
    "clock_settime64",
    "clock_adjtime64",
    "setuid32",
    "setgid32",
    "setreuid32",
    "setregid32",
    "setresuid32",
    "setresgid32",
    "setgroups32",
    "setfsuid32",
    "setfsgid32",
};

static bool sandbox_become(const char *name)
{
    if (geteuid() != 0) {
        const struct passwd *self = getpwuid(geteuid());
        if (self && !strcmp(self->pw_name, name))
            return true;
        gw_log(GW_LOG_ERROR, "app", "can't become user '%s': not started as root", name);
        return false;
    }
    errno = 0;
    const struct passwd *user = getpwnam(name);
    if (!user) {
        gw_log(GW_LOG_ERROR, "app", "there is no user '%s' (the name of a user of this system expected)", name);
        return false;
    }
    /* Groups first: afterwards it would not be allowed. */
    if (initgroups(name, user->pw_gid) || setgid(user->pw_gid) || setuid(user->pw_uid)) {
        gw_log(GW_LOG_ERROR, "app", "can't become user '%s': %s", name, strerror(errno));
        return false;
    }
    return true;
}

static void sandbox_drop_capabilities(void)
{
    for (int capability = 0; capability <= CAP_LAST_CAP; capability++)
        prctl(PR_CAPBSET_DROP, capability, 0, 0,
              0); /* fails without CAP_SETPCAP, and then there is nothing to drop */
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct none[2] = {{0}, {0}};
    if (syscall(SYS_capset, &header, none))
        gw_log(GW_LOG_WARN, "app", "can't drop capabilities: %s", strerror(errno));
}

static void sandbox_refuse_syscalls(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (!filter) {
        gw_log(GW_LOG_WARN, "app", "no filter of system calls: seccomp is not there");
        return;
    }
    for (size_t i = 0; i < sizeof sandbox_refused / sizeof *sandbox_refused; i++) {
        int number = seccomp_syscall_resolve_name(sandbox_refused[i]);
        if (number != __NR_SCMP_ERROR)
            seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), number, 0);
    }
    int err = seccomp_load(filter);
    if (err)
        gw_log(GW_LOG_WARN, "app", "no filter of system calls: %s", strerror(-err));
    seccomp_release(filter);
}

void gw_sandbox_hide(void)
{
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

bool gw_sandbox_enter(const struct gw_config *config)
{
    if (config->user && !sandbox_become(config->user))
        return false;
    if (!config->user && geteuid() == 0)
        gw_log(GW_LOG_WARN, "app", "running as root; `user: NAME` in the configuration changes that");
    if (!config->sandbox) {
        prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* for debuggers */
        return true;
    }
    gw_sandbox_hide(); /* setuid() has set it anew */
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        gw_log(GW_LOG_WARN, "app", "can't give up new privileges: %s", strerror(errno));
    sandbox_drop_capabilities();
    if (SANDBOX_SYSCALLS)
        sandbox_refuse_syscalls();
    return true;
}
