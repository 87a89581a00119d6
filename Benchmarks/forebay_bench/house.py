"""A broker, a daemon, an upstream and devices, each a process of its own, and what the kernel says of them."""
import json, os, random, re, signal, socket, subprocess, time

DEVICES = 200  # each with a topic of its own


def free_port():
    """Outside of the range from which the kernel hands out ports (ip_local_port_range begins at 32768): an upstream
    that is down for a while must find its port free when it comes back, whatever else runs on the machine."""
    while True:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def wait_until(what, condition, seconds, step=0.05):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"waited {seconds} s in vain until {what}")
        time.sleep(step)


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def cpu_seconds(pid):
    """Of all threads, user and system (proc(5), stat)."""
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid, kind="VmRSS"):
    """Resident bytes: all of them, or `RssAnon`, what is not a file's and so not the kernel's to drop."""
    return int(re.search(kind + r":\s+(\d+)", open(f"/proc/{pid}/status").read())[1]) * 1024


def disk_writes(pid):
    """Bytes that a process made the kernel write to disk (proc(5), io). The kernel counts a page when it is
    made dirty, again after each time that it was written out, so that writing it twice between two fsyncs counts
    once and writing it for each of two fsyncs twice, as the disk sees it. cancelled_write_bytes are pages that
    were dirty and went (their file was deleted or truncated) before they reached the disk."""
    text = open(f"/proc/{pid}/io").read()
    field = lambda name: int(re.search(rf"^{name}: (\d+)", text, re.M)[1])
    return field("write_bytes") - field("cancelled_write_bytes")


class House:
    """All of it ends with the house."""

    def __init__(self, folder, binary, linger=None, upstream_port=None, batch=None, stages=None, listen="off"):
        self.folder, self.binary, self.children = folder, binary, []
        self.broker_port, self.upstream_port = free_port(), upstream_port or free_port()
        os.makedirs(folder)
        with open(f"{folder}/mosquitto.conf", "w") as f:
            f.write(f"listener {self.broker_port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n"
                    "max_inflight_messages 0\nmax_queued_bytes 0\npersistence false\nset_tcp_nodelay true\n")
        with open(f"{folder}/forebay.yaml", "w") as f:
            f.write(f"""gateway: {{ id: bench }}
sources:
  broker: {{ mqtt: {{ url: "mqtt://127.0.0.1:{self.broker_port}" }} }}
status: {{ listen: "{listen}" }}
spool: {{ directory: spool{f", linger: {linger}" if linger else ""} }}
pipelines:
  bench: {{ from: ["sensors/{{device}}/{{series}}"], key: device, time: {{ field: ts, unit: ms }}{f", batch: {batch}" if batch else ""}{f", {stages}" if stages else ""}, to: upstream }}
uplinks:
  upstream: {{ http: {{ url: "http://127.0.0.1:{self.upstream_port}/v1/batches" }} }}
""")
        self.start(["/usr/sbin/mosquitto", "-c", f"{folder}/mosquitto.conf"])
        wait_until("the broker listens", lambda: listens(self.broker_port), 10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for child in reversed(self.children):
            self.end(child)

    def start(self, command, environment=None, **outputs):
        log = open(f"{self.folder}/log", "ab")
        outputs = {"stdout": log, "stderr": log, **outputs}
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, env={**os.environ, **(environment or {})}, **outputs)
        log.close()
        self.children.append(child)
        return child

    def end(self, child):
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(30)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def run_daemon(self, environment=None, under=()):
        return self.start(
            [*under, self.binary, "run", "--config", f"{self.folder}/forebay.yaml", "--state", self.folder], environment)

    def daemon(self, under=()):
        """A daemon whose session with the broker is there; `under` a program that runs it, such as valgrind."""
        child = self.run_daemon(under=under)
        def connected():
            if child.poll() is not None:
                raise SystemExit(f"the daemon ended: see {self.folder}/log")
            status = self.status()
            return status and status["sources"][0]["state"] == "connected"
        wait_until("the daemon is connected", connected, 120 if under else 20)
        return child

    def upstream(self):
        child = self.start([self.binary, "receive", "--listen", f"127.0.0.1:{self.upstream_port}",
                            "--store", f"{self.folder}/upstream"])
        wait_until("the upstream listens", lambda: child.poll() is not None or listens(self.upstream_port), 10)
        if child.poll() is not None:
            raise SystemExit(f"the upstream ended: see {self.folder}/log")
        return child

    def status(self):
        """What `forebay status --json` prints, without a process that would take from the daemon's share; None
        while nobody answers."""
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(10)
                s.connect(f"{self.folder}/spool/forebay.sock")
                parts = []
                while part := s.recv(1 << 16):
                    parts.append(part)
            return json.loads(b"".join(parts))
        except (OSError, ValueError):
            return None

    def publish(self, count, *options, devices=DEVICES):
        """Devices at work: QoS 1, 200 topics, as fast as the broker takes it unless `options` say otherwise."""
        pace = [] if "--total-rate" in options else ["--rate", "0"]
        return self.start(
            [self.binary, "simulate", "--url", f"mqtt://127.0.0.1:{self.broker_port}", "--devices", str(devices),
             "--clients", "4", "--count", str(count), "--qos", "1", "--json", *pace, *map(str, options)],
            stdout=open(f"{self.folder}/published.json", "wb"))

    def published(self, child):
        """The devices' own report, once they are done."""
        if child.wait(1200) != 0:
            raise SystemExit(f"the devices failed: see {self.folder}/log")
        return json.load(open(f"{self.folder}/published.json"))

    def totals(self):
        """Messages taken in, readings delivered."""
        status = self.status() or {"spool": {"received": 0}, "pipelines": []}
        return status["spool"]["received"], sum(p["delivered"] for p in status["pipelines"])

    def decoded(self):
        """Messages that pipelines have decoded, as of what they have committed."""
        return sum(p["decoded"] for p in (self.status() or {"pipelines": []})["pipelines"])

    def expect_proof(self, upstream=True):
        """The books balance, and at the upstream the chain is whole."""
        commands = [["audit", "--spool", f"{self.folder}/spool"]]
        if upstream:
            commands.append(["receive", "--store", f"{self.folder}/upstream", "--verify"])
        for command in commands:
            answer = subprocess.run([self.binary] + command, capture_output=True, text=True)
            if answer.returncode != 0:
                raise SystemExit(answer.stdout + answer.stderr)
