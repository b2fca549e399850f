// Tells what a process can learn of its container that no shell can ask for, one thing a line. Each argument is a path that it tries to open for writing.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/ioprio.h>
#include <mqueue.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

static void tell(const char *name, long result) {
  if (result < 0)
    printf("%s: error %d\n", name, errno);
  else
    printf("%s: %ld\n", name, result);
}

static void tell_open(const char *path, int flags) {
  int file = open(path, flags | O_NONBLOCK | O_CLOEXEC);
  printf("open %s %s: %s\n", path, flags == O_RDONLY ? "r" : "w", file < 0 ? strerror(errno) : "done");
  close(file);
}

static void tell_process(void) {
  tell("securebits", prctl(PR_GET_SECUREBITS));
  tell("keepcaps", prctl(PR_GET_KEEPCAPS));
  tell("dumpable", prctl(PR_GET_DUMPABLE));
  int value = -1;
  prctl(PR_GET_CHILD_SUBREAPER, &value);
  tell("subreaper", value);
  prctl(PR_GET_PDEATHSIG, &value);
  tell("death signal", value);
  tell("timer slack", prctl(PR_GET_TIMERSLACK));
  tell("huge pages", prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
  tell("store bypass", prctl(PR_GET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, 0, 0, 0));
  tell("indirect branch", prctl(PR_GET_SPECULATION_CTRL, PR_SPEC_INDIRECT_BRANCH, 0, 0, 0));
  tell("time stamp counter", prctl(PR_GET_TSC, &value) < 0 ? -1 : value);
  tell("io flusher", prctl(58, 0, 0, 0, 0));
  tell("personality", syscall(SYS_personality, 0xffffffff));
  tell("scheduler", sched_getscheduler(0));
  tell("priority", 20 - getpriority(PRIO_PROCESS, 0));
  tell("io priority", syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0));
  tell("session keyring", syscall(SYS_keyctl, 0, -3, 0));
  tell("secure", getauxval(AT_SECURE));
  tell("parent", getppid());
  tell("session of the first", getsid(1));
  tell("group of the first", getpgid(1));
  tell("terminal", tcgetpgrp(0));
  stack_t stack = {0};
  tell("alternate stack", sigaltstack(0, &stack) < 0 ? -1 : stack.ss_flags);
  cpu_set_t processors;
  tell("processors", sched_getaffinity(0, sizeof processors, &processors) < 0 ? -1 : CPU_COUNT(&processors));
  struct utsname name;
  uname(&name);
  printf("node %s domain %s\n", name.nodename, name.domainname);
}

static void tell_descriptors(void) {
  for (int fd = 0; fd < 1024; fd++) {
    struct stat status;
    if (fstat(fd, &status) < 0)
      continue;
    printf("descriptor %d: mode %o, of %d:%d, flags %o, %o, %d bytes\n", fd, status.st_mode, status.st_uid, status.st_gid, fcntl(fd, F_GETFL), fcntl(fd, F_GETFD), fcntl(fd, F_GETPIPE_SZ));
  }
}

static void tell_networks(void) {
  int socket_ = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  struct if_nameindex *all = if_nameindex();
  for (struct if_nameindex *one = all; one && one->if_index; one++) {
    struct ifreq request = {0};
    strncpy(request.ifr_name, one->if_name, IFNAMSIZ - 1);
    printf("interface %u %s:", one->if_index, one->if_name);
    if (ioctl(socket_, SIOCGIFFLAGS, &request) == 0)
      printf(" flags %x", (unsigned short)request.ifr_flags);
    if (ioctl(socket_, SIOCGIFMTU, &request) == 0)
      printf(" mtu %d", request.ifr_mtu);
    puts(ioctl(socket_, SIOCGIFADDR, &request) == 0 ? " address" : "");
  }
  close(socket_);
}

// How much there is of what the container has for itself, and how much of it is taken.
static void tell_memory(void) {
  const char *points[] = {"/dev", "/dev/shm", "/tmp", "/sys"};
  for (int i = 0; i < 4; i++) {
    struct statfs status;
    if (statfs(points[i], &status) < 0)
      tell(points[i], -1);
    else
      printf("%s: type %lx, blocks %ld-%ld of %ld, files %ld-%ld\n", points[i], (long)status.f_type, (long)status.f_blocks, (long)status.f_bfree, (long)status.f_bsize,
        (long)status.f_files, (long)status.f_ffree);
  }
}

static int tell_file(const char *path, const struct stat *status, int kind, struct FTW *place) {
  (void)place;
  int file = kind == FTW_F && S_ISREG(status->st_mode) ? open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC) : -1;
  if (file >= 0)
    printf("writable: %s\n", path);
  close(file);
  return 0;
}

// Which files of a mount can be written. None can where it is read-only: then no file is tried, and /sys has thousands.
static void tell_writable(const char *path) {
  struct statvfs status;
  if (statvfs(path, &status) < 0)
    tell(path, -1);
  else if (status.f_flag & ST_RDONLY)
    printf("read-only: %s\n", path);
  else
    nftw(path, tell_file, 16, FTW_PHYS | FTW_MOUNT);
}

// The same of each mount below a directory.
static void tell_writable_below(const char *directory) {
  FILE *mounts = fopen("/proc/self/mountinfo", "re");
  char line[4096], path[4096];
  size_t length = strlen(directory);
  while (mounts && fgets(line, sizeof line, mounts))
    if (sscanf(line, "%*s %*s %*s %*s %4095s", path) == 1 && strncmp(path, directory, length) == 0 && path[length] == '/')
      tell_writable(path);
  if (mounts)
    fclose(mounts);
}

static void tell_terminals(void) {
  int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  char path[64];
  struct stat status;
  tell("a terminal", terminal < 0 ? -1 : 0);
  if (terminal >= 0 && ptsname_r(terminal, path, sizeof path) == 0 && stat(path, &status) == 0)
    printf("%s: mode %o, of %d:%d\n", path, status.st_mode, status.st_uid, status.st_gid);
  close(terminal);
  struct mq_attr attributes = {.mq_maxmsg = 1, .mq_msgsize = 1};
  mqd_t queue = mq_open("/probe", O_CREAT | O_RDWR, 0600, &attributes);
  tell("a queue", queue < 0 ? -1 : 0);
}

int main(int count, char **arguments) {
  setvbuf(stdout, 0, _IOLBF, 0);
  tell_process();
  tell_descriptors();
  tell_networks();
  tell_memory();
  tell_terminals();
  const char *directories[] = {"/proc/sys", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/asound", "/sys"};
  for (int i = 0; i < 6; i++) {
    tell_writable(directories[i]);
    tell_writable_below(directories[i]);
  }
  for (int i = 1; i < count; i++) {
    tell_open(arguments[i], O_RDONLY);
    tell_open(arguments[i], O_WRONLY);
  }
  return 0;
}
