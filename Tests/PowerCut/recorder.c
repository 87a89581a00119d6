/*
 * The power-cut recorder: preloaded into the daemon, it logs in one order what reaches the files of the
 * spool and what passes over the sockets to broker and upstream, and can make the files fail. The replayer
 * (Tests/EndToEndTests/PowerCut) rebuilds from that record what a disk may hold after a power cut.
 *
 *   cc -shared -fPIC -O2 -Wall -Wextra -Werror -o recorder.so recorder.c
 *
 *   POWERCUT_LOG        the record, appended; outside the spool
 *   POWERCUT_FOLDER     the spool, absolute and without links
 *   POWERCUT_PORTS      the TCP ports of the broker and of the upstream, as 1883,8080
 *   POWERCUT_FAULTS     a file of 4096 bytes that says which calls fail (faults.h); may change any time
 *   POWERCUT_SWALLOW_SYNC=1      fsync and fdatasync succeed, do nothing and are not logged
 *   POWERCUT_SYNCHRONOUS=OFF     what 'PRAGMA synchronous = FULL' sets instead, behind the daemon's back
 *   POWERCUT_IDENTITY=name=device:inode   what stat(2) says of a file that was rebuilt from a record
 *
 * Every call that changes a file, and every send, is logged twice: before it is made (the bytes may be
 * on their way from then on) and after it, with its result. A kill between the two leaves a call whose
 * effect is open, which the replayer settles. One record is one write(2) to a file opened with O_APPEND,
 * so the order in the file is the order of the calls, across threads, and a killed daemon loses none.
 *
 * Calls are made with syscall(2), so that nothing here enters itself.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "faults.h"
#include "record.h"

enum { DESCRIPTORS = 65536, PIECES = 64 };
enum watch { NOT_WATCHED, WATCHED_FILE, WATCHED_SOCKET };

static _Atomic unsigned char watched[DESCRIPTORS];
/* Paths below the spool, by descriptor; never freed, for another thread may be reading them. */
static const char *_Atomic names[DESCRIPTORS];
static char folder[PATH_MAX], parent[PATH_MAX];
static int record_file = -1, ports[2];
static int swallow_sync;
static const char *synchronous;
static atomic_uint_fast64_t calls;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void start(void);
static void ready(void) { pthread_once(&once, start); }

static void fail(const char *what) {
  dprintf(2, "recorder: %s\n", what);
  _exit(97);
}

/* ---- The record ---- */

static void append(struct record *head, const char *path, const struct iovec *pieces, int count, size_t bytes) {
  struct iovec out[PIECES + 2];
  int used = 0;
  static _Thread_local int thread;
  if (record_file < 0) return;
  if (count > PIECES) fail("a call with too many pieces");
  if (!thread) thread = (int)syscall(SYS_gettid);
  head->magic = RECORD_MAGIC;
  head->thread = thread;
  head->process = (uint32_t)getpid();
  head->data = (uint32_t)bytes;
  out[used++] = (struct iovec){head, sizeof *head};
  if (head->path) out[used++] = (struct iovec){(void *)(uintptr_t)path, head->path};
  size_t left = bytes;
  for (int i = 0; i < count && left; i++) {
    size_t part = pieces[i].iov_len < left ? pieces[i].iov_len : left;
    if (part) out[used++] = (struct iovec){pieces[i].iov_base, part};
    left -= part;
  }
  head->length = (uint32_t)(sizeof *head + head->path + bytes);
  int saved = errno;
  if (syscall(SYS_writev, record_file, out, used) != (long)head->length) fail("cannot write the record");
  errno = saved;
}

static struct record begin(int kind, int file, int64_t a, int64_t b) {
  return (struct record){.kind = (uint8_t)kind, .file = file, .a = a, .b = b, .call = atomic_fetch_add(&calls, 1) + 1};
}

static void finish(struct record *head, long result) {
  head->phase = PHASE_END;
  head->path = 0;
  head->result = result;
  head->error = result < 0 ? errno : 0;
  append(head, NULL, NULL, 0, 0);
}

/* ---- What is watched ---- */

static int is(int file, enum watch what) {
  return file >= 0 && file < DESCRIPTORS && atomic_load_explicit(&watched[file], memory_order_acquire) == what;
}

static void watch(int file, enum watch what, const char *name) {
  if (file >= DESCRIPTORS) fail("too many descriptors");
  atomic_store(&names[file], name ? strdup(name) : NULL);
  atomic_store_explicit(&watched[file], (unsigned char)what, memory_order_release);
}

/* The path below the spool ("" the spool itself, ".." the folder that holds it); NULL for all others. */
static const char *inside(int directory, const char *path, char *full) {
  ready();
  if (record_file < 0 && !faults_page()) return NULL;
  if (!path) return NULL;
  if (path[0] == '/') {
    snprintf(full, PATH_MAX, "%s", path);
  } else {
    char base[PATH_MAX / 2], link[64];
    if (directory == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
    else snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
    ssize_t length = readlink(link, base, sizeof base - 1);
    if (length < 0) return NULL;
    base[length] = 0;
    snprintf(full, PATH_MAX, "%s/%s", base, path);
  }
  size_t own = strlen(folder);
  if (strncmp(full, folder, own) == 0) {
    if (full[own] == '/') return full + own + 1;
    if (full[own] == 0) return full + own;
  }
  return strcmp(full, parent) == 0 ? ".." : NULL;
}

__attribute__((constructor)) static void constructed(void) { ready(); }

static void start(void) {
  const char *log = getenv("POWERCUT_LOG"), *at = getenv("POWERCUT_FOLDER");
  const char *peers = getenv("POWERCUT_PORTS"), *faults = getenv("POWERCUT_FAULTS");
  snprintf(folder, sizeof folder, "%s", at ? at : "");
  snprintf(parent, sizeof parent, "%s", folder);
  char *slash = strrchr(parent, '/');
  if (slash) *slash = 0;
  if (peers) sscanf(peers, "%d,%d", &ports[0], &ports[1]);
  swallow_sync = getenv("POWERCUT_SWALLOW_SYNC") != NULL;
  synchronous = getenv("POWERCUT_SYNCHRONOUS");
  if (faults && *folder) faults_open(faults);
  if (!log || !*folder) return;
  int file = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (file < 0) fail("cannot open the record");
  /* Out of the way of programs that expect low numbers. */
  record_file = (int)syscall(SYS_fcntl, file, F_DUPFD_CLOEXEC, 900);
  syscall(SYS_close, file);
  if (record_file < 0) fail("cannot keep the record open");
  struct record head = begin(RECORD_START, -1, 0, 0);
  finish(&head, 0);
}

/* ---- Opening and closing ---- */

static int opened(int directory, const char *path, int flags, mode_t mode) {
  char full[PATH_MAX];
  const char *name = inside(directory, path, full);
  if (!name) return (int)syscall(SYS_openat, directory, path, flags, mode);
  int existed = syscall(SYS_faccessat, AT_FDCWD, full, F_OK) == 0;
  int error = fault(CALL_OPEN, name);
  if (error) {
    errno = error;
    return -1;
  }
  struct record head = begin(RECORD_OPEN, -1, flags, !existed);
  head.path = (uint16_t)strlen(name);
  append(&head, name, NULL, 0, 0);
  int file = (int)syscall(SYS_openat, directory, path, flags, mode);
  struct stat info = {0};
  int saved = errno;
  if (file >= 0) {
    watch(file, WATCHED_FILE, name);
    syscall(SYS_newfstatat, file, "", &info, AT_EMPTY_PATH);
  }
  uint64_t identity[2] = {info.st_dev, info.st_ino};
  struct iovec piece = {identity, sizeof identity};
  head.phase = PHASE_END;
  head.result = file;
  head.file = file;
  head.error = file < 0 ? saved : 0;
  append(&head, name, &piece, 1, sizeof identity);
  errno = saved;
  return file;
}

#define MODE_OF(flags)                                   \
  mode_t mode = 0;                                       \
  if ((flags) & (O_CREAT | O_TMPFILE)) {                 \
    va_list list;                                        \
    va_start(list, flags);                               \
    mode = va_arg(list, mode_t);                         \
    va_end(list);                                        \
  }

int open(const char *path, int flags, ...) { MODE_OF(flags) return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE_OF(flags) return opened(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE_OF(flags) return opened(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE_OF(flags) return opened(at, path, flags, mode); }
int creat(const char *path, mode_t mode) { return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }
int __open_2(const char *path, int flags) { return opened(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return opened(AT_FDCWD, path, flags, 0); }

int close(int file) {
  if (file == record_file && file >= 0) return 0;
  if (is(file, WATCHED_FILE) || is(file, WATCHED_SOCKET)) {
    /* Before the call: afterwards the number may already be another file's. */
    struct record head = begin(RECORD_CLOSE, file, 0, 0);
    watch(file, NOT_WATCHED, NULL);
    finish(&head, 0);
  }
  return (int)syscall(SYS_close, file);
}

static int duplicated(int from, int to) {
  if (to < 0 || (!is(from, WATCHED_FILE) && !is(from, WATCHED_SOCKET))) return to;
  watch(to, atomic_load(&watched[from]), atomic_load(&names[from]));
  struct record head = begin(RECORD_DUP, from, to, 0);
  finish(&head, to);
  return to;
}

int dup(int file) { return duplicated(file, (int)syscall(SYS_dup, file)); }
int dup3(int file, int to, int flags) { return duplicated(file, (int)syscall(SYS_dup3, file, to, flags)); }
int dup2(int file, int to) { return file == to ? to : dup3(file, to, 0); }

static int controlled(int file, int command, void *argument) {
  int result = (int)syscall(SYS_fcntl, file, command, argument);
  return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? duplicated(file, result) : result;
}

#define ARGUMENT_OF(command)           \
  va_list list;                        \
  va_start(list, command);             \
  void *argument = va_arg(list, void *); \
  va_end(list);

int fcntl(int file, int command, ...) { ARGUMENT_OF(command) return controlled(file, command, argument); }
int fcntl64(int file, int command, ...) { ARGUMENT_OF(command) return controlled(file, command, argument); }

/* ---- Writing and reading ---- */

static size_t total(const struct iovec *pieces, int count) {
  size_t bytes = 0;
  for (int i = 0; i < count; i++) bytes += pieces[i].iov_len;
  return bytes;
}

/* offset < 0: at the file's position. */
static ssize_t written(int file, const struct iovec *pieces, int count, off_t offset) {
  static _Thread_local int short_before;
  size_t bytes = total(pieces, count);
  int error = fault(CALL_WRITE, atomic_load(&names[file]));
  if (short_before) error = short_before;
  short_before = 0;
  off_t at = offset;
  if (at < 0) {
    struct stat info;
    int flags = (int)syscall(SYS_fcntl, file, F_GETFL, 0);
    if (flags & O_APPEND && syscall(SYS_newfstatat, file, "", &info, AT_EMPTY_PATH) == 0) at = info.st_size;
    else at = (off_t)syscall(SYS_lseek, file, 0, SEEK_CUR);
  }
  struct record head = begin(RECORD_WRITE, file, at, (int64_t)bytes);
  append(&head, NULL, pieces, count, bytes);
  ssize_t result;
  if (error == ENOSPC && count == 1 && bytes > 1) {
    /* A disk that fills up takes a part, and refuses the rest at the next call. */
    short_before = error;
    result = syscall(SYS_pwrite64, file, pieces[0].iov_base, bytes / 2, at);
    if (offset < 0 && result > 0) syscall(SYS_lseek, file, at + result, SEEK_SET);
  } else if (error) {
    errno = error;
    result = -1;
  } else if (offset >= 0) {
    result = syscall(SYS_pwritev, file, pieces, count, offset, 0);
  } else {
    result = syscall(SYS_writev, file, pieces, count);
  }
  finish(&head, result);
  return result;
}

static ssize_t sent(int file, const struct iovec *pieces, int count, const struct msghdr *message, int flags) {
  struct record head = begin(RECORD_SEND, file, 0, 0);
  append(&head, NULL, pieces, count, total(pieces, count));
  ssize_t result = message ? syscall(SYS_sendmsg, file, message, flags) : syscall(SYS_writev, file, pieces, count);
  finish(&head, result);
  return result;
}

static ssize_t put(int file, const struct iovec *pieces, int count) {
  if (is(file, WATCHED_FILE)) return written(file, pieces, count, -1);
  if (is(file, WATCHED_SOCKET)) return sent(file, pieces, count, NULL, 0);
  return syscall(SYS_writev, file, pieces, count);
}

static ssize_t put_at(int file, const struct iovec *pieces, int count, off_t offset) {
  if (is(file, WATCHED_FILE)) return written(file, pieces, count, offset);
  return syscall(SYS_pwritev, file, pieces, count, offset, 0);
}

#define PIECE(data, bytes) &(struct iovec){(void *)(uintptr_t)(data), (bytes)}, 1

ssize_t write(int file, const void *data, size_t bytes) {
  if (!is(file, WATCHED_FILE) && !is(file, WATCHED_SOCKET)) return syscall(SYS_write, file, data, bytes);
  return put(file, PIECE(data, bytes));
}
ssize_t writev(int file, const struct iovec *pieces, int count) { return put(file, pieces, count); }
ssize_t pwrite(int file, const void *data, size_t bytes, off_t at) { return put_at(file, PIECE(data, bytes), at); }
ssize_t pwrite64(int file, const void *data, size_t bytes, off_t at) { return pwrite(file, data, bytes, at); }
ssize_t pwritev(int file, const struct iovec *pieces, int n, off_t at) { return put_at(file, pieces, n, at); }
ssize_t pwritev64(int file, const struct iovec *pieces, int n, off_t at) { return put_at(file, pieces, n, at); }

ssize_t sendmsg(int file, const struct msghdr *message, int flags) {
  if (!is(file, WATCHED_SOCKET)) return syscall(SYS_sendmsg, file, message, flags);
  return sent(file, message->msg_iov, (int)message->msg_iovlen, message, flags);
}
ssize_t sendto(int file, const void *data, size_t bytes, int flags, const struct sockaddr *to, socklen_t size) {
  if (!is(file, WATCHED_SOCKET)) return syscall(SYS_sendto, file, data, bytes, flags, to, size);
  struct iovec piece = {(void *)(uintptr_t)data, bytes};
  struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
  return sent(file, &piece, 1, &message, flags);
}
ssize_t send(int file, const void *data, size_t bytes, int flags) { return sendto(file, data, bytes, flags, NULL, 0); }

static ssize_t received(int file, ssize_t result, const struct iovec *pieces, int count) {
  if (result <= 0 || !is(file, WATCHED_SOCKET)) return result;
  struct record head = begin(RECORD_RECEIVE, file, 0, 0);
  head.phase = PHASE_END;
  head.result = result;
  append(&head, NULL, pieces, count, (size_t)result);
  return result;
}

ssize_t read(int file, void *data, size_t bytes) {
  return received(file, syscall(SYS_read, file, data, bytes), PIECE(data, bytes));
}
ssize_t readv(int file, const struct iovec *pieces, int count) {
  return received(file, syscall(SYS_readv, file, pieces, count), pieces, count);
}
ssize_t recvfrom(int file, void *data, size_t bytes, int flags, struct sockaddr *from, socklen_t *size) {
  ssize_t result = syscall(SYS_recvfrom, file, data, bytes, flags, from, size);
  return flags & MSG_PEEK ? result : received(file, result, PIECE(data, bytes));
}
ssize_t recv(int file, void *data, size_t bytes, int flags) { return recvfrom(file, data, bytes, flags, NULL, NULL); }
ssize_t recvmsg(int file, struct msghdr *message, int flags) {
  ssize_t result = syscall(SYS_recvmsg, file, message, flags);
  return flags & MSG_PEEK ? result : received(file, result, message->msg_iov, (int)message->msg_iovlen);
}

int connect(int file, const struct sockaddr *address, socklen_t size) {
  ready();
  int port = -1;
  if (address->sa_family == AF_INET) port = ntohs(((const struct sockaddr_in *)address)->sin_port);
  if (address->sa_family == AF_INET6) port = ntohs(((const struct sockaddr_in6 *)address)->sin6_port);
  if (record_file >= 0 && port > 0 && (port == ports[0] || port == ports[1])) {
    watch(file, WATCHED_SOCKET, NULL);
    struct record head = begin(RECORD_CONNECT, file, port, 0);
    finish(&head, 0);
  }
  return (int)syscall(SYS_connect, file, address, size);
}

/* ---- Syncing and sizes ---- */

static int synced(int file, long number) {
  if (!is(file, WATCHED_FILE)) return (int)syscall(number, file);
  if (swallow_sync) return 0;
  struct record head = begin(RECORD_SYNC, file, number == SYS_fdatasync, 0);
  append(&head, NULL, NULL, 0, 0);
  int error = fault(CALL_SYNC, atomic_load(&names[file]));
  errno = error;
  int result = error ? -1 : (int)syscall(number, file);
  finish(&head, result);
  return result;
}

int fsync(int file) { return synced(file, SYS_fsync); }
int fdatasync(int file) { return synced(file, SYS_fdatasync); }
/* sync_file_range(2) promises nothing after a power cut, so it is passed on and counts for nothing. */

static int truncated(int file, off_t size) {
  if (!is(file, WATCHED_FILE)) return (int)syscall(SYS_ftruncate, file, size);
  struct record head = begin(RECORD_TRUNCATE, file, size, 0);
  append(&head, NULL, NULL, 0, 0);
  int error = fault(CALL_TRUNCATE, atomic_load(&names[file]));
  errno = error;
  int result = error ? -1 : (int)syscall(SYS_ftruncate, file, size);
  finish(&head, result);
  return result;
}

int ftruncate(int file, off_t size) { return truncated(file, size); }
int ftruncate64(int file, off_t size) { return truncated(file, size); }

static int allocated(int file, int mode, off_t offset, off_t bytes) {
  if (!is(file, WATCHED_FILE)) return (int)syscall(SYS_fallocate, file, mode, offset, bytes);
  struct record head = begin(RECORD_ALLOCATE, file, offset + bytes, mode);
  append(&head, NULL, NULL, 0, 0);
  int result = (int)syscall(SYS_fallocate, file, mode, offset, bytes);
  finish(&head, result);
  return result;
}

int fallocate(int file, int mode, off_t offset, off_t bytes) { return allocated(file, mode, offset, bytes); }
int fallocate64(int file, int mode, off_t offset, off_t bytes) { return allocated(file, mode, offset, bytes); }
int posix_fallocate(int file, off_t offset, off_t bytes) { return allocated(file, 0, offset, bytes) ? errno : 0; }
int posix_fallocate64(int file, off_t at, off_t bytes) { return posix_fallocate(file, at, bytes); }

static void *mapped(void *address, size_t bytes, int protection, int flags, int file, off_t offset) {
  if (flags & MAP_SHARED && protection & PROT_WRITE && is(file, WATCHED_FILE)) {
    struct record head = begin(RECORD_MAP, file, offset, (int64_t)bytes);
    finish(&head, 0);
  }
  return (void *)syscall(SYS_mmap, address, bytes, protection, flags, file, offset);
}

void *mmap(void *address, size_t bytes, int protection, int flags, int file, off_t offset) {
  return mapped(address, bytes, protection, flags, file, offset);
}
void *mmap64(void *address, size_t bytes, int protection, int flags, int file, off_t offset) {
  return mapped(address, bytes, protection, flags, file, offset);
}

/* ---- Names ---- */

static int named(int kind, int directory, const char *path, long number, long flags) {
  char full[PATH_MAX];
  const char *name = inside(directory, path, full);
  struct record head = begin(kind, -1, flags, 0);
  if (name) {
    head.path = (uint16_t)strlen(name);
    append(&head, name, NULL, 0, 0);
  }
  int result = (int)syscall(number, directory, path, flags);
  if (name) finish(&head, result);
  return result;
}

int unlinkat(int at, const char *path, int flags) { return named(RECORD_UNLINK, at, path, SYS_unlinkat, flags); }
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
int mkdirat(int at, const char *path, mode_t mode) { return named(RECORD_MKDIR, at, path, SYS_mkdirat, (long)mode); }
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
  char full[2][PATH_MAX], both[2 * PATH_MAX];
  const char *old = inside(from_at, from, full[0]), *new = inside(to_at, to, full[1]);
  struct record head = begin(RECORD_RENAME, -1, flags, 0);
  int is_watched = old || new;
  if (is_watched) {
    /* An empty half stands for a place outside the spool. */
    int length = snprintf(both, sizeof both, "%s", old ? old : "") + 1;
    length += snprintf(both + length, sizeof both - (size_t)length, "%s", new ? new : "");
    head.path = (uint16_t)length;
    append(&head, both, NULL, 0, 0);
  }
  int result = (int)syscall(SYS_renameat2, from_at, from, to_at, to, flags);
  if (is_watched) finish(&head, result);
  return result;
}
int renameat(int a, const char *from, int b, const char *to) { return renameat2(a, from, b, to, 0); }
int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }

int truncate(const char *path, off_t size) {
  int file = open(path, O_WRONLY | O_CLOEXEC);
  if (file < 0) return -1;
  int result = ftruncate(file, size), saved = errno;
  close(file);
  errno = saved;
  return result;
}

#include "lies.h"
