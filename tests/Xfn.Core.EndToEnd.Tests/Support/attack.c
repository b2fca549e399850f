// Takes as much as it gets of what the kernel shares out among users, or has once for the whole machine. Each argument is NAME=MOST: what to take, and where to stop, so that
// it harms nobody should nothing else stop it. Prints "NAME TAKEN ERROR", holds what it has until its input ends, and ends with everything it took.
// "victim" is what suffers from it: another program of the same user's. "crash" crashes, in several ways.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char block[64 << 10];

// Each takes one more, and returns whether it got it; errno says why not.
static int take_timers(long i) {
  (void)i;
  timer_t timer;
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
  return timer_create(CLOCK_MONOTONIC, &event, &timer) == 0;
}

static int take_signals(long i) {
  if (i == 0) {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, 0);
  }
  union sigval value = {0};
  return sigqueue(getpid(), SIGRTMIN + 5, value) == 0;
}

static int take_inotify(long i) {
  (void)i;
  return inotify_init1(IN_CLOEXEC) >= 0;
}

static int take_watches(long i) {
  static int instance = -1;
  if (i == 0)
    instance = inotify_init1(IN_CLOEXEC);
  char path[64];
  sprintf(path, "/tmp/w%ld", i);
  int file = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  if (file < 0)
    return 0;
  int watched = inotify_add_watch(instance, path, IN_ALL_EVENTS);
  int error = errno;
  close(file);
  unlink(watched < 0 ? path : "");
  errno = error;
  return watched >= 0;
}

static int take_fanotify(long i) {
  (void)i;
  return syscall(SYS_fanotify_init, FAN_CLASS_NOTIF | FAN_REPORT_FID, 0) >= 0;
}

static int take_aio(long i) {
  (void)i;
  unsigned long context = 0;
  return syscall(SYS_io_setup, 1, &context) == 0;
}

// Pages of pipes: what is above the soft limit of a user gets one or two pages.
static int take_pipes(long i) {
  (void)i;
  static int ends[2];
  return pipe2(ends, O_CLOEXEC) == 0 && fcntl(ends[0], F_SETPIPE_SZ, 1 << 20) == 1 << 20;
}

static int take_descriptors(long i) {
  static int pair[2] = {-1, -1}, sent = 0;
  if (i % 200 == 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
    return 0;
  char control[CMSG_SPACE(sizeof(int))] = {0};
  struct iovec data = {.iov_base = block, .iov_len = 1};
  struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  *header = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
  *(int *)CMSG_DATA(header) = sent;
  return sendmsg(pair[0], &message, MSG_NOSIGNAL) == 1;
}

static int take_epoll(long i) {
  static int events[400], set = -1;
  if (i == 0)
    for (int n = 0; n < 400; n++)
      events[n] = eventfd(0, EFD_CLOEXEC);
  if (i % 400 == 0 && (set = epoll_create1(EPOLL_CLOEXEC)) < 0)
    return 0;
  struct epoll_event event = {.events = EPOLLIN};
  return epoll_ctl(set, EPOLL_CTL_ADD, events[i % 400], &event) == 0;
}

static int take_locked(long i) {
  static char *memory;
  if (i == 0)
    memory = mmap(0, 64 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return mlock(memory + 4096 * i, 4096) == 0;
}

static int take_queues(long i) {
  char name[32];
  sprintf(name, "/q%ld", i);
  struct mq_attr attributes = {.mq_maxmsg = 1, .mq_msgsize = 1};
  return mq_open(name, O_CREAT | O_RDWR | O_CLOEXEC, 0600, &attributes) >= 0;
}

static int take_terminals(long i) {
  (void)i;
  return open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC) >= 0;
}

static int take_keys(long i) {
  char name[32];
  sprintf(name, "k%ld", i);
  return syscall(SYS_add_key, "user", name, "x", 1, -3) >= 0;
}

static int take_namespaces(long i) {
  static const int kinds[] = {0x10000000, 0x20000, 0x20000000, 0x08000000, 0x40000000, 0x04000000, 0x02000000, 0x80};
  for (int n = 0; n < 8; n++)
    if (syscall(SYS_unshare, kinds[(i + n) % 8]) == 0)
      return 1;
  return 0;
}

static int take_files(long i) {
  char path[32];
  sprintf(path, "/tmp/f%ld", i);
  int file = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  if (file < 0)
    return 0;
  close(file);
  return 1;
}

static int take_filters(long i) {
  (void)i;
  static struct sock_filter code[2000];
  for (int n = 0; n < 1999; n++)
    code[n] = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, 0x12345);
  code[1999] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0);
  struct sock_fprog program = {.len = 2000, .filter = code};
  int socket_ = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  return socket_ >= 0 && setsockopt(socket_, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0;
}

static int take_seccomp(long i) {
  (void)i;
  static struct sock_filter code[2000];
  for (int n = 0; n < 1999; n++)
    code[n] = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, 0x12345);
  code[1999] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  struct sock_fprog program = {.len = 2000, .filter = code};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
}

static int take_huge(long i) {
  (void)i;
  return syscall(SYS_memfd_create, "huge", MFD_CLOEXEC | 4) >= 0;
}

static int take_locks(long i) {
  static int file = -1;
  char path[32];
  sprintf(path, "/tmp/l%ld", i / 1000);
  if (i % 1000 == 0)
    file = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 2 * i, .l_len = 1};
  return fcntl(file, F_OFD_SETLK, &lock) == 0;
}

static int take_semaphores(long i) {
  (void)i;
  return semget(IPC_PRIVATE, 1000, 0600) >= 0;
}

// Bytes, in pieces of 64 KiB, that wait in connections which nobody reads.
static int take_tcp(long i) {
  static int sender = -1, listener = -1;
  static long bytes = 0;
  for (int refused = 0; refused < 2; refused++) {
    ssize_t sent;
    while (sender >= 0 && (sent = send(sender, block, sizeof block, MSG_DONTWAIT | MSG_NOSIGNAL)) > 0) {
      refused = 0;
      if ((bytes += sent) >= (i + 1) * (long)sizeof block)
        return 1;
    }
    if (sender >= 0 && errno != EAGAIN)
      return 0;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (listener < 0) {
      listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      if (bind(listener, (struct sockaddr *)&address, length) < 0 || listen(listener, 100) < 0)
        return 0;
    }
    getsockname(listener, (struct sockaddr *)&address, &length);
    sender = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int four = 4 << 20;
    setsockopt(sender, SOL_SOCKET, SO_SNDBUF, &four, sizeof four);
    if (sender < 0 || connect(sender, (struct sockaddr *)&address, length) < 0)
      return 0;
    if (accept(listener, 0, 0) < 0)
      return 0;
  }
  return 0;
}

// Likewise in sockets of the container's own.
static int take_unix(long i) {
  static int pair[2] = {-1, -1};
  static long bytes = 0;
  while (bytes < (i + 1) * (long)sizeof block) {
    ssize_t sent = pair[0] < 0 ? -1 : send(pair[0], block, sizeof block, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0)
      bytes += sent;
    else if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
      return 0;
    else
      setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &(int){4 << 20}, sizeof(int));
  }
  return 1;
}

static const struct {
  const char *name;
  int (*take)(long);
} kinds[] = {
    {"timers", take_timers}, {"signals", take_signals}, {"inotify", take_inotify}, {"watches", take_watches},
    {"fanotify", take_fanotify}, {"aio", take_aio}, {"pipes", take_pipes}, {"descriptors", take_descriptors},
    {"epoll", take_epoll}, {"locked", take_locked}, {"queues", take_queues}, {"terminals", take_terminals},
    {"keys", take_keys}, {"namespaces", take_namespaces}, {"files", take_files}, {"filters", take_filters},
    {"seccomp", take_seccomp}, {"huge", take_huge}, {"locks", take_locks}, {"semaphores", take_semaphores},
    {"tcp", take_tcp}, {"unix", take_unix},
};

// In a process of its own: descriptors that one kind takes are not missing to the next.
static void attack(const char *name, long most, int *done, int *held) {
  for (unsigned k = 0; k < sizeof kinds / sizeof *kinds; k++) {
    if (strcmp(kinds[k].name, name) != 0)
      continue;
    fflush(stdout);
    if (fork() != 0)
      return;
    close(done[0]);
    close(held[1]);
    long taken = 0;
    errno = 0;
    while (taken < most && kinds[k].take(taken))
      taken++;
    printf("%s %ld %s\n", name, taken, taken == most ? "-" : strerrorname_np(errno));
    fflush(stdout);
    close(done[1]);
    char end;
    while (read(held[0], &end, 1) < 0 && errno == EINTR) {
    }
    _exit(0);
  }
}

static long worker_uid = -1;
static pthread_barrier_t barrier;

static void *worker(void *unused) {
  pthread_barrier_wait(&barrier);
  pthread_barrier_wait(&barrier);
  worker_uid = syscall(SYS_geteuid);
  return unused;
}

// What a program does that gives its rights up, beside an attack: the C library tells its other threads to do so by a signal.
static int victim(unsigned uid, unsigned long signals, int instances) {
  // Less than the attacker stops at, more than it is to have.
  struct rlimit limit = {.rlim_cur = signals, .rlim_max = signals};
  if (setrlimit(RLIMIT_SIGPENDING, &limit) < 0)
    return 2;
  union sigval value = {0};
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, SIGRTMIN + 7);
  sigprocmask(SIG_BLOCK, &one, 0);
  printf("signal %s\n", sigqueue(getpid(), SIGRTMIN + 7, value) == 0 ? "sent" : strerrorname_np(errno));
  pthread_t thread;
  pthread_barrier_init(&barrier, 0, 2);
  pthread_create(&thread, 0, worker, 0);
  pthread_barrier_wait(&barrier);
  if (setresuid(uid, uid, uid) < 0)
    return 3;
  pthread_barrier_wait(&barrier);
  pthread_join(thread, 0);
  printf("worker %s\n", worker_uid == (long)uid ? "changed" : "kept its user");
  while (instances > 0 && inotify_init1(0) >= 0)
    instances--;
  printf("inotify %s\n", instances == 0 ? "made" : strerrorname_np(errno));
  return 0;
}

static void set_core_limit(pid_t process, long high, unsigned long soft, unsigned long hard) {
  unsigned long limit[2] = {soft, hard};
  syscall(SYS_prlimit64, process, high | RLIMIT_CORE, limit, 0, 0, 0);
}

// Crashes in every way in which a program might bring the machine to start its handler of core dumps: each a child, which the handler is told of by its name.
static int crash(const char *who) {
  static const char *const ways[] = {"as-it-is", "setrlimit", "prlimit", "prlimit-high", "soft-only", "unlimited", "by-parent", "other-table"};
  for (unsigned way = 0; way < sizeof ways / sizeof *ways; way++) {
    char name[16];
    snprintf(name, sizeof name, "%s-%u", who, way);
    int go[2], status = 0;
    if (pipe2(go, O_CLOEXEC) < 0)
      return 2;
    pid_t child = fork();
    if (child == 0) {
      char start;
      close(go[1]);
      read(go[0], &start, 1);
      prctl(PR_SET_NAME, name, 0, 0, 0);
      unsigned long none[2] = {0, 0};
      if (way == 1)
        syscall(SYS_setrlimit, RLIMIT_CORE, none);
      if (way == 2)
        set_core_limit(0, 0, 0, 0);
      if (way == 3)
        set_core_limit(0, 1L << 32, 0, 0);
      if (way == 4)
        set_core_limit(0, 0, 0, 1);
      if (way == 5)
        set_core_limit(0, 0, RLIM_INFINITY, RLIM_INFINITY);
#ifdef __x86_64__
      if (way == 7)
        __asm__ volatile("int $0x80" : : "a"(75L), "b"(RLIMIT_CORE), "c"(0L) : "memory");
#endif
      abort();
    }
    if (way == 6)
      set_core_limit(child, 0, 0, 0);
    close(go[1]);
    close(go[0]);
    if (waitpid(child, &status, 0) != child)
      return 3;
    printf("%s %s %s\n", name, ways[way], !WIFSIGNALED(status) ? "lives" : WCOREDUMP(status) ? "dumped" : "ended");
  }
  return 0;
}

int main(int count, char **arguments) {
  if (count == 3 && strcmp(arguments[1], "crash") == 0)
    return crash(arguments[2]);
  if (count == 5 && strcmp(arguments[1], "victim") == 0)
    return victim(atoi(arguments[2]), strtoul(arguments[3], 0, 10), atoi(arguments[4]));
  int done[2], held[2];
  if (pipe2(done, O_CLOEXEC) < 0 || pipe2(held, O_CLOEXEC) < 0)
    return 1;
  for (int i = 1; i < count; i++) {
    char *most = strchr(arguments[i], '=');
    *most = 0;
    attack(arguments[i], strtol(most + 1, 0, 10), done, held);
  }
  close(done[1]);
  close(held[0]);
  char end;
  while (read(done[0], &end, 1) < 0 && errno == EINTR) {
  }
  puts("held");
  fflush(stdout);
  while (read(0, &end, 1) < 0 && errno == EINTR) {
  }
  close(held[1]);
  while (wait(0) > 0) {
  }
  return 0;
}
