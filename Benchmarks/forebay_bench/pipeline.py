"""What the pipeline costs on one core, from the log to sealed batches (Benchmarks/PipelineBench): instructions in user
space, which a busy machine does not change, and records a second beside them.

Instructions are those of a whole run less those of a run that only fills the log. They are counted by the processor
(`perf stat`) or, where it lends nobody its counters, by valgrind. valgrind's processor has no instructions for SHA-256,
so that its figures are higher than a processor's that has them, by about 25 for each byte of a batch."""
import json, os, re, shutil, subprocess, tempfile

RECORDS = 20_000
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
    if kind == "perf":
        return int(re.search(r"^(\d+),", run(["perf", "stat", "-x,", "-e", "instructions:u"] + command).stderr, re.M)[1])
    out = os.path.join(folder, "callgrind.out")
    text = run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"] + command).stderr
    return int(re.search(r"Collected : (\d+)", text)[1])


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
    for name, mode, bar in MODES:
        if kind is not None:
            count = (instructions(kind, command(mode), folder) - filling) / RECORDS
            figures.add(f"pipeline.{name}.instructions", count, "per-record", at_most=bar)
        best = min(json.loads(run(command(mode, 10 * RECORDS)).stdout)["nanoseconds"] for _ in range(3))
        figures.add(f"pipeline.{name}.rate", 10 * RECORDS / best * 1e9, "records/s")
    gzip = min(json.loads(run(command("pass:gzip", 10 * RECORDS)).stdout)["nanoseconds"] for _ in range(3))
    figures.add("pipeline.pass.gzip.rate", 10 * RECORDS / gzip * 1e9, "records/s")
    memory = json.loads(run([bench, "-", "100000", "memory"]).stdout)
    if memory["keys"] != 100_000:
        raise SystemExit(f"the windows of 100,000 keys are not open: {memory}")
    figures.add("pipeline.windows.memory-100000-keys", (memory["resident"] - memory["idle"]) / MEGABYTE, "MB", at_most=64)
