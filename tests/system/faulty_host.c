/* LD_PRELOAD: a machine whose clock is set, that was suspended and whose disk fails on command, for tests of whole
   programs.

   MAILOTP_FAULTS is a folder. Its file `clock` holds the seconds by which CLOCK_REALTIME is off, `suspended` those
   of a suspend, which CLOCK_REALTIME and CLOCK_BOOTTIME count. Its file `disk` says what happens below
   MAILOTP_FAULTS_BELOW:
     full N   ENOSPC: files may grow by N bytes in all, and by what has been given back
     write E  writes, truncations and allocations fail with the error number E
     sync E   fsync and fdatasync fail with E
     hang     fsync and fdatasync come back when the file says something else
   The files are read at each call, so a test changes its mind while the daemon runs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) (__extension__(__typeof__(&name))dlsym(RTLD_NEXT, #name))

static pthread_mutex_t room_mutex = PTHREAD_MUTEX_INITIALIZER;
static long long room; /* what files may still grow by */
static char room_of[64]; /* the command that `room` belongs to */

/* Its first line, or an empty one. Without stdio and malloc: this is called from everywhere. */
static void command(const char* name, char* text, size_t size) {
  char path[PATH_MAX];
  const char* folder = getenv("MAILOTP_FAULTS");
  text[0] = '\0';
  if (folder == NULL || snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path) return;
  const int saved = errno;
  const int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
  if (fd >= 0) {
    const ssize_t got = read(fd, text, size - 1);
    text[got > 0 ? got : 0] = '\0';
    close(fd);
  }
  errno = saved;
}

static int is_below_path(const char* path) {
  const char* below = getenv("MAILOTP_FAULTS_BELOW");
  return below != NULL && strncmp(path, below, strlen(below)) == 0;
}

static int is_below(int fd) {
  char link[64];
  char path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t size = readlink(link, path, sizeof path - 1);
  if (size <= 0) return 0;
  path[size] = '\0';
  return is_below_path(path);
}

/* Zero, or the error of an operation that makes the file grow by so many bytes (less than none: gives back). */
static int fault_of_write(long long growth) {
  char text[64];
  int error = 0;
  command("disk", text, sizeof text);
  if (sscanf(text, "write %d", &error) == 1) return error;
  if (strncmp(text, "full ", 5) != 0) return 0;
  pthread_mutex_lock(&room_mutex);
  if (strcmp(text, room_of) != 0) {
    strcpy(room_of, text);
    room = atoll(text + 5);
  }
  if (growth <= 0 || growth <= room) {
    room -= growth;
  } else {
    error = ENOSPC;
  }
  pthread_mutex_unlock(&room_mutex);
  return error;
}

static long long size_of(int fd) {
  struct stat status;
  return fstat(fd, &status) == 0 ? (long long)status.st_size : 0;
}

static long long beyond(long long end, long long size) {
  return end > size ? end - size : 0;
}

#define FAIL_IF(fault)    \
  do {                    \
    const int e = (fault); \
    if (e != 0) {         \
      errno = e;          \
      return -1;          \
    }                     \
  } while (0)

ssize_t pwrite64(int fd, const void* bytes, size_t size, off64_t at) {
  if (is_below(fd)) FAIL_IF(fault_of_write(beyond((long long)at + (long long)size, size_of(fd))));
  return REAL(pwrite64)(fd, bytes, size, at);
}

ssize_t pwrite(int fd, const void* bytes, size_t size, off_t at) {
  return pwrite64(fd, bytes, size, at);
}

int ftruncate64(int fd, off64_t size) {
  if (is_below(fd)) FAIL_IF(fault_of_write((long long)size - size_of(fd)));
  return REAL(ftruncate64)(fd, size);
}

int ftruncate(int fd, off_t size) {
  return ftruncate64(fd, size);
}

int truncate(const char* path, off_t size) {
  struct stat status;
  if (is_below_path(path) && stat(path, &status) == 0)
    FAIL_IF(fault_of_write((long long)size - (long long)status.st_size));
  return REAL(truncate)(path, size);
}

int fallocate64(int fd, int mode, off64_t at, off64_t size) {
  if (is_below(fd)) FAIL_IF(fault_of_write(beyond((long long)at + (long long)size, size_of(fd))));
  return REAL(fallocate64)(fd, mode, at, size);
}

int fallocate(int fd, int mode, off_t at, off_t size) {
  return fallocate64(fd, mode, at, size);
}

static int fault_of_sync(int fd) {
  char text[64];
  int error = 0;
  if (!is_below(fd)) return 0;
  command("disk", text, sizeof text);
  while (strncmp(text, "hang", 4) == 0) {
    usleep(10000);
    command("disk", text, sizeof text);
  }
  return sscanf(text, "sync %d", &error) == 1 ? error : 0;
}

int fsync(int fd) {
  FAIL_IF(fault_of_sync(fd));
  return REAL(fsync)(fd);
}

int fdatasync(int fd) {
  FAIL_IF(fault_of_sync(fd));
  return REAL(fdatasync)(fd);
}

int clock_gettime(clockid_t which, struct timespec* now) {
  char text[64];
  const int code = (int)syscall(SYS_clock_gettime, which, now);
  if (code != 0 || (which != CLOCK_REALTIME && which != CLOCK_BOOTTIME)) return code;
  command("suspended", text, sizeof text);
  now->tv_sec += atoll(text);
  if (which == CLOCK_BOOTTIME) return 0;
  command("clock", text, sizeof text);
  now->tv_sec += atoll(text);
  return 0;
}
