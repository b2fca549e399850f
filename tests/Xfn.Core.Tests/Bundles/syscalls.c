// Makes system calls as a hostile function might, raw, and prints each one's error number; 0 where the kernel did it. "killed" where the filter killed.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define HIGH (1L << 32)

static char zeros[256];

static long run(long nr, long a, long b, long c, long d, long e) {
  errno = 0;
  return syscall(nr, a, b, c, d, e, 0);
}

static void tell(const char *name, long nr, long a, long b, long c, long d, long e) {
  memset(zeros, 0, sizeof zeros);
  long result = run(nr, a, b, c, d, e);
  int error = result < 0 ? errno : 0;
  if ((nr == SYS_clone) && result == 0)
    _exit(0);
  printf("%s %d\n", name, error);
  fflush(stdout);
}

// In a child: the filter kills whoever calls through another architecture's table. Machines that have no such calls, as
// some virtual ones, answer them as a fault of memory.
static void tell_killed(const char *name, void (*call)(void)) {
  int status = 0;
  pid_t child = fork();
  if (child == 0) {
    call();
    _exit(0);
  }
  waitpid(child, &status, 0);
  int by = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  printf("%s %s\n", name, by == SIGSYS || by == SIGSEGV ? "killed" : "survived");
  fflush(stdout);
}

#ifdef __x86_64__
static void call_x32(void) { run(0x40000000 | SYS_getpid, 0, 0, 0, 0, 0); }
static void call_32(void) {
  long result;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "memory");
}
#endif

int main(void) {
  long z = (long)zeros;
  int pipes[2];
  if (pipe(pipes))
    return 1;

  tell("mount", SYS_mount, z, (long)"/tmp", (long)"tmpfs", 0, 0);
  tell("umount2", SYS_umount2, (long)"/proc/keys", 2, 0, 0, 0);
  tell("pivot_root", SYS_pivot_root, (long)"/tmp", (long)"/tmp", 0, 0, 0);
  tell("chroot", SYS_chroot, (long)"/tmp", 0, 0, 0, 0);
  tell("fsopen", 430, (long)"tmpfs", 0, 0, 0, 0);
  tell("open_tree", 428, AT_FDCWD, (long)"/", 1, 0, 0);
  tell("move_mount", 429, 0, z, 0, z, 0);
  tell("mount_setattr", 442, 0, z, 0, z, 32);
  tell("unshare-user", SYS_unshare, CLONE_NEWUSER, 0, 0, 0, 0);
  tell("unshare-nothing", SYS_unshare, 0, 0, 0, 0, 0);
  tell("setns", SYS_setns, pipes[0], 0, 0, 0, 0);
  tell("clone-user", SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
  tell("clone-user-high", SYS_clone, HIGH | CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
  tell("clone-net", SYS_clone, CLONE_NEWNET | SIGCHLD, 0, 0, 0, 0);
  tell("clone-all", SYS_clone, 0x7e020000 | SIGCHLD, 0, 0, 0, 0);
  tell("clone3", 435, z, 64, 0, 0, 0);
  tell("bpf", SYS_bpf, 0, z, sizeof zeros, 0, 0);
  tell("perf_event_open", SYS_perf_event_open, z, 0, -1, -1, 0);
  tell("userfaultfd", SYS_userfaultfd, 1, 0, 0, 0, 0);
  tell("io_uring_setup", 425, 1, z, 0, 0, 0);
  tell("io_uring_enter", 426, 0, 0, 0, 0, 0);
  tell("io_uring_register", 427, 0, 0, 0, 0, 0);
  tell("keyctl", SYS_keyctl, 0, -3, 0, 0, 0);
  tell("add_key", SYS_add_key, (long)"user", (long)"k", z, 1, -3);
  tell("request_key", SYS_request_key, (long)"user", (long)"k", 0, 0, 0);
  tell("ptrace", SYS_ptrace, 0, 0, 0, 0, 0);
  tell("process_vm_readv", SYS_process_vm_readv, getpid(), z, 0, z, 0);
  tell("process_vm_writev", SYS_process_vm_writev, getpid(), z, 0, z, 0);
  tell("kcmp", SYS_kcmp, getpid(), getpid(), 0, 0, 0);
  tell("pidfd_getfd", 438, pipes[0], 0, 0, 0, 0);
  tell("open_by_handle_at", SYS_open_by_handle_at, AT_FDCWD, z, 0, 0, 0);
  tell("fanotify_init", SYS_fanotify_init, 0x200, 0, 0, 0, 0);
  tell("memfd_secret", 447, 0, 0, 0, 0, 0);
  tell("kexec_load", SYS_kexec_load, 0, 0, 0, 0, 0);
  tell("init_module", SYS_init_module, z, 0, z, 0, 0);
  tell("finit_module", SYS_finit_module, pipes[0], z, 0, 0, 0);
  tell("reboot", SYS_reboot, 0, 0, 0, 0, 0);
  tell("swapon", SYS_swapon, z, 0, 0, 0, 0);
  tell("syslog", SYS_syslog, 10, 0, 0, 0, 0);
  tell("acct", SYS_acct, 0, 0, 0, 0, 0);
  tell("quotactl", SYS_quotactl, 0, 0, 0, 0, 0);
  tell("clock_settime", SYS_clock_settime, 0, z, 0, 0, 0);
  tell("sethostname", SYS_sethostname, z, 1, 0, 0, 0);
  tell("mbind", SYS_mbind, 0, 0, 0, 0, 0);
  tell("vhangup", SYS_vhangup, 0, 0, 0, 0, 0);
  tell("af_alg", SYS_socket, 38, SOCK_SEQPACKET, 0, 0, 0);
  tell("af_alg-high", SYS_socket, HIGH | 38, SOCK_SEQPACKET, 0, 0, 0);
  tell("af_vsock", SYS_socket, 40, SOCK_STREAM, 0, 0, 0);
  tell("af_vsock-high", SYS_socket, HIGH | 40, SOCK_STREAM, 0, 0, 0);
  tell("af_packet", SYS_socket, 17, SOCK_DGRAM, 0, 0, 0);
  tell("af_xdp", SYS_socket, 44, SOCK_RAW, 0, 0, 0);
  tell("socketpair-tipc", SYS_socketpair, 30, SOCK_STREAM, 0, z, 0);
  tell("type-raw", SYS_socket, AF_INET, SOCK_RAW, 1, 0, 0);
  tell("type-sctp", SYS_socket, AF_INET, SOCK_SEQPACKET, 132, 0, 0);
  tell("type-dccp", SYS_socket, AF_INET6, 6, 33, 0, 0);
  tell("type-high", SYS_socket, AF_INET, HIGH | SOCK_RAW | SOCK_CLOEXEC, 1, 0, 0);
  tell("type-socketpair-raw", SYS_socketpair, AF_UNIX, SOCK_RAW, 0, z, 0);
  tell("protocol-mptcp", SYS_socket, AF_INET, SOCK_STREAM, 262, 0, 0);
  tell("protocol-sctp", SYS_socket, AF_INET6, SOCK_STREAM, 132, 0, 0);
  tell("protocol-udplite", SYS_socket, AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 136, 0, 0);
  tell("protocol-netlink-audit", SYS_socket, AF_NETLINK, SOCK_RAW, 9, 0, 0);
  tell("protocol-netlink-xfrm-high", SYS_socket, AF_NETLINK, SOCK_DGRAM, HIGH | 6, 0, 0);
  tell("attach-filter", SYS_setsockopt, 0, SOL_SOCKET, SO_ATTACH_FILTER, z, 16);
  tell("attach-bpf-high", SYS_setsockopt, 0, HIGH | SOL_SOCKET, HIGH | 50, z, 4);
  tell("attach-reuseport-filter", SYS_setsockopt, 0, SOL_SOCKET, 51, z, 16);
  tell("setlease", SYS_fcntl, 0, 1024, 0, 0, 0);
  tell("setlease-high", SYS_fcntl, 0, HIGH | 1024, 1, 0, 0);
  tell("vmsplice", SYS_vmsplice, pipes[1], z, 0, 0, 0);
  tell("io_setup", SYS_io_setup, 1, z, 0, 0, 0);
  tell("huge-memory", SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1);
  tell("huge-shared-memory", SYS_shmget, 0, 2 << 20, 01600 | 04000, 0, 0);
  tell("huge-file", SYS_memfd_create, (long)"m", 4, 0, 0, 0);
  tell("tiocsetd", SYS_ioctl, 0, 0x5423, z, 0, 0);
  tell("tiocsti", SYS_ioctl, 0, 0x5412, z, 0, 0);
  tell("tiocsti-high", SYS_ioctl, 0, HIGH | 0x5412, z, 0, 0);
  tell("tiocsti-negative", SYS_ioctl, 0, (long)0xffffffff00005412, z, 0, 0);
  tell("tioclinux", SYS_ioctl, 0, 0x541c, z, 0, 0);
  tell("personality-no-randomize", SYS_personality, 0x40000, 0, 0, 0, 0);
  tell("personality-read-implies-exec-high", SYS_personality, HIGH | 0x400000, 0, 0, 0, 0);
  tell("nonexistent", 4000, 0, 0, 0, 0, 0);
  tell("negative", -1, 0, 0, 0, 0, 0);
#ifdef __x86_64__
  tell("modify_ldt", SYS_modify_ldt, 0, z, 16, 0, 0);
  tell("iopl", SYS_iopl, 3, 0, 0, 0, 0);
  tell("ioperm", SYS_ioperm, 0, 1, 1, 0, 0);
  tell_killed("x32", call_x32);
  tell_killed("i386", call_32);
#endif

  puts("ordinary");
  tell("getpid", SYS_getpid, 0, 0, 0, 0, 0);
  tell("clone-fork", SYS_clone, SIGCHLD, 0, 0, 0, 0);
  tell("mmap-exec", SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  tell("memfd_create", SYS_memfd_create, (long)"m", 0, 0, 0, 0);
  tell("af_unix", SYS_socket, AF_UNIX, SOCK_STREAM, 0, 0, 0);
  tell("af_inet", SYS_socket, AF_INET, SOCK_STREAM, 0, 0, 0);
  tell("af_inet6", SYS_socket, AF_INET6, SOCK_DGRAM, 0, 0, 0);
  tell("af_netlink", SYS_socket, AF_NETLINK, SOCK_RAW, 0, 0, 0);
  tell("socketpair", SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, z, 0);
  tell("fionread", SYS_ioctl, pipes[0], 0x541b, z, 0, 0);
  tell("ioctl-not-a-terminal", SYS_ioctl, pipes[0], 0x5401, z, 0, 0);
  tell("ioctl-negative", SYS_ioctl, pipes[0], (long)(int)0x80045430, z, 0, 0);
  tell("personality", SYS_personality, 0xffffffff, 0, 0, 0, 0);
  tell("personality-negative", SYS_personality, -1, 0, 0, 0, 0);
  tell("epoll_create1", SYS_epoll_create1, 0, 0, 0, 0, 0);
  tell("eventfd2", SYS_eventfd2, 0, 0, 0, 0, 0);
  tell("inotify_init1", SYS_inotify_init1, 0, 0, 0, 0, 0);
  tell("timerfd_create", SYS_timerfd_create, 1, 0, 0, 0, 0);
  tell("getrandom", SYS_getrandom, z, 16, 0, 0, 0);
  tell("pidfd_open", 434, getpid(), 0, 0, 0, 0);
  tell("close_range", 436, 100, 200, 0, 0, 0);
  tell("faccessat2", 439, AT_FDCWD, (long)"/", 0, 0, 0);
  tell("seccomp", SYS_seccomp, 2, 0, z, 0, 0);
  tell("membarrier", SYS_membarrier, 0, 0, 0, 0, 0);
  tell("sched_getaffinity", SYS_sched_getaffinity, 0, sizeof zeros, z, 0, 0);
  tell("prlimit64", SYS_prlimit64, 0, 7, 0, z, 0);
  tell("af_unix-packets", SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, 0, 0);
  tell("af_inet-tcp", SYS_socket, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 6, 0, 0);
  tell("af_inet6-udp", SYS_socket, AF_INET6, SOCK_DGRAM, 17, 0, 0);
  tell("setsockopt", SYS_setsockopt, socket(AF_INET, SOCK_STREAM, 0), SOL_SOCKET, SO_REUSEADDR, z, 4);
  tell("getfl", SYS_fcntl, pipes[0], F_GETFL, 0, 0, 0);

  // The limit that keeps core handlers away stays what it is, whatever a program says.
  struct { unsigned long soft, hard; } before, after, none = {0, 0};
  syscall(SYS_prlimit64, 0, RLIMIT_CORE, 0, &before);
  tell("setrlimit-core", SYS_setrlimit, RLIMIT_CORE, (long)&none, 0, 0, 0);
  tell("prlimit64-core", SYS_prlimit64, 0, RLIMIT_CORE, (long)&none, 0, 0);
  tell("prlimit64-core-high", SYS_prlimit64, 0, HIGH | RLIMIT_CORE, (long)&none, 0, 0);
  syscall(SYS_prlimit64, 0, RLIMIT_CORE, 0, &after);
  printf("core-limit-changed %d\n", memcmp(&before, &after, sizeof before) != 0);
  tell("mknod-fifo", SYS_mknodat, AT_FDCWD, (long)"/tmp/fifo", 0010644, 0, 0);
  tell("shmget", SYS_shmget, 0, 4096, 01600, 0, 0);
  tell("setpriority", SYS_setpriority, 0, 0, 5, 0, 0);
  tell("statx", SYS_statx, AT_FDCWD, (long)"/", 0, 0x7ff, z);
  return 0;
}
