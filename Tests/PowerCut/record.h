/* The form of the power-cut record; Tests/EndToEndTests/PowerCut/Record.swift reads it. */
#ifndef POWERCUT_RECORD_H
#define POWERCUT_RECORD_H
#include <stdint.h>

#define RECORD_MAGIC 0x54554350u /* "PCUT" */

enum record_kind {
  RECORD_START = 1,    /* a process begins: no descriptor of the one before is open */
  RECORD_OPEN = 2,     /* a: flags; b: 1 when the name was not there; path; data: device, inode */
  RECORD_CLOSE = 3,
  RECORD_DUP = 4,      /* a: the new descriptor */
  RECORD_WRITE = 5,    /* a: offset; b: bytes asked for; data */
  RECORD_TRUNCATE = 6, /* a: size */
  RECORD_SYNC = 7,     /* a: 1 for fdatasync */
  RECORD_RENAME = 8,   /* path: from, NUL, to */
  RECORD_UNLINK = 9,   /* path; a: AT_REMOVEDIR for a folder */
  RECORD_MKDIR = 10,   /* path */
  RECORD_ALLOCATE = 11, /* a: end of the allocated range; b: mode */
  RECORD_MAP = 12,     /* mapped shared and writable; a: offset; b: bytes */
  RECORD_CONNECT = 13, /* to broker or upstream; a: port */
  RECORD_SEND = 14,    /* data: what is offered; the result tells how much of it went */
  RECORD_RECEIVE = 15, /* data */
};

enum { PHASE_BEGIN = 0, PHASE_END = 1 };

/* Little-endian, 64 bytes, followed by the path and then the data. Closing, duplicating, mapping,
   connecting, receiving and starting have an end only. */
struct record {
  uint32_t magic;
  uint32_t length; /* all of it */
  uint64_t call;   /* the same at begin and end */
  uint8_t kind;
  uint8_t phase;
  uint16_t path; /* bytes */
  int32_t file;  /* descriptor, or -1 */
  int32_t thread;
  int32_t error; /* errno, 0 when the call succeeded */
  int64_t a;
  int64_t b;
  int64_t result;
  uint32_t data; /* bytes */
  uint32_t process;
};

_Static_assert(sizeof(struct record) == 64, "the reader counts on it");
#endif
