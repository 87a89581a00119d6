"""What the pipeline costs on one core, from the log to sealed batches (Benchmarks/PipelineBench): instructions in user
space, which a busy machine does not change, and records a second beside them.

Instructions are those of a whole run less those of a run that only fills the log. They are counted by the processor
(`perf stat`) or, where it lends nobody its counters, by valgrind. valgrind's processor has no instructions for
SHA-256, and spends some 25 on each byte of a batch where one that has them spends a fraction of one: there what
libcrypto takes is left out, and shown beside it."""
import json, os, re, shutil, subprocess, tempfile

RECORDS = 60_000
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
    """Instructions of a command, and those of them that are libcrypto's, 0 where nobody says so."""
    if kind == "perf":
        text = run(["perf", "stat", "-x,", "-e", "instructions:u"] + command).stderr
        return int(re.search(r"^(\d+),", text, re.M)[1]), 0
    out = os.path.join(folder, "callgrind.out")
    run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"] + command)
    # Callgrind's profile data format: lines of cost belong to the object named last; a line behind `calls=` is what
    # the called functions took, which stands with them already.
    names, current, total, crypto, called = {}, "", 0, 0, False
    for line in open(out, errors="replace"):
        if line.startswith("ob="):
            number, _, name = line[3:].strip().partition(" ")
            names.setdefault(number, name)
            current = names[number]
        elif line.startswith("cob="):
            number, _, name = line[4:].strip().partition(" ")
            names.setdefault(number, name)
        elif line.startswith("calls="):
            called = True
        elif line[:1] in "0123456789+-*":
            cost = int(line.split()[-1])
            if not called:
                total += cost
                crypto += cost if "libcrypto" in current else 0
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
        filling = instructions(kind, command("fill"), folder)
        if kind == "valgrind":
            print("# without SHA-256, for which valgrind's processor has no instructions", flush=True)
    for name, mode, bar in MODES:
        if kind is not None:
            total, crypto = (x - y for x, y in zip(instructions(kind, command(mode), folder), filling))
            figures.add(f"pipeline.{name}.instructions", (total - crypto) / RECORDS, "per-record", at_most=bar)
            if crypto:
                figures.add(f"pipeline.{name}.libcrypto", crypto / RECORDS, "per-record")
        best = min(json.loads(run(command(mode, 5 * RECORDS)).stdout)["nanoseconds"] for _ in range(3))
        figures.add(f"pipeline.{name}.rate", 5 * RECORDS / best * 1e9, "records/s")
    gzip = min(json.loads(run(command("pass:gzip", 5 * RECORDS)).stdout)["nanoseconds"] for _ in range(3))
    figures.add("pipeline.pass.gzip.rate", 5 * RECORDS / gzip * 1e9, "records/s")
    memory = json.loads(run([bench, "-", "100000", "memory"]).stdout)
    if memory["keys"] != 100_000:
        raise SystemExit(f"the windows of 100,000 keys are not open: {memory}")
    figures.add("pipeline.windows.memory-100000-keys", (memory["resident"] - memory["idle"]) / MEGABYTE, "MB", at_most=64)
