"""What it costs to ask a fleet: 2,000 gateways every 15 seconds, 10,000 once, and a third of them faulty."""
import json, os, resource, subprocess, time

from .house import cpu_seconds, resident, wait_until

INTERVAL = 15
# Rounds that are measured, after one in which every connection is made.
ROUNDS = 4
# Bytes that the fleet's process may have. No bar of the product's; a liar without end would break it at once.
BOUND = 512 << 20


class Simulated:
    """A fleet of gateways that have nothing but a status, and what the fleet command says of it."""

    def __init__(self, folder, binary, count, faulty_every=0, tls=False):
        os.makedirs(folder)
        self.folder, self.binary, self.count = folder, binary, count
        self.inventory, self.authority = f"{folder}/fleet.txt", None
        options = []
        if tls:
            self.authority = f"{folder}/right.pem"
            for name in ("right", "wrong"):
                subprocess.run(
                    ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                     "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2",
                     "-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem"],
                    check=True, capture_output=True)
            options = ["--tls-cert", f"{folder}/right.pem", "--tls-key", f"{folder}/right.key",
                       "--wrong-cert", f"{folder}/wrong.pem", "--wrong-key", f"{folder}/wrong.key"]
        self.log = open(f"{folder}/log", "ab")
        self.children = [subprocess.Popen(
            [binary, "simulate-gateways", "--count", str(count), "--faulty-every", str(faulty_every),
             "--inventory", self.inventory, *options], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)]
        wait_until("the gateways listen", lambda: os.path.exists(self.inventory), 30)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for child in reversed(self.children):
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self.log.close()

    def command(self, *options):
        authority = ["--ca-file", self.authority] if self.authority else []
        return [self.binary, "fleet", "--inventory", self.inventory, "--fail-on", "never", *authority, *options]

    def ask_once(self):
        """Everybody once: (seconds, processor seconds, most resident bytes, the document)."""
        document = f"{self.folder}/fleet.json"
        with open(document, "wb") as out:
            begun = time.monotonic()
            child = subprocess.Popen(self.command("--json"), stdin=subprocess.DEVNULL, stdout=out, stderr=self.log)
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            took = time.monotonic() - begun
        if child.returncode != 0:
            raise SystemExit(f"the fleet command ended with {child.returncode}: see {self.folder}/log")
        return took, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, json.load(open(document))

    def keep_asking(self):
        """Everybody every 15 seconds: (cores, most resident bytes, pulls in an interval)."""
        ticks = f"{self.folder}/rounds"
        out = open(ticks, "wb")
        child = subprocess.Popen(self.command("--every", f"{INTERVAL}s", "--serve", "127.0.0.1:0"),
                                 stdin=subprocess.DEVNULL, stdout=out, stderr=self.log)
        self.children.append(child)
        wait_until("the fleet serves", lambda: b"listening on" in open(ticks, "rb").read(), 30)
        address = open(ticks).readline().split()[-1]
        def pulls():
            page = subprocess.run(["curl", "-sf", f"http://{address}/metrics"], capture_output=True, text=True, check=True).stdout
            rows = [line for line in page.splitlines() if line.startswith("forebay_fleet_pulls_total")]
            return sum(float(line.split()[-1]) for line in rows)
        wait_until("everybody was asked once", lambda: pulls() >= self.count, 120, step=1)
        # The interval in which the first round and the first phases overlap.
        time.sleep(INTERVAL)
        begun, used, asked = time.monotonic(), cpu_seconds(child.pid), pulls()
        peak = 0
        for _ in range(ROUNDS * INTERVAL):
            time.sleep(1)
            if child.poll() is not None:
                raise SystemExit(f"the fleet command ended: see {self.folder}/log")
            peak = max(peak, resident(child.pid))
        took = time.monotonic() - begun
        return (cpu_seconds(child.pid) - used) / took, peak, (pulls() - asked) / took * INTERVAL


def expect_right(fleet, document):
    """Every gateway that is well is known as such, and none that is not."""
    wrong = []
    for gateway in document["gateways"]:
        is_well = gateway["labels"]["behaviour"] == "well"
        if is_well != (gateway["state"] in ("ok", "warning", "critical")):
            wrong.append(f"{gateway['name']} ({gateway['labels']['behaviour']}) is {gateway['state']}: {gateway.get('reason')}")
    if wrong or document["total"] != fleet.count:
        raise SystemExit(f"of {document['total']} gateways {len(wrong)} are not what they are:\n" + "\n".join(wrong[:10]))


def bench(options, binary, figures):
    # A connection is a descriptor on both sides, and children inherit the limit.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    base = f"{options.folder}/fleet"
    for name, faulty, tls in (("well", 0, False), ("faulty", 3, True)):
        with Simulated(f"{base}-{name}-2000", binary, 2000, faulty, tls) as fleet:
            cores, peak, pulls = fleet.keep_asking()
            figures.add(f"fleet.2000.{name}.cores", cores, "cores", at_most=1)
            figures.add(f"fleet.2000.{name}.resident", peak / 1e6, "MB", at_most=BOUND / 1e6)
            # Each once in an interval; of faulty ones those that time out may fall behind.
            figures.add(f"fleet.2000.{name}.pulls", pulls / fleet.count, "of the fleet in 15 s", at_least=0.97)
    for name, faulty, tls in (("well", 0, False), ("tls", 0, True), ("faulty", 3, True)):
        with Simulated(f"{base}-{name}-10000", binary, 10_000, faulty, tls) as fleet:
            took, used, peak, document = fleet.ask_once()
            expect_right(fleet, document)
            figures.add(f"fleet.10000.{name}.once", took, "s", at_most=60)
            figures.add(f"fleet.10000.{name}.processor", used, "s", smaller_is_better=True)
            figures.add(f"fleet.10000.{name}.resident", peak / 1e6, "MB", at_most=BOUND / 1e6)
