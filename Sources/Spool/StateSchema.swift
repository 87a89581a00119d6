// state.db: everything that pipelines and delivery know. Only they write it (and, between two of
// their transactions, `forebay dead-letters` and `forebay replay`). Format 1 (DatabaseFormat.swift).
//
//   instance     one row: machine (the machine id at the last start), file (the inode of state.db at
//                the last start; words in place of it after a restore, Binding.swift). When one of them is another at a start, the state has been cloned,
//                moved or restored: new epochs and new client ids are drawn before anything is sealed.
//   session      source, client_id: who we are to each broker; filters: what the broker last
//                acknowledged as subscribed, as JSON
//   configuration  digest (SHA-256, hexadecimal), text: the configurations that active pipelines run
//                under, and those that versions were first read from, each with the paths and digests of the
//                files that shape it (KeptConfiguration.swift; their bytes lie in attachments/ beside this
//                file). A pipeline that the newest has dropped
//                finishes its backlog under its own, also after a restart.
//   pipeline     one row per pipeline that ever ran:
//                  active            0 once the configuration has dropped it and its backlog is sealed
//                  configuration     the digest of the one that it runs under
//                  uplink, version   those of the configuration that last ran
//                  gateway, epoch, sequence (the next), digest (of the batch before)
//                  log, checkpoint   how far it has read: the next offset, in which log; log is empty
//                                    for a row that holds only what was salvaged of a damaged state
//                  until             where it ends, once the configuration has dropped it; else NULL
//                  uncertain_until   batches that begin below this offset, and results of windows that hold
//                                    readings from below it, are possible duplicates
//                  received_before, received_at   the book of received messages: what earlier logs
//                                    brought, and the log's own counter when this log began for it;
//                                    received = received_before + (log.received - received_at), and
//                                    received_before alone once it is inactive
//                  received_until    the log's counter at `until`, in place of the log's own
//                  windows_from, windows_closed, windows_partial   of a pipeline with windows: from where they
//                                    could be worked out again (WindowMark in Telemetry/Seal.swift)
//                  unmatched ... expired   the counters of Telemetry/LedgerCounters.swift
//                  recent            the batches that left the outbox last, as LineageChunk packs them
//   lineage      batches that left the outbox before those: batches, a chunk of some 17, with the epoch,
//                the sequences that it spans (first, last) and when its last one left (wall). What `recent`
//                gathers costs no page of its own; a chunk is written once, when it is full.
//   version      what each version of a pipeline does: when it was first registered (wall), from which
//                configuration, and the explanation that came with it; the newest 64 of each pipeline
//   outbox       sealed batches, oldest first by (position, line): the parts of a split batch keep
//                their parent's position; first_age, last_age: nanoseconds from the receipt of its first and
//                last message to its sealing, NULL where that is not known. A row goes when its batch is
//                confirmed or set aside.
//                windows_... are as in `pipeline`, as they stood before the batch began
//   dead_letter  what was refused, with its bytes:
//                  requested         the number of the request to run it through the pipeline again; 0: none,
//                                    which it is in every letter of a pipeline that is not active
//                  reading           which of its message's readings it was; NULL: the message as a whole
//                  withheld          1: its bytes are not kept, but looked for in the log
//                  since             wall nanoseconds at which it was set aside, from which its age counts;
//                                    NULL until there is a clock that is worth it
//                  size              what counts against the bound in bytes: the bytes of payload, topic and
//                                    reason, and 256 for all else, index entries included
//   dead_letter_total  the sums of `size`, kept by triggers: of a pipeline's letters, and of those of them
//                that are requested; and how many letters there are (which no equation rests on)
//   expired      how many letters went because of the bounds, by pipeline, stage and rule, and when last
//   requeue      requests to run letters again that have letters left: nanoseconds between two of them
//   stage        what the stages of a pipeline remember from record to record, as of its checkpoint:
//                (pipeline, stage, key) and a value, bytes that only the stage understands
//   replay       one row per replay (Replay.swift): id, pipeline, state and reason; what was asked for: from and
//                until (wall nanoseconds, NULL: everything between the offsets), rate (messages a second) and
//                budget (bytes), 0 for none; the offsets first ..< end in log; the digest of the configuration
//                stands in its row of `pipeline`; bytes and batches that were sealed, compressed; estimated_*:
//                what was reckoned with when it began, NULL for nothing; created and ended (wall nanoseconds).
//                Everything else of it stands under the name PIPELINE#ID, which no pipeline can have: a row of
//                `pipeline` with its chain, its checkpoint and its book, whose `until` is the end and whose
//                `active` is 1 until the replay has ended, and rows of `stage`, `outbox` and `dead_letter`
//   fault        what went wrong with the store itself, in words, with the messages it cost
//
// Invariants:
//   1. Batches, dead letters, ledger, checkpoint, stages, sequence and digest advance in one transaction,
//      fsynced before `seal` returns. The checkpoint stops before the first record of an open batch.
//   2. Sequences are dense per gateway, pipeline and epoch; the outbox holds each identity once.
//   3. `confirm` deletes rows, adds to `delivered` and notes the lineage in one transaction, which need not be
//      fsynced: losing it costs a retry that the receiver recognises. A batch is in the outbox or in the
//      lineage, never in both.
//   4. The three equations of Telemetry/Ledger.swift hold after every transaction, for replays too: what a
//      replay has received are the offsets of its range, what waits are those behind its checkpoint.

enum StateSchema {
  /// Of the newest format.
  static let schema = """
    CREATE TABLE instance(machine TEXT NOT NULL, file TEXT NOT NULL) STRICT;
    CREATE TABLE configuration(digest TEXT PRIMARY KEY, text BLOB NOT NULL) STRICT;
    CREATE TABLE session(
      source TEXT PRIMARY KEY, client_id TEXT NOT NULL, filters TEXT NOT NULL) STRICT;
    CREATE TABLE pipeline(
      name TEXT PRIMARY KEY, active INTEGER NOT NULL, uplink TEXT NOT NULL, version TEXT NOT NULL,
      configuration TEXT NOT NULL, gateway TEXT NOT NULL, epoch TEXT NOT NULL, sequence INTEGER NOT NULL, digest BLOB NOT NULL,
      log TEXT NOT NULL, checkpoint INTEGER NOT NULL, until INTEGER,
      uncertain_until INTEGER NOT NULL, received_before INTEGER NOT NULL,
      received_at INTEGER NOT NULL, received_until INTEGER NOT NULL DEFAULT 0,
      unmatched INTEGER NOT NULL DEFAULT 0, rejected INTEGER NOT NULL DEFAULT 0,
      decoded INTEGER NOT NULL DEFAULT 0, damaged INTEGER NOT NULL DEFAULT 0,
      produced INTEGER NOT NULL DEFAULT 0, emitted INTEGER NOT NULL DEFAULT 0,
      requeued INTEGER NOT NULL DEFAULT 0, duplicate INTEGER NOT NULL DEFAULT 0,
      refused INTEGER NOT NULL DEFAULT 0, late INTEGER NOT NULL DEFAULT 0,
      filtered INTEGER NOT NULL DEFAULT 0, absorbed INTEGER NOT NULL DEFAULT 0,
      delivered INTEGER NOT NULL DEFAULT 0, dead_lettered INTEGER NOT NULL DEFAULT 0,
      recovered INTEGER NOT NULL DEFAULT 0, discarded INTEGER NOT NULL DEFAULT 0,
      expired INTEGER NOT NULL DEFAULT 0, windows_from INTEGER, windows_closed INTEGER,
      windows_partial INTEGER, recent BLOB) STRICT;
    CREATE TABLE lineage(
      id INTEGER PRIMARY KEY, epoch TEXT NOT NULL, last INTEGER NOT NULL, first INTEGER NOT NULL,
      wall INTEGER NOT NULL, batches BLOB NOT NULL) STRICT;
    CREATE INDEX lineage_sequences ON lineage(epoch, last, first);
    CREATE TABLE version(
      pipeline TEXT NOT NULL, version TEXT NOT NULL, wall INTEGER NOT NULL, configuration TEXT NOT NULL,
      explanation BLOB NOT NULL, PRIMARY KEY(pipeline, version)) STRICT;
    CREATE TABLE outbox(
      id INTEGER PRIMARY KEY AUTOINCREMENT, position INTEGER NOT NULL, line INTEGER NOT NULL,
      pipeline TEXT NOT NULL, identity TEXT NOT NULL UNIQUE, version TEXT NOT NULL,
      log TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, count INTEGER NOT NULL,
      encoding TEXT NOT NULL, compression TEXT NOT NULL, length INTEGER NOT NULL,
      digest BLOB NOT NULL, previous BLOB NOT NULL, parent TEXT, uncertain INTEGER NOT NULL,
      boot BLOB NOT NULL, monotonic INTEGER NOT NULL, wall INTEGER NOT NULL,
      quality INTEGER NOT NULL, windows_from INTEGER, windows_closed INTEGER, windows_partial INTEGER,
      first_age INTEGER, last_age INTEGER, body BLOB NOT NULL) STRICT;
    CREATE UNIQUE INDEX outbox_order ON outbox(pipeline, position, line);
    CREATE TABLE dead_letter(
      id INTEGER PRIMARY KEY AUTOINCREMENT, pipeline TEXT NOT NULL, stage TEXT NOT NULL,
      rule TEXT NOT NULL, reason TEXT NOT NULL, source TEXT NOT NULL, topic TEXT NOT NULL,
      log TEXT NOT NULL, offset INTEGER NOT NULL, boot BLOB NOT NULL, monotonic INTEGER NOT NULL,
      wall INTEGER NOT NULL, quality INTEGER NOT NULL, requested INTEGER NOT NULL DEFAULT 0,
      attempts INTEGER NOT NULL DEFAULT 0, reading INTEGER, withheld INTEGER NOT NULL DEFAULT 0,
      since INTEGER, payload BLOB NOT NULL,
      size INTEGER NOT NULL GENERATED ALWAYS AS
        (256 + length(payload) + length(CAST(topic AS BLOB)) + length(CAST(reason AS BLOB))) VIRTUAL) STRICT;
    CREATE INDEX dead_letter_requested ON dead_letter(pipeline, requested);
    CREATE INDEX dead_letter_undated ON dead_letter(pipeline) WHERE since IS NULL;
    CREATE TABLE dead_letter_total(
      pipeline TEXT PRIMARY KEY, bytes INTEGER NOT NULL, requested INTEGER NOT NULL,
      letters INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TRIGGER dead_letter_added AFTER INSERT ON dead_letter BEGIN
      INSERT INTO dead_letter_total VALUES(NEW.pipeline, NEW.size, iif(NEW.requested > 0, NEW.size, 0), 1)
      ON CONFLICT(pipeline) DO UPDATE SET
        bytes = bytes + excluded.bytes, requested = requested + excluded.requested, letters = letters + 1;
    END;
    CREATE TRIGGER dead_letter_changed AFTER UPDATE OF requested, reason ON dead_letter BEGIN
      UPDATE dead_letter_total SET bytes = bytes - OLD.size + NEW.size,
        requested = requested - iif(OLD.requested > 0, OLD.size, 0) + iif(NEW.requested > 0, NEW.size, 0)
      WHERE pipeline = NEW.pipeline;
    END;
    CREATE TRIGGER dead_letter_gone AFTER DELETE ON dead_letter BEGIN
      UPDATE dead_letter_total SET bytes = bytes - OLD.size,
        requested = requested - iif(OLD.requested > 0, OLD.size, 0), letters = letters - 1
      WHERE pipeline = OLD.pipeline;
    END;
    CREATE TABLE expired(
      pipeline TEXT NOT NULL, stage TEXT NOT NULL, rule TEXT NOT NULL, count INTEGER NOT NULL,
      last INTEGER NOT NULL, PRIMARY KEY(pipeline, stage, rule)) STRICT, WITHOUT ROWID;
    CREATE TABLE requeue(id INTEGER PRIMARY KEY AUTOINCREMENT, interval INTEGER NOT NULL) STRICT;
    CREATE TABLE stage(
      pipeline TEXT NOT NULL, stage TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,
      PRIMARY KEY(pipeline, stage, key)) STRICT, WITHOUT ROWID;
    CREATE TABLE replay(
      id TEXT PRIMARY KEY, pipeline TEXT NOT NULL, state TEXT NOT NULL, reason TEXT, from_wall INTEGER,
      until_wall INTEGER, log TEXT NOT NULL, first INTEGER NOT NULL, end INTEGER NOT NULL,
      rate INTEGER NOT NULL, budget INTEGER NOT NULL, bytes INTEGER NOT NULL, batches INTEGER NOT NULL,
      estimated_readings INTEGER, estimated_batches INTEGER, estimated_bytes INTEGER,
      created INTEGER NOT NULL, ended INTEGER) STRICT;
    CREATE TABLE fault(
      id INTEGER PRIMARY KEY, wall INTEGER NOT NULL, kind TEXT NOT NULL, detail TEXT NOT NULL,
      messages INTEGER NOT NULL) STRICT;
    """
}
