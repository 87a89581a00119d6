/* Checks glibc-2.36.c on arm64, under emulation (smoke-test): exit status 0, or the line that failed. */

#include <stdio.h>
#include <string.h>

long __isoc23_strtol(const char *, char **, int);
unsigned long __isoc23_strtoul(const char *, char **, int);
long long __isoc23_strtoll(const char *, char **, int);
unsigned long long __isoc23_strtoull(const char *, char **, int);
int __isoc23_sscanf(const char *, const char *, ...);
size_t strlcpy(char *, const char *, size_t);
size_t strlcat(char *, const char *, size_t);

#define REQUIRE(condition) if (!(condition)) { printf("line %d: %s\n", __LINE__, #condition); return 1; }

int main(void) {
  char *end;
  REQUIRE(__isoc23_strtol("-42 volt", &end, 10) == -42 && !strcmp(end, " volt"));
  REQUIRE(__isoc23_strtoul("ff", NULL, 16) == 255);
  REQUIRE(__isoc23_strtoll("-9223372036854775808", NULL, 10) == -9223372036854775807LL - 1);
  REQUIRE(__isoc23_strtoull("18446744073709551615", NULL, 10) == ~0ULL);
  int number = 0;
  char word[8] = "";
  REQUIRE(__isoc23_sscanf("7 pumps", "%d %7s", &number, word) == 2 && number == 7 && !strcmp(word, "pumps"));

  char text[8] = "unused!";
  REQUIRE(strlcpy(text, "valve", 8) == 5 && !strcmp(text, "valve"));
  REQUIRE(strlcat(text, "-12", 8) == 8 && !strcmp(text, "valve-1"));
  REQUIRE(strlcpy(text, "a long name", 8) == 11 && !strcmp(text, "a long "));
  REQUIRE(strlcpy(text, "", 8) == 0 && !*text);
  REQUIRE(strlcat(text, "seven..", 8) == 7 && !strcmp(text, "seven.."));
  /* Nothing is written where there is no room, and what is not ended is not walked past. */
  char full[4] = {'f', 'u', 'l', 'l'};
  REQUIRE(strlcpy(full, "x", 0) == 1 && full[0] == 'f');
  REQUIRE(strlcat(full, "er", 4) == 6 && !memcmp(full, "full", 4));
  return 0;
}
