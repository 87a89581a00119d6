/*
 * Faults on demand: a mapped page of 4096 bytes that holds one line,
 *
 *   error=28 calls=ws file=log.db-wal every=5 free=-1
 *
 * error: the errno, or a negative signal number: -9 kills the process at the call; calls: any of w(rite) s(ync) t(runcate) o(pen); file: how the name of the file ends,
 * or *; every: each so-many-th call that fits fails; free: bytes that statvfs(3) reports free, -1 the
 * truth. An empty page means no fault. ENOSPC at a write takes half of the bytes and refuses the rest.
 * The page counts the faults that were made in the 8 bytes at offset 2048.
 */
#ifndef POWERCUT_FAULTS_H
#define POWERCUT_FAULTS_H
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum fault_call { CALL_WRITE = 'w', CALL_SYNC = 's', CALL_TRUNCATE = 't', CALL_OPEN = 'o' };

static char *fault_rules;

static const char *faults_page(void) { return fault_rules; }

static void faults_open(const char *path) {
  int file = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
  if (file < 0) return;
  void *page = (void *)syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  syscall(SYS_close, file);
  if (page != MAP_FAILED) fault_rules = page;
}

struct fault_rule {
  int error;
  char calls[8];
  char file[64];
  unsigned every;
  long long free;
};

static int fault_rule(struct fault_rule *rule) {
  char line[256];
  if (!fault_rules || !fault_rules[0]) return 0;
  memcpy(line, fault_rules, sizeof line - 1);
  line[sizeof line - 1] = 0;
  return sscanf(
             line, "error=%d calls=%7s file=%63s every=%u free=%lld", &rule->error, rule->calls, rule->file,
             &rule->every, &rule->free) == 5;
}

/* The errno with which this call is to fail; 0: it may go on. */
static int fault(enum fault_call call, const char *name) {
  static atomic_uint matched;
  struct fault_rule rule;
  if (!name || !fault_rule(&rule) || !rule.error || !rule.every || !strchr(rule.calls, call)) return 0;
  size_t length = strlen(name), suffix = strlen(rule.file);
  int fits = strcmp(rule.file, "*") == 0 || (length >= suffix && strcmp(name + length - suffix, rule.file) == 0);
  /* The shared memory beside a database is no file of the disk. */
  if (!fits || (length > 4 && strcmp(name + length - 4, "-shm") == 0)) return 0;
  if (atomic_fetch_add(&matched, 1) % rule.every != rule.every - 1) return 0;
  atomic_fetch_add((_Atomic uint64_t *)(void *)(fault_rules + 2048), 1);
  if (rule.error < 0) kill(getpid(), -rule.error);
  return rule.error;
}

/* What statvfs(3) is to report; -1: the truth. */
static int64_t faults_free(void) {
  struct fault_rule rule;
  return fault_rule(&rule) ? rule.free : -1;
}
#endif
