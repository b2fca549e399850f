/* For eng/musl-tests.sh: what Debian's libstdc++, libgcc_s and OpenSSL want of glibc and musl lacks. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

char __libc_single_threaded = 0;

/* Destructors of thread-local objects do not run. */
int __cxa_thread_atexit_impl(void (*destructor)(void *), void *object, void *library)
{
  return 0;
}

size_t __strftime_l(char *text, size_t size, const char *format, const struct tm *time, void *locale)
{
  return strftime(text, size, format, time);
}

unsigned arc4random(void)
{
  unsigned value = 0;
  (void)getrandom(&value, sizeof value, 0);
  return value;
}

struct search {
  char *address;
  struct dl_find_object *found;
};

static int look(struct dl_phdr_info *object, size_t size, void *data)
{
  struct search *search = data;
  char *frames = 0, *start = 0, *end = 0;
  for (int i = 0; i < object->dlpi_phnum; i++) {
    char *at = (char *)object->dlpi_addr + object->dlpi_phdr[i].p_vaddr;
    if (object->dlpi_phdr[i].p_type == PT_GNU_EH_FRAME)
      frames = at;
    if (object->dlpi_phdr[i].p_type == PT_LOAD && search->address >= at && search->address < at + object->dlpi_phdr[i].p_memsz)
      start = at, end = at + object->dlpi_phdr[i].p_memsz;
  }
  if (!start || !frames)
    return 0;
  *search->found = (struct dl_find_object){.dlfo_map_start = start, .dlfo_map_end = end, .dlfo_eh_frame = frames};
  return 1;
}

int _dl_find_object(void *address, struct dl_find_object *found)
{
  struct search search = {address, found};
  return dl_iterate_phdr(look, &search) ? 0 : -1;
}

/* libgcc_s has these under an old version only, which musl does not look for. */
unsigned __cpu_model[4];

int __cpu_indicator_init(void)
{
  return 0;
}

/* The checks of buffers' sizes, without the checks. */
long __fdelt_chk(long descriptor)
{
  return descriptor / (long)(8 * sizeof(long));
}

void *__memcpy_chk(void *to, const void *from, size_t size, size_t room)
{
  return memcpy(to, from, size);
}

void *__memset_chk(void *to, int value, size_t size, size_t room)
{
  return memset(to, value, size);
}

char *__strcat_chk(char *to, const char *from, size_t room)
{
  return strcat(to, from);
}

int __vfprintf_chk(FILE *file, int flag, const char *format, va_list values)
{
  return vfprintf(file, format, values);
}

int __fprintf_chk(FILE *file, int flag, const char *format, ...)
{
  va_list values;
  va_start(values, format);
  int written = vfprintf(file, format, values);
  va_end(values);
  return written;
}

int __sprintf_chk(char *text, int flag, size_t room, const char *format, ...)
{
  va_list values;
  va_start(values, format);
  int written = vsprintf(text, format, values);
  va_end(values);
  return written;
}

void __syslog_chk(int priority, int flag, const char *format, ...)
{
  va_list values;
  va_start(values, format);
  vsyslog(priority, format, values);
  va_end(values);
}

/* OpenSSL's asynchronous jobs, which nobody starts here. */
int getcontext(void *context)
{
  return -1;
}

int setcontext(const void *context)
{
  return -1;
}

void makecontext(void *context, void (*function)(void), int count, ...)
{
}

/* musl has this since 1.2.5, as in Alpine 3.20; Debian 12 has musl 1.2.3. */
int statx(int directory, const char *path, int flags, unsigned mask, void *status)
{
  return (int)syscall(SYS_statx, directory, path, flags, mask, status);
}
