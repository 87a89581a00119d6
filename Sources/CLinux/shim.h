// Calls of glibc and Linux that Swift's Glibc module leaves out.
#include <malloc.h>
#include <sys/timex.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <resolv.h>
#include <netdb.h>
#include <string.h>

// Asks the DNS (resolver(3)); in C, because Swift does not see the bit fields of the resolver's state.
// `server` is an IPv4 address in text, NULL for those of /etc/resolv.conf. Returns the bytes of the whole answer,
// which may be more than `capacity`, or minus the h_errno of the failure.
static inline int forebay_dns_query(
  const char *name, int type, const char *server, int port, unsigned char *answer, int capacity) {
  struct __res_state state;
  memset(&state, 0, sizeof state);
  if (res_ninit(&state) != 0) return -NO_RECOVERY;
  if (server) {
    memset(&state.nsaddr_list[0], 0, sizeof state.nsaddr_list[0]);
    state.nsaddr_list[0].sin_family = AF_INET;
    state.nsaddr_list[0].sin_port = htons((unsigned short)port);
    if (inet_pton(AF_INET, server, &state.nsaddr_list[0].sin_addr) != 1) {
      res_nclose(&state);
      return -NO_RECOVERY;
    }
    state.nscount = 1;
  }
  state.retrans = 2;
  state.retry = 2;
  int length = res_nquery(&state, name, ns_c_in, type, answer, capacity);
  int failure = state.res_h_errno;
  res_nclose(&state);
  return length >= 0 ? length : failure > 0 ? -failure : -NO_RECOVERY;
}

// getauxval(3). Its header brings elf.h along, whose types Swift has from its Glibc module already.
static inline unsigned long forebay_auxiliary(unsigned long type) {
  extern unsigned long getauxval(unsigned long);
  return getauxval(type);
}
