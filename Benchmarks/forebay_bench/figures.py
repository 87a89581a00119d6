"""Figures: a line each, JSON, the comparison with the last recorded run, and the table in docs/guarantees.md."""
import datetime, glob, json, os, re, subprocess

# By how much a figure may be worse than the last recorded one before it is called a regression.
TOLERANCE = 0.10


class Figures:
    def __init__(self):
        self.all = []

    def add(self, name, value, unit, at_most=None, at_least=None, smaller_is_better=None):
        """Prints `name value unit bar ok|MISSES`. Only a figure whose good direction is known (it has a bar, or
        `smaller_is_better` is given) and that is no mere speed of this machine is compared with earlier runs."""
        bar = at_most if at_most is not None else at_least
        holds = bar is None or (value <= bar if at_most is not None else value >= bar)
        shown = "-" if bar is None else ("<=" if at_most is not None else ">=") + f"{bar:g}"
        better = smaller_is_better if bar is None else at_most is not None
        self.all.append({"name": name, "value": round(value, 6), "unit": unit, "bar": shown, "ok": holds,
                         "smaller_is_better": better})
        print(f"{name} {value:.4g} {unit} {shown} {'ok' if holds else 'MISSES'}", flush=True)

    @property
    def hold(self):
        return all(figure["ok"] for figure in self.all)

    def regressions(self, earlier):
        """What is more than TOLERANCE worse than in the run `earlier`, in words."""
        known = {figure["name"]: figure["value"] for figure in earlier["figures"]}
        for figure in self.all:
            before, now = known.get(figure["name"]), figure["value"]
            if figure["smaller_is_better"] is None or not before:
                continue
            change = now / before - 1
            if (change if figure["smaller_is_better"] else -change) > TOLERANCE:
                yield f"{figure['name']}: {now:.4g} {figure['unit']}, was {before:.4g} ({change:+.0%})"

    def document(self, machine, defaults):
        return {"machine": machine, "defaults": defaults, "figures": self.all}


def machine(root, folder, binary):
    """What a figure depends on besides the code."""
    def text(command):
        try:
            return subprocess.run(command, capture_output=True, text=True, cwd=root).stdout.strip()
        except OSError:
            return ""
    processor = re.search(r"model name\s*:\s*(.+)", open("/proc/cpuinfo").read())
    commit = text(["git", "rev-parse", "--short", "HEAD"])
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": commit + ("+" if text(["git", "status", "--porcelain", "--", "Sources", "Package.swift"]) else ""),
        "version": text([binary, "--version"]),
        "processor": processor[1] if processor else os.uname().machine,
        "cores": os.cpu_count(),
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1_000_000,
        "kernel": os.uname().release,
        "file_system": text(["stat", "-f", "-c", "%T", folder]),
        "mosquitto": (text(["/usr/sbin/mosquitto", "-h"]).splitlines() or [""])[0],
        # More than the benchmark's own: others were at work, and the figures are worth less.
        "load_before": round(os.getloadavg()[0], 2),
    }


def defaults(root):
    """The shipped defaults that decide about the figures, as docs/configuration.md documents them (a test of the
    configuration holds the page to the code)."""
    wanted = ["receive_max", "linger", "group.max_count", "group.max_bytes", "batch.max_bytes", "batch.max_count",
              "batch.max_age", "batch.compression", "http.receipt", "concurrency", "keep"]
    rows = re.findall(r"^\| `([a-z_.]+)` \| [^|]+ \| ([^|]+) \|", open(f"{root}/docs/configuration.md").read(), re.M)
    known = {}
    for key, default in rows:
        # A name that stands in several tables is the first one's.
        known.setdefault(key, default.replace("`", "").strip())
    return {key: known[key] for key in wanted}


def last_recorded(folder):
    """The newest run in the history, or None; names begin with the date."""
    names = sorted(glob.glob(f"{folder}/*.json"))
    return (os.path.basename(names[-1]), json.load(open(names[-1]))) if names else None


def record(folder, document):
    """Keeps a run in the history; returns the file's name."""
    facts = document["machine"]
    day = facts["date"].replace(":", "").replace("-", "")
    name = f"{day}-{facts['commit'].rstrip('+') or 'unknown'}.json"
    with open(f"{folder}/{name}", "w") as f:
        json.dump(document, f, indent=1)
        f.write("\n")
    return name


def write_table(page, document):
    """Puts the figures between `<!-- bench -->` and `<!-- end -->` of docs/guarantees.md."""
    facts = document["machine"]
    lines = [f"{facts['date'][:10]}, {facts['version'] or 'forebay'} ({facts['commit']}), {facts['processor']}, "
             f"{facts['cores']} cores, {facts['file_system']}, {facts['mosquitto']}; "
             + ", ".join(f"{key} {value}" for key, value in document["defaults"].items()) + ".", "",
             "| figure | value | bar | |", "|---|---|---|---|"]
    for figure in document["figures"]:
        bar = {"<=": "at most ", ">=": "at least "}.get(figure["bar"][:2], "–")
        bar = bar if bar == "–" else bar + figure["bar"][2:]
        verdict = "" if bar == "–" else "ok" if figure["ok"] else "**misses**"
        lines.append(f"| {figure['name']} | {figure['value']:,.4g} {figure['unit']} | {bar} | {verdict} |")
    text = open(page).read()
    begin, end = "<!-- bench -->\n", "<!-- end -->"
    head, found, rest = text.partition(begin)
    if not found or end not in rest:
        raise SystemExit(f"{page} has no place for {begin.strip()}")
    with open(page, "w") as f:
        f.write(head + begin + "\n".join(lines) + "\n" + rest[rest.index(end):])
