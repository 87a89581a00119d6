"""What a steady flow costs: bytes on disk, bytes on the link, and time from publish to receiver.

The payloads are the rows of the Numenta Anomaly Benchmark as JSON, filled up to 146 bytes with a note that every
message repeats. Each rate runs from an empty spool to the end of the daemon: closing writes what the write-ahead
logs still hold into the databases, so that no page is left that was written only once. Retention deletes nothing
yet (messages are kept 24 h)."""
import os, signal, time

from .house import House, disk_writes, wait_until
from .sink import Sink

PAYLOAD = 146
# name, messages a second, seconds, linger if not the default, bar. Those in one row run at the same time.
RATES = [
    [("10", 10, 90, None, None), ("10.linger-1s", 10, 90, "1 s", None), ("100", 100, 90, None, None)],
    [("1000", 1000, 120, None, 1.5)],
    [("1000.windows", 1000, 120, None, 1.8)],
    [("5000", 5000, 60, None, 1.0)],
]
# Stages that remember: every reading is told from those of ten minutes, every device has a window of ten seconds.
STAGES = {"1000.windows": "dedupe: { within: 10 min }, window: { every: 10 s, late: 1 s, emit: { mean: avg(value) } }"}


class Flow:
    """Devices at one rate, a daemon and a counting upstream."""

    def __init__(self, options, binary, rate):
        self.name, self.rate, seconds, linger, self.bar = rate
        self.count = int(self.rate * seconds * options.flow_scale)
        self.data = options.data
        self.sink = Sink()
        self.house = House(f"{options.folder}/flow-{self.name}", binary, linger, self.sink.port,
                           stages=STAGES.get(self.name))

    def start(self):
        self.daemon = self.house.daemon()
        time.sleep(1)
        # What the start wrote (the databases themselves, the ballast) is none of a message's.
        self.before = disk_writes(self.daemon.pid)
        self.devices = self.house.publish(
            self.count, "--total-rate", self.rate, "--payload-bytes", PAYLOAD, "--csv", self.data)

    def finish(self):
        report = self.house.published(self.devices)
        if report["published"] != self.count or report["bytes"] != self.count * PAYLOAD:
            raise SystemExit(f"the load is not {self.count} messages of {PAYLOAD} bytes: {report}")
        done = self.house.decoded if self.name in STAGES else lambda: self.house.totals()[1]
        wait_until("everything is through", lambda: done() >= self.count, 60)
        pid = self.daemon.pid
        self.running = disk_writes(pid) - self.before
        self.daemon.send_signal(signal.SIGTERM)
        # It stays a zombie until it is waited for, with its books.
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        self.written = disk_writes(pid) - self.before
        left = [name for name in os.listdir(f"{self.house.folder}/spool") if name.endswith("-wal")]
        self.written += sum(os.path.getsize(f"{self.house.folder}/spool/{name}") for name in left)
        self.daemon.wait()
        self.house.expect_proof(upstream=False)
        if self.name not in STAGES and self.sink.readings != self.count:
            raise SystemExit(f"{self.count} published, {self.sink.readings} delivered")

    def close(self):
        self.house.__exit__()
        self.sink.close()


def bench(options, binary, figures):
    if not os.path.isdir(options.data):
        raise SystemExit(f"{options.data} is missing: name a folder of CSV files with --data")
    for row in RATES:
        flows = []
        try:
            for rate in row:
                flows.append(Flow(options, binary, rate))
                flows[-1].start()
            for flow in flows:
                flow.finish()
                payload = flow.count * PAYLOAD
                figures.add(f"disk.{flow.name}", flow.written / payload, "bytes/payload-byte", at_most=flow.bar,
                            smaller_is_better=True)
                if flow.rate >= 1000:
                    figures.add(f"disk.{flow.name}.before-close", flow.running / payload, "bytes/payload-byte")
                if flow.name == "1000":
                    figures.add("uplink.1000", flow.sink.bytes / payload, "bytes/payload-byte", at_most=0.20)
                    latencies = sorted(arrived - data["ts"] / 1000 for arrived, data in flow.sink.lines())
                    figures.add("latency.p50", latencies[len(latencies) // 2], "s")
                    figures.add("latency.p99", latencies[len(latencies) * 99 // 100], "s", at_most=2)
                    figures.add("latency.highest", latencies[-1], "s")
        finally:
            for flow in flows:
                flow.close()
