"""What the pipeline costs on one core, from the log to sealed batches (Benchmarks/PipelineBench): instructions in user
space, which a busy machine does not change, and records a second beside them.

Instructions are those of a whole run less those of a run that only fills the log. They are counted by the processor
(`perf stat`) or, where it lends nobody its counters, by valgrind. valgrind's processor has no instructions for
SHA-256 and spends ten times as many on it as processors of devices, nearly all of which have them. There the function
that hashes, and nothing else, is left out of the count, and what it takes with them is added."""
import json, os, re, shutil, subprocess, tempfile

RECORDS = 60_000
# With the processor's own: sha256_block_data_order of OpenSSL 3.0 for x86-64 has them in a loop of 170 instructions,
# 32 of them sha256rnds2, for each block of 64 bytes (`objdump -d libcrypto.so.3`).
SHA256_BLOCK, SHA256_INSTRUCTIONS = 64, 170
# name, mode, instructions at most
MODES = [("pass", "pass:zstd", 15_000), ("checked", "checked:zstd", 40_000), ("windows", "windows:zstd", 48_000)]
MEGABYTE = 1_000_000


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()[-400:]}")
    return done


def counter(binary, folder):
    """How instructions can be counted here."""
    try:
        probe = subprocess.run(["perf", "stat", "-x,", "-e", "instructions:u", "true"], capture_output=True, text=True)
        if re.search(r"^\d+,.*instructions", probe.stderr, re.M):
            return "perf"
    except OSError:
        pass
    return "valgrind" if shutil.which("valgrind") else None


def instructions(kind, command, folder):
    """Instructions of a command, and those of libcrypto's functions, none where nobody says so."""
    if kind == "perf":
        text = run(["perf", "stat", "-x,", "-e", "instructions:u"] + command).stderr
        return int(re.search(r"^(\d+),", text, re.M)[1]), {}
    out = os.path.join(folder, "callgrind.out")
    run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"] + command)
    return callgrind_instructions(out)


def callgrind_instructions(out):
    """As ``instructions``, of a run that has left its profile there."""
    # Callgrind's profile data format: lines of cost belong to the function and the object named last, each by a number
    # that has its name where it stands first; a line behind `calls=` is what the called functions took, which stands
    # with them already.
    names, current, total, crypto, called = {}, {"ob": "", "fn": ""}, 0, {}, False
    for line in open(out, errors="replace"):
        key, is_named, value = line.rstrip().partition("=")
        if is_named and key in ("ob", "cob", "fn", "cfn"):
            number, _, name = value.partition(" ")
            named = names.setdefault((key[-2:], number), name)
            if key in current:
                current[key] = named
        elif key == "calls":
            called = True
        elif line[:1] in "0123456789+-*":
            cost = int(line.split()[-1])
            if not called:
                total += cost
                if "libcrypto" in current["ob"]:
                    crypto[current["fn"]] = crypto.get(current["fn"], 0) + cost
            called = False
    return total, crypto


def bench(options, binary, figures):
    bench = options.pipeline_bench
    folder = tempfile.mkdtemp(dir=options.folder)

    def command(mode, records=RECORDS):
        return [bench, tempfile.mkdtemp(dir=folder), str(records), mode]

    kind = counter(bench, folder)
    if kind is None:
        print("# instructions are not counted: neither perf nor valgrind can do it here", flush=True)
    else:
        print(f"# instructions counted by {kind}", flush=True)
        filling, filling_crypto = instructions(kind, command("fill"), folder)
    # What valgrind counts for a block of SHA-256.
    block = None
    for name, mode, bar in MODES:
        if kind is not None:
            total, crypto = instructions(kind, command(mode), folder)
            total -= filling
            if crypto:
                hashing = max(crypto, key=crypto.get)
                counted = crypto[hashing] - filling_crypto.get(hashing, 0)
                if not block:
                    # The first mode hashes the lines of its batches, and next to nothing else.
                    hashed = json.loads(run(command(mode)).stdout)["bytes"]
                    block = counted / (hashed / SHA256_BLOCK)
                allowed = counted / block * SHA256_INSTRUCTIONS
                print(f"# {name}: SHA-256 is {counted / RECORDS:.0f} a record as valgrind counts ({block:.0f} a block), "
                      f"and {allowed / RECORDS:.0f} of the figure", flush=True)
                total += allowed - counted
            figures.add(f"pipeline.{name}.instructions", total / RECORDS, "per-record", at_most=bar)
            if crypto:
                figures.add(f"pipeline.{name}.sha256", allowed / RECORDS, "per-record")
        best = min(json.loads(run(command(mode, 5 * RECORDS)).stdout)["nanoseconds"] for _ in range(3))
        figures.add(f"pipeline.{name}.rate", 5 * RECORDS / best * 1e9, "records/s")
    gzip = min(json.loads(run(command("pass:gzip", 5 * RECORDS)).stdout)["nanoseconds"] for _ in range(3))
    figures.add("pipeline.pass.gzip.rate", 5 * RECORDS / gzip * 1e9, "records/s")
    memory = json.loads(run([bench, "-", "100000", "memory"]).stdout)
    if memory["keys"] != 100_000:
        raise SystemExit(f"the windows of 100,000 keys are not open: {memory}")
    figures.add("pipeline.windows.memory-100000-keys", (memory["resident"] - memory["idle"]) / MEGABYTE, "MB", at_most=64)
