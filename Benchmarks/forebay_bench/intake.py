"""Messages a second taken in durably and delivered, and what one costs, against mosquitto_sub."""
import os, statistics, subprocess, time

from .house import House, cpu_seconds, wait_until

PAYLOAD = 200


def reference(folder, binary, count):
    """`mosquitto_sub -q 1` that writes everything to /dev/null: (messages/s, microseconds a message)."""
    with House(folder, binary) as house:
        # As many on the way at once as the daemon asks for; -C ends it after so many messages.
        child = subprocess.Popen(
            ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(house.broker_port), "-q", "1", "-t", "sensors/#", "-V", "5",
             "-C", str(count), "-D", "CONNECT", "receive-maximum", "1000"], stdout=subprocess.DEVNULL)
        house.children.append(child)
        time.sleep(0.5)
        begun = time.monotonic()
        devices = house.publish(count, "--payload-bytes", PAYLOAD)
        _, _, usage = os.wait4(child.pid, 0)
        child.returncode = 0
        took = time.monotonic() - begun
        check_load(house.published(devices), count)
        return count / took, (usage.ru_utime + usage.ru_stime) / count * 1e6


def forebay(folder, binary, count):
    with House(folder, binary) as house:
        house.upstream()
        daemon = house.daemon()
        before, begun = cpu_seconds(daemon.pid), time.monotonic()
        devices = house.publish(count, "--payload-bytes", PAYLOAD)
        wait_until("everything is delivered", lambda: house.totals()[1] >= count, 300)
        took = time.monotonic() - begun
        used = cpu_seconds(daemon.pid) - before
        check_load(house.published(devices), count)
        house.expect_proof()
        return count / took, used / count * 1e6


def check_load(report, count):
    """The load is what the figures say of it."""
    if report["published"] != count or report["bytes"] != count * PAYLOAD or report["devices"] != 200:
        raise SystemExit(f"the load is not {count} messages of {PAYLOAD} bytes on 200 topics: {report}")


def bench(options, binary, figures):
    count = min(options.messages, 200_000)
    rounds = []
    for number in range(options.rounds):
        theirs = reference(f"{options.folder}/reference-{number}", binary, count)
        ours = forebay(f"{options.folder}/intake-{number}", binary, count)
        rounds.append((ours, theirs))
    median = statistics.median
    figures.add("intake.reference", median(t[0] for _, t in rounds), "messages/s")
    figures.add("intake.forebay", median(o[0] for o, _ in rounds), "messages/s")
    figures.add("intake.ratio", median(o[0] / t[0] for o, t in rounds), "of-mosquitto_sub", at_least=0.65)
    figures.add("cpu.reference", median(t[1] for _, t in rounds), "us/message")
    figures.add("cpu.forebay", median(o[1] for o, _ in rounds), "us/message")
    figures.add("cpu.ratio", median(o[1] / t[1] for o, t in rounds), "of-mosquitto_sub", at_most=2.0)
