// Looks at every other process of its PID namespace as long as "/tmp/stop" is not there: opens what /proc has of it, and tells each thing that is none of this container's: a program that is not
// "/bin/busybox" or this one, memory of another program, a descriptor above 2, a root or a directory that is elsewhere. Then prints "looked N denied M" and waits.
// "change" waits for a process that executes what is none of this container's, opens that, and tells whether it could change its mode or open it for writing.
// "sibling" makes a child that is its parent's (CLONE_PARENT), which sleeps, and ends.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static long looked, denied;
static struct stat own, busybox;

static void look_at_link(const char *process, const char *name, const char *expected) {
  char path[64], target[512];
  snprintf(path, sizeof path, "/proc/%s/%s", process, name);
  ssize_t length = readlink(path, target, sizeof target - 1);
  looked++;
  if (length < 0) {
    denied += errno == EACCES;
    return;
  }
  target[length] = 0;
  if (strcmp(target, expected))
    printf("leak %s %s\n", path, target);
}

static int is_foreign(int file) {
  struct stat found;
  return fstat(file, &found) == 0 && !(found.st_ino == own.st_ino && found.st_dev == own.st_dev) && !(found.st_ino == busybox.st_ino && found.st_dev == busybox.st_dev);
}

static int maps_spark(const char *process) {
  char path[64], text[4096];
  snprintf(path, sizeof path, "/proc/%s/maps", process);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t length = file < 0 ? 0 : read(file, text, sizeof text - 1);
  close(file);
  text[length < 0 ? 0 : length] = 0;
  return strstr(text, "spark") != 0;
}

static void look_at(const char *process) {
  char path[64], text[4096];
  look_at_link(process, "root", "/");
  look_at_link(process, "cwd", "/");

  snprintf(path, sizeof path, "/proc/%s/exe", process);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  looked++;
  denied += file < 0 && errno == EACCES;
  if (file >= 0 && is_foreign(file))
    printf("leak %s\n", path);
  close(file);

  // Both are of what it executes just then; what is mapped tells what that is.
  snprintf(path, sizeof path, "/proc/%s/mem", process);
  file = open(path, O_RDWR | O_CLOEXEC);
  looked++;
  denied += file < 0 && errno == EACCES;
  if (maps_spark(process))
    printf("leak /proc/%s/maps%s\n", process, file < 0 ? "" : " and mem");
  close(file);

  snprintf(path, sizeof path, "/proc/%s/fd", process);
  DIR *descriptors = opendir(path);
  looked++;
  denied += !descriptors && errno == EACCES;
  for (struct dirent *one; descriptors && (one = readdir(descriptors));) {
    if (one->d_name[0] != '.' && atoi(one->d_name) > 2 && strcmp(process, "1")) {
      ssize_t target = readlinkat(dirfd(descriptors), one->d_name, text, sizeof text - 1);
      text[target < 0 ? 0 : target] = 0;
      // busybox opens files of its own.
      if (target > 0 && text[0] != '/' && strncmp(text, "pipe:", 5))
        printf("leak %s/%s %s\n", path, one->d_name, text);
    }
  }
  if (descriptors)
    closedir(descriptors);
}

// What a process executes is opened in place of its name, and on whichever mount the process found it. The first process
// of a prepared container executes the gate until it is released, a file that this container alone has.
static void change(const char *process) {
  char path[64];
  struct stat found;
  if (!strcmp(process, "1"))
    return;
  snprintf(path, sizeof path, "/proc/%s/exe", process);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file >= 0 && is_foreign(file) && fstat(file, &found) == 0) {
    int changed = fchmod(file, found.st_mode) == 0 ? 0 : errno;
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    int again = open(path, O_RDWR | O_CLOEXEC) >= 0 ? 0 : errno;
    printf("mode: %s, writing: %s\n", strerror(changed), strerror(again));
    fflush(stdout);
    exit(0);
  }
  close(file);
}

int main(int count, char **arguments) {
  if (count > 1 && !strcmp(arguments[1], "sibling")) {
    if (syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0) == 0) {
      puts("made");
      fflush(stdout);
      sleep(1000);
    }
    return 0;
  }

  char self[16];
  snprintf(self, sizeof self, "%d", getpid());
  stat("/proc/self/exe", &own);
  stat("/bin/busybox", &busybox);
  void (*look)(const char *) = count > 1 ? change : look_at;
  while (access("/tmp/stop", F_OK)) {
    DIR *processes = opendir("/proc");
    for (struct dirent *one; (one = readdir(processes));) {
      if (one->d_name[0] > '0' && one->d_name[0] <= '9' && strcmp(one->d_name, self))
        look(one->d_name);
    }
    closedir(processes);
  }
  printf("looked %ld denied %ld\n", looked, denied);
  fflush(stdout);
  return 0;
}
