"""Idle memory, the size of the binary, and the time to ready with a long backlog."""
import glob, os, socket, statistics, subprocess, time

from .house import House, resident, wait_until
from .sink import Sink


def idle(options, binary, figures):
    sink = Sink()
    with House(f"{options.folder}/idle", binary, upstream_port=sink.port) as house:
        daemon = house.daemon()
        time.sleep(10)
        figures.add("idle.resident", resident(daemon.pid) / 1e6, "MB", at_most=32)
        figures.add("idle.resident.anonymous", resident(daemon.pid, "RssAnon") / 1e6, "MB", smaller_is_better=True)
    sink.close()


def release(options, binary, figures):
    """The size that .ci/check-release bounds, and ICU, which full Foundation would bring along."""
    stripped = f"{options.folder}/stripped"
    subprocess.run(["strip", "-o", stripped, binary], check=True)
    figures.add("binary.stripped", os.path.getsize(stripped) / 1e6, "MB", at_most=40)
    names = subprocess.run(["nm", "-C", binary], capture_output=True, text=True).stdout.lower()
    icu = sum(any(mark in line for mark in ("icudt", "_foundation_unicode", "uloc_")) for line in names.splitlines())
    figures.add("binary.icu-symbols", icu, "symbols", at_most=0)


def time_to_ready(house):
    """Milliseconds from fork to READY=1, as systemd would see it (sd_notify(3))."""
    path = f"{house.folder}/notify"
    if os.path.exists(path):
        os.remove(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(path)
        s.settimeout(60)
        begun = time.monotonic()
        daemon = house.run_daemon({"NOTIFY_SOCKET": path})
        while b"READY=1" not in s.recv(4096):
            pass
        took = time.monotonic() - begun
    house.end(daemon)
    return took * 1000


def forget_pages(folder):
    """Drops the spool's files from the page cache, as a boot would find them."""
    for path in glob.glob(f"{folder}/*"):
        if os.path.isfile(path):
            file = os.open(path, os.O_RDONLY)
            os.fsync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


def ready(options, binary, figures):
    """With the upstream down the backlog is sealed and lies in the outbox; once the state is lost (state.db
    deleted), all of it is unread in the log instead."""
    with House(f"{options.folder}/ready", binary) as house:
        daemon = house.daemon()
        house.published(house.publish(options.messages, "--payload-bytes", 200))
        wait_until("the backlog is sealed", lambda: backlog(house) >= options.messages, 120)
        house.end(daemon)
        cold, warm, unread = [], [], []
        for _ in range(5):
            forget_pages(f"{house.folder}/spool")
            cold.append(time_to_ready(house))
            warm.append(time_to_ready(house))
        for _ in range(3):
            for path in glob.glob(f"{house.folder}/spool/state.db*"):
                os.remove(path)
            unread.append(time_to_ready(house))
    figures.add("ready.outbox.cold", statistics.median(cold), "ms", at_most=300)
    figures.add("ready.outbox.warm", statistics.median(warm), "ms", at_most=300)
    figures.add("ready.unread", statistics.median(unread), "ms", at_most=300)


def backlog(house):
    status = house.status()
    return sum(p["outboxReadings"] for p in status["pipelines"]) if status else 0


def bench(options, binary, figures):
    release(options, binary, figures)
    idle(options, binary, figures)
    ready(options, binary, figures)
