"""A million messages while the upstream is down, and what a queue of that length costs the spool."""
import json, os, subprocess, time

from .house import House, resident, wait_until

WARM_UP = 20_000


def memory(pid):
    return resident(pid), resident(pid, "RssAnon")


def outage(options, binary, figures):
    count = options.messages
    total = count + WARM_UP
    with House(f"{options.folder}/outage", binary) as house:
        # In the order of things: a gateway at work, whose upstream then goes away. What the first messages and
        # the first deliveries make it allocate once is not growth.
        upstream, daemon = house.upstream(), house.daemon()
        house.published(house.publish(WARM_UP, "--payload-bytes", 200))
        wait_until("the first messages are delivered", lambda: house.totals()[1] >= WARM_UP, 60)
        house.end(upstream)
        time.sleep(3)
        start = highest = memory(daemon.pid)
        def look():
            nonlocal highest
            highest = tuple(map(max, highest, memory(daemon.pid)))
            return house.totals()
        publisher = house.publish(count, "--payload-bytes", 200, "--first-seq", 1 + WARM_UP // 200)
        begun = time.monotonic()
        while look()[0] < total:
            if publisher.poll() not in (None, 0):
                raise SystemExit(f"the devices failed: see {house.folder}/log")
            time.sleep(0.2)
        taken = time.monotonic() - begun
        time.sleep(3)
        backlog = memory(daemon.pid)
        house.upstream()
        begun, resumed = time.monotonic(), None
        while (done := look()[1]) < total:
            now = time.monotonic()
            if resumed is None and done > WARM_UP:
                resumed = now
            if now - begun > 900:
                raise SystemExit(f"the backlog was not delivered in 15 minutes: {json.dumps(house.status())}")
            time.sleep(0.2)
        # Until the first delivery it waits for its next attempt (uplinks.retry).
        resumed = resumed or time.monotonic()
        drained = max(time.monotonic() - resumed, 0.2)
        time.sleep(3)
        end = memory(daemon.pid)
        house.expect_proof()
        lines, distinct = delivered(house)
    figures.add("outage.messages", total, "messages")
    figures.add("outage.undelivered", total - lines, "readings", at_most=0)
    figures.add("outage.repeated", lines - distinct, "readings", at_most=0)
    figures.add("outage.intake", count / taken, "messages/s")
    figures.add("outage.resume", resumed - begun, "s")
    figures.add("outage.drain", count / drained, "readings/s")
    for i, kind in enumerate(["resident", "anonymous"]):
        figures.add(f"outage.{kind}.start", start[i] / 1e6, "MB")
        figures.add(f"outage.{kind}.with-backlog", backlog[i] / 1e6, "MB")
        figures.add(f"outage.{kind}.highest", highest[i] / 1e6, "MB")
        figures.add(f"outage.{kind}.growth", (end[i] - start[i]) / 1e6, "MB", at_most=10)


def delivered(house):
    """Readings at the upstream, and how many different ones."""
    export = subprocess.Popen([house.binary, "receive", "--store", f"{house.folder}/upstream", "--export"],
                              stdout=subprocess.PIPE)
    lines, distinct = 0, set()
    for line in export.stdout:
        lines += 1
        data = json.loads(line)["data"]
        distinct.add((data["device"], data["seq"]))
    if export.wait() != 0:
        raise SystemExit("the upstream's store cannot be read")
    return lines, len(distinct)


def spool(options, binary, figures):
    """From within (Benchmarks/SpoolBench): times to append a group of 1,000 messages and to seal a batch of 1,000
    readings, fsync included, with as many queued as the outage has and with 1,000, in rounds that alternate."""
    os.makedirs(f"{options.folder}/spool")
    answer = subprocess.run(
        [options.spool_bench, f"{options.folder}/spool", str(options.messages), str(options.spool_rounds)],
        check=True, capture_output=True, text=True)
    for name, times in json.loads(answer.stdout).items():
        figures.add(f"spool.{name}.with-1000", times["few_ns"] / 1e6, "ms")
        figures.add(f"spool.{name}.with-{options.messages}", times["many_ns"] / 1e6, "ms")
        figures.add(f"spool.{name}.ratio", times["ratio"], "of-1000-queued", at_most=1.2)


def bench(options, binary, figures):
    outage(options, binary, figures)
    spool(options, binary, figures)
