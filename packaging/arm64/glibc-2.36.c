/* Seven functions of younger glibc that the static Swift libraries of Debian sid name and glibc 2.36, that of Debian
   12, does not have. The first five are what younger headers call strtol and its kind, and differ in binary constants
   (0b101) only, which Swift's libraries do not read with them. Linked into the arm64 binary (toolchain). */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

long __isoc23_strtol(const char *text, char **end, int base) { return strtol(text, end, base); }
unsigned long __isoc23_strtoul(const char *text, char **end, int base) { return strtoul(text, end, base); }
long long __isoc23_strtoll(const char *text, char **end, int base) { return strtoll(text, end, base); }
unsigned long long __isoc23_strtoull(const char *text, char **end, int base) { return strtoull(text, end, base); }

int __isoc23_sscanf(const char *text, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int count = vsscanf(text, format, arguments);
  va_end(arguments);
  return count;
}

/* strlcpy(3): copies what fits, always ends it, returns the length of what was to be copied. */
size_t strlcpy(char *target, const char *source, size_t capacity) {
  size_t length = strlen(source);
  if (capacity > 0) {
    size_t copied = length < capacity ? length : capacity - 1;
    memcpy(target, source, copied);
    target[copied] = 0;
  }
  return length;
}

/* strlcat(3): the same at the end of what is there. */
size_t strlcat(char *target, const char *source, size_t capacity) {
  size_t used = strnlen(target, capacity);
  if (used == capacity) return capacity + strlen(source);
  return used + strlcpy(target + used, source, capacity - used);
}
