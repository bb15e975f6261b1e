/* Loaded before a program (LD_PRELOAD): the file FAULT_FILE ends at byte FAULT_AT once it is mapped, and reading beyond
   fails with EIO.
   SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
static long limit(int fd) {
  char name[64], path[4096];
  const char *wanted = getenv("FAULT_FILE");
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  ssize_t length = fd < 0 || !wanted ? -1 : readlink(name, path, sizeof path - 1);
  if (length < 0)
    return -1;
  path[length] = 0;
  return strcmp(path, wanted) ? -1 : atol(getenv("FAULT_AT"));
}
void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset) {
  void *(*real)(void *, size_t, int, int, int, off_t) = dlsym(RTLD_NEXT, "mmap");
  void *result = real(at, size, protection, flags, fd, offset);
  if (limit(fd) >= 0 && truncate(getenv("FAULT_FILE"), limit(fd)))
    abort();
  return result;
}
void *mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset) { return mmap(at, size, protection, flags, fd, offset); }
static ssize_t cut(int fd, long at, ssize_t size) {
  long end = limit(fd);
  if (end < 0 || at + size <= end)
    return size;
  errno = EIO;
  return at < end ? end - at : -1;
}
ssize_t read(int fd, void *to, size_t size) {
  ssize_t (*real)(int, void *, size_t) = dlsym(RTLD_NEXT, "read");
  ssize_t allowed = cut(fd, lseek(fd, 0, SEEK_CUR), size);
  return allowed < 0 ? -1 : real(fd, to, allowed);
}
ssize_t pread(int fd, void *to, size_t size, off_t at) {
  ssize_t (*real)(int, void *, size_t, off_t) = dlsym(RTLD_NEXT, "pread");
  ssize_t allowed = cut(fd, at, size);
  return allowed < 0 ? -1 : real(fd, to, allowed, at);
}
ssize_t pread64(int fd, void *to, size_t size, off_t at) { return pread(fd, to, size, at); }
