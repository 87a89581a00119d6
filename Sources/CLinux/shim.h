// Calls of glibc and Linux that Swift's Glibc module leaves out.
#include <malloc.h>
#include <sys/timex.h>
