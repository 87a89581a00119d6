"""What it costs to be looked at: `/metrics` and `/v1/status` asked for once a second, on a connection that stays, as
Prometheus and `forebay fleet` do.

Memory is that of an idle daemon with the API on and asked, less that of one with the API off; both have been up for
as long, and have let go of the code that only their start needed.

Instructions in user space are counted by valgrind, from when the daemon is connected: of one that idles, of one that
idles and is asked, and of one that takes messages and is not. What asking adds to the first is compared with what
messages add to it, passed on as they are, and with dedupe and windows. A pair of questions costs the same however
much the data path does, so that its share falls with the rate; it has a bar at the highest rate of the flow bench."""
import http.client, shutil, statistics, subprocess, time

from .house import House, free_port, resident, wait_until
from .pipeline import callgrind_instructions
from .sink import Sink

SECONDS = 40  # of the runs whose instructions are counted
RATE, FULL = 1_000, 5_000  # messages a second that the cost is compared with; the first is what is run
SETTLE, WATCH = 10, 70  # seconds before and while memory is looked at: long enough for code to be let go of once
STAGES = "dedupe: { within: 10 min }, window: { every: 10 s, late: 1 s, emit: { mean: avg(value) } }"
MEGABYTE = 1_000_000


class Scraper:
    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(self):
        for path in ("/metrics", "/v1/status"):
            self.connection.request("GET", path)
            answer = self.connection.getresponse()
            if answer.status != 200 or not answer.read():
                raise SystemExit(f"{path} was answered with {answer.status}")


def each_second(seconds, *work):
    begun = time.monotonic()
    for second in range(seconds):
        for one in work:
            one()
        time.sleep(max(0, begun + second + 1 - time.monotonic()))


def memory(options, binary, figures):
    """Medians of what is resident over the same span of both daemons' lives, at the same time."""
    port, sink = free_port(), Sink()
    with House(f"{options.folder}/looks-off", binary, upstream_port=sink.port) as off, \
            House(f"{options.folder}/looks-on", binary, upstream_port=sink.port, listen=f"127.0.0.1:{port}") as on:
        unseen, seen = off.daemon(), on.daemon()
        scraper, samples = Scraper(port), {kind: ([], []) for kind in ("VmRSS", "RssAnon")}
        def look():
            for kind, (with_it, without) in samples.items():
                with_it.append(resident(seen.pid, kind))
                without.append(resident(unseen.pid, kind))
        each_second(SETTLE, scraper.ask)
        each_second(WATCH, scraper.ask, look)
    sink.close()
    def median(kind, which):
        return statistics.median(samples[kind][which]) / MEGABYTE
    figures.add("looks.resident", median("VmRSS", 0), "MB", at_most=32)
    figures.add("looks.resident.added", median("VmRSS", 0) - median("VmRSS", 1), "MB", at_most=4)
    figures.add("looks.resident.added.anonymous", median("RssAnon", 0) - median("RssAnon", 1), "MB", smaller_is_better=True)


def counted(options, binary, name, work, stages=None):
    """Instructions of a daemon that is up and connected, while `work` was done to it, and of its end."""
    port, sink = free_port(), Sink()
    folder = f"{options.folder}/looks-{name}"
    with House(folder, binary, upstream_port=sink.port, stages=stages, listen=f"127.0.0.1:{port}") as house:
        out = f"{folder}/counted"
        daemon = house.daemon(["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}"])
        # What only the first question costs is none of the others'.
        Scraper(port).ask()
        subprocess.run(["callgrind_control", "-i", "on", str(daemon.pid)], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        work(house, port)
        house.end(daemon)
        house.expect_proof(upstream=False)
    sink.close()
    return callgrind_instructions(out)[0]


def idle(house, port):
    each_second(SECONDS)


def asked(house, port):
    each_second(SECONDS, Scraper(port).ask)


def fed(house, port):
    devices = house.publish(SECONDS * RATE, "--total-rate", RATE, "--payload-bytes", 200)
    each_second(SECONDS)
    house.published(devices)
    wait_until("everything is decoded", lambda: house.decoded() >= SECONDS * RATE, 300)


def cost(options, binary, figures):
    if not shutil.which("valgrind"):
        print("# instructions are not counted: valgrind is not here", flush=True)
        return
    # valgrind 3.19 cannot read the debugging information that lld writes.
    plain = f"{options.folder}/forebay-plain"
    subprocess.run(["strip", "-o", plain, binary], check=True)
    resting = counted(options, plain, "idle", idle)
    pair = (counted(options, plain, "asked", asked) - resting) / SECONDS
    figures.add("looks.pair", pair, "instructions", smaller_is_better=True)
    for name, stages in (("pass", None), ("windows", STAGES)):
        message = (counted(options, plain, f"fed-{name}", fed, stages) - resting) / SECONDS / RATE
        figures.add(f"looks.{name}.message", message, "instructions", smaller_is_better=True)
        figures.add(f"looks.{name}.share-at-{RATE}", pair / (message * RATE), "of-the-data-path")
        figures.add(f"looks.{name}.share-at-{FULL}", pair / (message * FULL), "of-the-data-path", at_most=0.01)


def bench(options, binary, figures):
    memory(options, binary, figures)
    cost(options, binary, figures)
