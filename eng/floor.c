// The floor of a run: the namespaces, mounts and limits of one, by the system calls that spark makes. No pool, no
// messages, no cgroup, no seccomp filter. See docs/performance.md, "Where the processor time goes".
//   cc -O2 -o floor eng/floor.c
//   floor start PROGRAM [ARGUMENT...]   only starts the program, with /dev/null
//   floor run ROOT MAP [RUNS]           runs /bin/busybox cat in ROOT; MAP as in uid_map: "0 100000 65536"
// Prints the processor time of one, in milliseconds. FLOOR_KIB=N gives it N KiB of memory, which each run copies.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
int mount(const char *, const char *, const char *, unsigned long, const void *);
int umount2(const char *, int);

#define TRY(call) do { if ((long)(call) < 0) { fprintf(stderr, "floor: line %d: %s\n", __LINE__, strerror(errno)); _exit(99); } } while (0)

static const unsigned long strict = MS_NOSUID | MS_NODEV | MS_NOEXEC;
static char **function, *root, *map;
static char stack[256 << 10];

static void put(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  TRY(fd);
  TRY(write(fd, text, strlen(text)));
  close(fd);
}

static void read_only(const char *path, int flags) {
  struct mount_attr attributes = {.attr_set = MOUNT_ATTR_RDONLY};
  TRY(syscall(SYS_mount_setattr, AT_FDCWD, path, flags, &attributes, sizeof attributes));
}

static void bind(const char *from, const char *to) { TRY(mount(from, to, 0, MS_BIND, 0)); }

// The container's first process.
static int begin(void *none) {
  static const char *devices[] = {"null", "zero", "full", "tty", "random", "urandom"};
  static const char *masked[] = {"proc/kcore", "proc/keys", "proc/timer_list"}, *closed[] = {"proc/fs", "sys/firmware"}, *kept[] = {"proc/bus", "proc/irq", "proc/sys", "sys/fs/cgroup"};
  char from[64];
  (void)none;
  TRY(setsid());
  TRY(mount(0, "/", 0, MS_REC | MS_PRIVATE, 0));
  TRY(chdir("/run/rootfs"));
  TRY(mount("proc", "proc", "proc", strict, 0));
  TRY(mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755,size=64k,nr_inodes=64"));
  mkdir("dev/pts", 0755), mkdir("dev/shm", 0755), mkdir("dev/mqueue", 0755);
  TRY(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"));
  TRY(mount("shm", "dev/shm", "tmpfs", strict, "mode=1777,size=64m,nr_inodes=4096"));
  TRY(mount("mqueue", "dev/mqueue", "mqueue", strict, 0));
  TRY(mount("sysfs", "sys", "sysfs", MS_RDONLY | strict, 0));
  TRY(mount("tmpfs", "sys/fs/cgroup", "tmpfs", strict, "mode=755,size=64k,nr_inodes=64"));
  TRY(mount("tmpfs", "tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=64m,nr_inodes=4096"));
  for (unsigned i = 0; i < sizeof devices / sizeof *devices; i++) {
    snprintf(from, sizeof from, "/dev/%s", devices[i]);
    close(open(from + 1, O_CREAT | O_CLOEXEC, 0666));
    bind(from, from + 1);
  }
  read_only("dev", 0);
  TRY(mount("tmpfs", "/run/empty", "tmpfs", MS_RDONLY | strict, "size=4k,nr_inodes=2,mode=755"));
  for (unsigned i = 0; i < sizeof masked / sizeof *masked; i++)
    if (mount("/dev/null", masked[i], 0, MS_BIND, 0) && errno != ENOENT)
      TRY(-1);
  for (unsigned i = 0; i < sizeof closed / sizeof *closed; i++)
    bind("/run/empty", closed[i]);
  for (unsigned i = 0; i < sizeof kept / sizeof *kept; i++) {
    TRY(mount(kept[i], kept[i], 0, MS_BIND | MS_REC, 0));
    read_only(kept[i], AT_RECURSIVE);
  }
  TRY(syscall(SYS_pivot_root, ".", "."));
  TRY(umount2(".", 2));
  TRY(sethostname("floor", 5));
  for (int i = 0; i < 10; i++) {
    struct rlimit limit;
    TRY(getrlimit(i, &limit));
    TRY(setrlimit(i, &limit));
  }
  for (int i = 0; i <= 40; i++)
    (void)prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
  for (int i = 1; i <= 64; i++)
    (void)signal(i, SIG_DFL);
  TRY(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  execv(function[0], function);
  TRY(-1);
  return 0;
}

// The process around it, which is spark's.
static void around(void) {
  static const char *limits[] = {"user", "time", "cgroup", "ipc", "mnt", "net", "pid", "uts"}, *points[] = {"proc", "dev", "sys", "tmp", "etc"};
  char text[4200];
  int status, context, tree;
  TRY(mount(0, "/", 0, MS_REC | MS_PRIVATE, 0));
  TRY(setgroups(0, 0));
  TRY(setresgid(0, 0, 0));
  TRY(setresuid(0, 0, 0));
  read_only("/", AT_RECURSIVE);
  TRY(mount("proc", "/proc", "proc", strict, 0));
  for (unsigned i = 0; i < sizeof limits / sizeof *limits; i++) {
    snprintf(text, sizeof text, "/proc/sys/user/max_%s_namespaces", limits[i]);
    put(text, "4");
  }
  put("/proc/sys/user/max_inotify_instances", "16"), put("/proc/sys/user/max_inotify_watches", "8192");
  put("/proc/sys/user/max_fanotify_groups", "16"), put("/proc/sys/user/max_fanotify_marks", "8192");
  TRY(mount("floor", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=64m,nr_inodes=16k"));
  mkdir("/run/points", 0755), mkdir("/run/rootfs", 0755), mkdir("/run/empty", 0755);
  for (unsigned i = 0; i < sizeof points / sizeof *points; i++) {
    snprintf(text, sizeof text, "/run/points/%s", points[i]);
    TRY(mkdir(text, 0755));
  }
  TRY(context = syscall(SYS_fsopen, "overlay", 1));
  TRY(syscall(SYS_fsconfig, context, 1, "lowerdir+", "/run/points", 0));
  TRY(syscall(SYS_fsconfig, context, 1, "lowerdir+", root, 0));
  TRY(syscall(SYS_fsconfig, context, 0, "userxattr", 0, 0));
  TRY(syscall(SYS_fsconfig, context, 6, 0, 0, 0));
  TRY(tree = syscall(SYS_fsmount, context, 1, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV));
  TRY(syscall(SYS_move_mount, tree, "", AT_FDCWD, "/run/rootfs", 4));
  close(tree), close(context);
  pid_t child = clone(begin, stack + sizeof stack, CLONE_VM | CLONE_VFORK | CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET | SIGCHLD, 0);
  TRY(child);
  TRY(waitpid(child, &status, 0));
  _exit(WEXITSTATUS(status));
}

static void run(void) {
  char path[64];
  int ready[2], status;
  TRY(pipe2(ready, O_CLOEXEC));
  pid_t child = syscall(SYS_clone, CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);
  TRY(child);
  if (child == 0) {
    char byte;
    close(ready[1]);
    TRY(read(ready[0], &byte, 1));
    around();
  }
  snprintf(path, sizeof path, "/proc/%d/uid_map", child), put(path, map);
  snprintf(path, sizeof path, "/proc/%d/gid_map", child), put(path, map);
  close(ready[0]), close(ready[1]);
  TRY(waitpid(child, &status, 0));
  if (status != 0)
    exit(1);
}

static void start(void) {
  int status;
  pid_t child = vfork();
  TRY(child);
  if (child == 0) {
    execv(function[0], function);
    _exit(99);
  }
  TRY(waitpid(child, &status, 0));
}

int main(int argc, char **argv) {
  static char *cat[] = {"/bin/busybox", "cat", 0};
  int is_run = argc >= 4 && strcmp(argv[1], "run") == 0, is_start = argc >= 3 && strcmp(argv[1], "start") == 0, runs = is_run && argc > 4 ? atoi(argv[4]) : 200;
  if (!is_run && !is_start)
    return fprintf(stderr, "usage: floor start PROGRAM [ARGUMENT...] | run ROOT MAP [RUNS]\n"), 2;
  function = is_run ? cat : argv + 2;
  root = argv[2], map = argv[3];
  int nothing = open("/dev/null", O_RDWR);
  TRY(dup2(nothing, 0));
  int stdout_copy = dup(1);
  TRY(dup2(nothing, 1));
  size_t bytes = (size_t)atoi(getenv("FLOOR_KIB") ? getenv("FLOOR_KIB") : "0") << 10;
  void *copied = mmap(0, bytes + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(copied, 1, bytes);
  for (int i = 0; i < runs; i++)
    is_run ? run() : start();
  struct rusage own, children;
  getrusage(RUSAGE_SELF, &own), getrusage(RUSAGE_CHILDREN, &children);
#define MS(u) ((u).ru_utime.tv_sec * 1e3 + (u).ru_utime.tv_usec / 1e3 + (u).ru_stime.tv_sec * 1e3 + (u).ru_stime.tv_usec / 1e3)
  dprintf(stdout_copy, "%.2f\n", (MS(own) + MS(children)) / runs);
}
