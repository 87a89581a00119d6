"""The arm64 daemon under emulation: smoke_test.py ROOT, a folder with /usr/bin/forebay and its libraries.

mosquitto, mosquitto_pub and the receiver are this machine's, and the receiver is the one that was written from
docs/delivery-protocol.md alone: what they count, no code of the daemon has counted. Halfway the daemon is killed.
"""

import json
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

DEVICES = 20
EACH = 500
MESSAGES = DEVICES * EACH
HOTTEST = 85
# Emulation is 10 to 16 times slower, and other builds may run beside it.
DEADLINE = 300

RECEIVER = pathlib.Path(__file__).parents[2] / "Tests/EndToEndTests/receiver.py"
MOSQUITTO = next(p for p in ("/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "mosquitto")
                 if "/" not in p or pathlib.Path(p).exists())


class Failure(Exception):
    pass


def require(condition, text):
    if not condition:
        raise Failure(text)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait(what, condition, process=None):
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        result = condition()
        if result:
            return result
        if process is not None:
            require(process.poll() is None, f"ended with {process.returncode} while waiting until {what}")
        time.sleep(0.2)
    raise Failure(f"waited {DEADLINE} s in vain until {what}")


def listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class House:
    def __init__(self, root, folder):
        self.command = ["qemu-aarch64-static", "-L", root, f"{root}/usr/bin/forebay"]
        self.folder = folder
        self.broker_port, self.upstream_port, self.page_port = free_port(), free_port(), free_port()
        self.store = folder / "upstream.ndjson"
        self.socket = folder / "spool/forebay.sock"
        self.processes = {}
        (folder / "mosquitto.conf").write_text(
            f"listener {self.broker_port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {folder}/\nmax_queued_messages 0\n")
        (folder / "forebay.yaml").write_text(f"""
gateway: {{ id: gw }}
sources: {{ floor: {{ mqtt: {{ url: "mqtt://127.0.0.1:{self.broker_port}" }} }} }}
spool: {{ directory: spool, max: 512 MiB, min_free: 1 MiB }}
pipelines:
  machines:
    from: ["sensors/{{device}}/climate"]
    key: device
    time: {{ field: ts, unit: ms }}
    where: temperature <= {HOTTEST}
    batch: {{ max_age: 200 ms, max_bytes: 64 KiB, compression: gzip }}
    to: central
uplinks:
  central:
    http: {{ url: "http://127.0.0.1:{self.upstream_port}/v1/batches", timeout: 30 s }}
    retry: {{ initial: 50 ms, max: 1 s }}
status: {{ listen: "127.0.0.1:{self.page_port}" }}
shutdown: {{ grace: 60 s }}
""")

    def start(self, name, arguments):
        log = open(self.folder / f"{name}.log", "ab")
        self.processes[name] = subprocess.Popen(
            [str(a) for a in arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder)
        return self.processes[name]

    def stop_all(self):
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()

    def start_daemon(self):
        daemon = self.start("daemon", self.command + [
            "run", "--config", self.folder / "forebay.yaml", "--state", self.folder / "spool"])
        wait("the daemon has subscribed", lambda: all(
            s["subscribed"] for s in self.status().get("sources", [{"subscribed": False}])), daemon)
        return daemon

    def forebay(self, *arguments):
        return subprocess.run(self.command + [str(a) for a in arguments], capture_output=True, text=True,
                              timeout=DEADLINE, stdin=subprocess.DEVNULL)

    def status(self):
        answer = self.forebay("status", "--json", "--socket", self.socket)
        return json.loads(answer.stdout) if answer.returncode == 0 else {}

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.page_port}{path}", timeout=60) as answer:
            return answer.read().decode()

    def connect_devices(self):
        """One mosquitto_pub per device: it publishes line by line, and ends with 0 when the broker has everything."""
        return [subprocess.Popen(
            ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(self.broker_port), "-i", f"device-{device}", "-q", "1",
             "-t", f"sensors/d{device}/climate", "-l"], stdin=subprocess.PIPE, text=True) for device in range(DEVICES)]

    def delivered(self):
        """Device and sequence number of every reading that the receiver holds, in the order of its store."""
        readings = []
        for row in self.store.read_text().splitlines() if self.store.exists() else []:
            for line in json.loads(row).get("text", []):
                payload = json.loads(line)["data"]
                readings.append((payload["device"], payload["seq"]))
        return readings


def temperature(device, seq):
    """Some of them more than the pipeline lets pass."""
    return (seq * 7 + device) % 140 - 35


def publish(devices, numbers):
    for seq in numbers:
        for device, publisher in enumerate(devices):
            publisher.stdin.write(json.dumps({
                "device": f"d{device}", "seq": seq, "ts": 1_700_000_000_000 + seq * 1000,
                "temperature": temperature(device, seq), "note": "-" * 40}) + "\n")
    for publisher in devices:
        publisher.stdin.flush()


def expected():
    """What has to arrive: the readings that `where` lets pass."""
    return {(f"d{device}", seq) for device in range(DEVICES) for seq in range(1, EACH + 1)
            if temperature(device, seq) <= HOTTEST}


def run(house):
    version = house.forebay("--version")
    require(version.returncode == 0, f"the binary does not start: {version.stderr}")
    print(f"arm64: forebay {version.stdout.strip()}, under qemu")
    broker = house.start("broker", [MOSQUITTO, "-c", house.folder / "mosquitto.conf"])
    wait("the broker listens", lambda: listening(house.broker_port), broker)
    upstream = house.start("upstream", [sys.executable, RECEIVER, house.upstream_port, house.store])
    wait("the upstream listens", lambda: listening(house.upstream_port), upstream)
    began = time.monotonic()
    daemon = house.start_daemon()
    print(f"arm64: subscribed {time.monotonic() - began:.1f} s after its start")

    began = time.monotonic()
    devices = house.connect_devices()
    publish(devices, range(1, EACH // 2 + 1))
    wait("a part of the messages is in the log",
         lambda: house.status().get("spool", {}).get("received", 0) >= MESSAGES // 4, daemon)
    publish(devices, range(EACH // 2 + 1, EACH * 3 // 4 + 1))
    daemon.kill()
    daemon.wait()
    publish(devices, range(EACH * 3 // 4 + 1, EACH + 1))
    for publisher in devices:
        publisher.stdin.close()
        require(publisher.wait(DEADLINE) == 0, "a device could not publish")
    daemon = house.start_daemon()
    wanted = expected()
    wait("everything has arrived", lambda: len(set(house.delivered())) >= len(wanted), daemon)
    seconds = time.monotonic() - began
    print(f"arm64: {MESSAGES} messages taken, sealed and delivered in {seconds:.1f} s, a kill -9 and a start between: "
          f"{MESSAGES / seconds:.0f} a second under emulation, which says nothing about a gateway")

    require(house.get("/healthz").strip() != "", "/healthz is empty")
    require("forebay_" in house.get("/metrics"), "/metrics names no metric")
    require("<html" in house.get("/"), "the status page is not there")
    # Five seconds after the start the daemon lets go of its own code, and has to be there afterwards.
    time.sleep(6)
    status = house.status()
    require(status, "the daemon does not answer after its code left memory")
    require(status["sources"][0]["reconnects"] == 0, "the connection to the broker broke on the way")
    daemon.terminate()
    require(daemon.wait(DEADLINE) == 0, f"the daemon ended with {daemon.returncode} at SIGTERM")

    delivered = house.delivered()
    require(len(delivered) == len(set(delivered)), f"{len(delivered) - len(set(delivered))} readings came twice")
    require(set(delivered) == wanted,
            f"{len(wanted - set(delivered))} readings are missing, {len(set(delivered) - wanted)} nobody sent")
    verdict = subprocess.run([sys.executable, RECEIVER, "--verify", house.store], capture_output=True, text=True)
    require(verdict.returncode == 0 and json.loads(verdict.stdout)["complete"],
            f"the chains do not verify: {verdict.stdout}{verdict.stderr}")
    audit = house.forebay("audit", "--spool", house.folder / "spool", "--json")
    require(audit.returncode == 0, f"the ledger does not balance: {audit.stdout}{audit.stderr}")
    columns = json.loads(audit.stdout)["pipelines"][0]["columns"]
    for name, count in {"received": MESSAGES, "decoded": MESSAGES, "filtered": MESSAGES - len(wanted),
                        "delivered": len(wanted), "waiting": 0, "outbox": 0}.items():
        require(columns[name] == count, f"the ledger's {name} is {columns[name]} instead of {count}")
    print(f"arm64: {len(delivered)} readings arrived, none lost, none twice, {MESSAGES - len(wanted)} filtered; "
          "chains and ledger hold")


def main():
    with tempfile.TemporaryDirectory(prefix="forebay-arm64-") as folder:
        house = House(sys.argv[1], pathlib.Path(folder))
        try:
            run(house)
        except Failure as failure:
            log = house.folder / "daemon.log"
            print(f"arm64: {failure}\nthe daemon's log ends:\n{log.read_text()[-3000:] if log.exists() else ''}",
                  file=sys.stderr)
            return 1
        finally:
            house.stop_all()
    return 0


if __name__ == "__main__":
    sys.exit(main())
