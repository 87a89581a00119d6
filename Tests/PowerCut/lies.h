/*
 * What the recorder says to the daemon that is not so: the free space, the inode of a rebuilt file, and
 * what 'PRAGMA synchronous' is. Included at the end of recorder.c, whose state it uses.
 */
#ifndef POWERCUT_LIES_H
#define POWERCUT_LIES_H

int statvfs(const char *path, struct statvfs *info) {
  static int (*real)(const char *, struct statvfs *);
  char full[PATH_MAX];
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, "statvfs");
  int result = real(path, info);
  int64_t free_bytes = faults_free();
  if (result == 0 && free_bytes >= 0 && inside(AT_FDCWD, path, full))
    info->f_bavail = info->f_bfree = (fsblkcnt_t)free_bytes / info->f_frsize;
  return result;
}

/* A power cut leaves a file its inode; rebuilding it does not. SQLite asks by stat64 and fstat64. */
int stat(const char *restrict path, struct stat *restrict info) {
  int result = (int)syscall(SYS_newfstatat, AT_FDCWD, path, info, 0);
  const char *identity = getenv("POWERCUT_IDENTITY"), *slash = strrchr(path, '/');
  unsigned long device, inode;
  if (result != 0 || !identity || !slash) return result;
  size_t length = strlen(slash + 1);
  if (strncmp(identity, slash + 1, length) == 0 && identity[length] == '=' &&
      sscanf(identity + length + 1, "%lu:%lu", &device, &inode) == 2) {
    info->st_dev = device;
    info->st_ino = inode;
  }
  return result;
}

/* What 'PRAGMA synchronous' is to answer to the thread that has just set it. */
static _Thread_local int claimed = -1;

int sqlite3_exec(void *db, const char *sql, int (*row)(void *, int, char **, char **), void *with, char **error) {
  static int (*real)(void *, const char *, int (*)(void *, int, char **, char **), void *, char **);
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, "sqlite3_exec");
  ready();
  char instead[64];
  claimed = -1;
  if (synchronous && strncmp(sql, "PRAGMA synchronous = FULL", 25) == 0) {
    claimed = 2;
    snprintf(instead, sizeof instead, "PRAGMA synchronous = %s", synchronous);
    sql = instead;
  }
  return real(db, sql, row, with, error);
}

int sqlite3_prepare_v3(
    void *db, const char *sql, int bytes, unsigned flags, void **statement, const char **rest) {
  static int (*real)(void *, const char *, int, unsigned, void **, const char **);
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, "sqlite3_prepare_v3");
  if (claimed == 2 && strcmp(sql, "PRAGMA synchronous") == 0) sql = "SELECT 2", bytes = -1;
  return real(db, sql, bytes, flags, statement, rest);
}
#endif
