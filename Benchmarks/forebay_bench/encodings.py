"""What reaches the upstream in every encoding and compression, for a link that is paid by the byte.

Seven devices publish the rows of the Numenta Anomaly Benchmark, one series each, as JSON of 146 bytes; together 1,000
messages a second, so that a batch, which is closed at its default age of a second, has about as many. No two devices
say the same, as those of the flow do: what is left after compression are the digits of the values. All four ways run
at the same time."""
import os

from .house import House, wait_until
from .sink import Sink

PAYLOAD = 146
DEVICES, RATE, SECONDS = 7, 1000, 70
# encoding, compression, bar
WAYS = [("ndjson", "gzip", None), ("ndjson", "zstd", None), ("columns", "gzip", None), ("columns", "zstd", 0.12)]


class Way:
    def __init__(self, options, binary, encoding, compression, bar):
        self.encoding, self.compression, self.bar = encoding, compression, bar
        self.count = int(RATE * SECONDS * options.flow_scale)
        self.data = options.data
        self.sink = Sink()
        self.house = House(f"{options.folder}/{encoding}-{compression}", binary, upstream_port=self.sink.port,
                           batch=f"{{ encoding: {encoding}, compression: {compression} }}")

    def start(self):
        self.house.daemon()
        self.devices = self.house.publish(
            self.count, "--total-rate", RATE, "--payload-bytes", PAYLOAD, "--csv", self.data, devices=DEVICES)

    def finish(self, figures):
        report = self.house.published(self.devices)
        if report["published"] != self.count or report["bytes"] != self.count * PAYLOAD:
            raise SystemExit(f"the load is not {self.count} messages of {PAYLOAD} bytes: {report}")
        wait_until("everything is delivered", lambda: self.house.totals()[1] >= self.count, 60)
        if self.sink.readings != self.count:
            raise SystemExit(f"{self.count} published, {self.sink.readings} delivered")
        figures.add(f"uplink.{self.encoding}.{self.compression}", self.sink.bytes / (self.count * PAYLOAD),
                    "bytes/payload-byte", at_most=self.bar, smaller_is_better=True)

    def close(self):
        self.house.__exit__()
        self.sink.close()


def bench(options, binary, figures):
    if not os.path.isdir(options.data):
        raise SystemExit(f"{options.data} is missing: name a folder of CSV files with --data")
    ways = []
    try:
        for way in WAYS:
            ways.append(Way(options, binary, *way))
        for way in ways:
            way.start()
        for way in ways:
            way.finish(figures)
    finally:
        for way in ways:
            way.close()
