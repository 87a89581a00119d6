// Calls of glibc and Linux that Swift's Glibc module leaves out.
#include <malloc.h>
#include <pthread.h>
#include <sys/timex.h>

// pthread.h declares it only under _GNU_SOURCE, which a module cannot set for a header of another.
extern int pthread_setname_np(pthread_t thread, const char *name);
