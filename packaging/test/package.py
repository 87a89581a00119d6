#!/usr/bin/env python3
"""Installs the packages as a person does, in a Debian 12 that is booted with systemd, and sees whether all holds.

  packaging/test/package.py [--packages FOLDER] [--binary FILE] [--previous FILE.deb] [--only NAME ...] [--list]

  --packages  where `make deb` has left them (.build/deb)
  --binary    the binary that they were made from: for the check that the same binary gives the same bytes
  --previous  the package of an earlier build, to upgrade from; without it this one under a lower version
  --only      these tests

Root is needed. Exit status: 0 everything holds; 1 something does not; 2 it could not be tried.
"""
import argparse
import contextlib
import gzip
import json
import os
import pathlib
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time

from box import CACHE, Box, Failed, bootable, run, wait
from inspection import exposure, lintian, materials, reproducible, sizes
from packages import RESIDENT_LIMIT, ROOT, deb, expect, figures, given, relabelled


# In a box.

def publish(box, count, first=1, rate=None):
    """Ten devices publish so many messages together; with a rate, beside what comes next."""
    if box.is_active():
        # A broker keeps messages for those only that have been there once.
        wait("it is connected", lambda: status(box)["sources"][0]["state"] == "connected", 30)
    command = [given.forebay, "simulate", "--url", "mqtt://127.0.0.1:1883", "--devices", "10",
               *(["--total-rate", str(rate)] if rate else ["--rate", "0"]), "--count", str(count), "--first-seq",
               str(first), "--topic", "telemetry/{device}", "--json"]
    return box.start_in_network(*command) if rate else box.network(*command)


def status(box):
    said = box.run("forebay", "status", "--json", check=False, stderr=subprocess.DEVNULL).stdout
    expect(said, "forebay status has no answer")
    return json.loads(said)


def alarms(box):
    return {alarm["kind"] for alarm in status(box)["alarms"]}


def received(box):
    return status(box)["spool"]["received"]


def delivered(box):
    """Every reading in the folder of the file uplink, by device and number, after the daemon was stopped."""
    readings = []
    for file in (box.root / "var/lib/forebay-out").glob("*.ndjson.gz"):
        for line in gzip.decompress(file.read_bytes()).splitlines():
            data = json.loads(line)["data"]
            readings.append((data["device"], data["seq"]))
    return readings


def each_once(box, numbers):
    """Nothing is lost and nothing is there twice: the numbers of each of ten devices, after a stop."""
    box.run("systemctl", "stop", "forebay")
    readings = delivered(box)
    lost = {(device, number) for device in {device for device, _ in readings} for number in numbers} - set(readings)
    expect(len(readings) == len(set(readings)), f"{len(readings) - len(set(readings))} readings were delivered twice")
    expect(not lost and len(readings) == 10 * len(numbers),
           f"{len(readings)} readings of {10 * len(numbers)} were delivered; lost: {sorted(lost)[:5]}")
    box.run("forebay", "audit")
    box.run("systemctl", "start", "forebay")


def inside(package):
    return f"/packages/{pathlib.Path(package).name}"


def page(box, path, token=None):
    headers = ["-H", f"Authorization: Bearer {token}"] if token else []
    return box.network("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", *headers,
                       f"http://127.0.0.1:8420{path}").stdout


def life(template):
    """Install, first token, out of the box, boot, memory, sandbox, watchdog, bad edit, backup, downgrade, purge."""
    with Box(template) as box:
        for step in [installs, first_token, out_of_the_box, keeps_the_backlog, resident, sandbox, secrets, watchdog,
                     bad_edit, backup, newer_queue, downgrade, central, purge]:
            begun = time.monotonic()
            step(box)
            print(f"  ok  {step.__doc__.splitlines()[0]} ({time.monotonic() - begun:.0f} s)", flush=True)


def installs(box):
    """apt installs it with mosquitto, and the service runs: ready by its own word, with a watchdog"""
    said = box.install(inside(deb("forebay")))
    wait("the service runs", lambda: box.is_active())
    expect(box.property("Type") == "notify" and box.property("WatchdogUSec") == "1min", "it is not watched over")
    limits = [int(box.property(name)) >> 20 for name in ("MemoryHigh", "MemoryMax")]
    expect(limits == [192, 256], f"systemd would limit its memory to {limits} MiB")
    expect(box.property("StatusText") == "running", "the daemon has not said that it is ready")
    expect(box.is_active("mosquitto"), "mosquitto does not run")
    expect("forebay token first" in said, f"nothing tells of the first token:\n{said}")
    for place, mode in {"/etc/forebay": "750 root forebay", "/etc/forebay/forebay.yaml": "640 root forebay",
                        "/etc/forebay/credentials": "700 root root", "/etc/forebay/tokens": "640 root forebay",
                        "/var/lib/forebay": "750 forebay forebay", "/var/lib/forebay-out": "750 forebay forebay",
                        "/etc/forebay/first.token": "600 root root"}.items():
        seen = box.run("stat", "-c", "%a %U %G", place).stdout.strip()
        expect(seen == mode, f"{place} is {seen}, not {mode}")


def first_token(box):
    """the token for the status page is shown to root once, and works"""
    for log in (box.root / "var/log").rglob("*.log"):
        expect((box.root / "etc/forebay/first.token").read_text().strip() not in log.read_text(errors="replace"),
               f"the token stands in {log}")
    token = box.run("forebay", "token", "first").stdout.splitlines()[-1].strip()
    expect(box.run("forebay", "token", "first", check=False).returncode == 1, "it is shown twice")
    wait("the page is there", lambda: page(box, "/") == "200", 10)
    expect(page(box, "/v1/audit-log", token) == "200", "the token does not open what an admin may see")
    expect(page(box, "/v1/audit-log", token + "x") == "401", "a wrong token is taken")


def out_of_the_box(box):
    """what devices publish to the local mosquitto is in the files of the file uplink, each once"""
    publish(box, 2_000)
    wait("all is taken in", lambda: received(box) == 2_000)
    each_once(box, range(1, 201))


def keeps_the_backlog(box):
    """mosquitto keeps 20,000 messages while the service is away, through a restart of its own"""
    box.run("systemctl", "stop", "forebay")
    publish(box, 20_000, first=201)
    box.run("systemctl", "restart", "mosquitto")
    box.run("systemctl", "start", "forebay")
    wait("all is taken in", lambda: received(box) == 22_000)
    each_once(box, range(1, 2_201))


def resident(box):
    """at rest, with the status page on, it takes little memory"""
    wait("the page is there", lambda: page(box, "/") == "200", 10)

    def memory():
        fields = (pathlib.Path(f"/proc/{box.main_process()}") / "status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", fields).group(1)) * 1024

    # The code that only the start needed goes some seconds after it; then somebody looks at the page.
    end = time.monotonic() + 30
    seen = []
    while time.monotonic() < end:
        expect(page(box, "/v1/status") == "200" and page(box, "/") == "200", "the page does not answer")
        seen.append(memory())
        time.sleep(1)
    figures["resident at rest, the page looked at every second, bytes"] = max(seen[len(seen) // 2:])
    figures["resident right after the start, bytes"] = seen[0]
    expect(max(seen[len(seen) // 2:]) <= RESIDENT_LIMIT, f"it takes {max(seen)} bytes, {RESIDENT_LIMIT} are allowed")


SANDBOX = r"""#!/bin/sh
# What the service may not do, tried from within its sandbox. Prints what worked.
for place in / /etc /etc/forebay /usr/bin /var/lib /var/log /home /root /boot /opt /srv /run /dev/shm/../ /proc/sys/kernel \
  /sys/fs/cgroup; do
  ( : > "$place/forebay-was-here" ) 2>/dev/null && echo "wrote $place"
done
for file in /etc/shadow /etc/forebay/first.token /etc/forebay/credentials/secret /root/secret /home/secret; do
  ( : < "$file" ) 2>/dev/null && echo "read $file"
done
( echo 1 > /proc/sys/kernel/sysrq ) 2>/dev/null && echo "changed a setting of the kernel"
mount -t tmpfs none /tmp 2>/dev/null && echo "mounted"
unshare -U true 2>/dev/null && echo "made a namespace"
date -s 2001-01-01 >/dev/null 2>&1 && echo "set the clock"
mknod /var/lib/forebay/device c 1 1 2>/dev/null && echo "made a device"
chmod u+s /var/lib/forebay/sandbox 2>/dev/null && test -u /var/lib/forebay/sandbox && echo "made a set-user-id file"
kill -0 1 2>/dev/null && echo "signalled the first process"
test -r /dev/kmsg && echo "read the kernel's log"
test "$(cat "$CREDENTIALS_DIRECTORY/etc_secret")" = s3cret && echo "has its credential"
( : > /var/lib/forebay/forebay-was-here ) && echo "wrote its own folder"
( : > /var/lib/forebay-out/forebay-was-here ) && echo "wrote its uplink's folder"
rm -f /var/lib/forebay/forebay-was-here /var/lib/forebay-out/forebay-was-here
exit 0
"""


def sandbox(box):
    """the sandbox holds: writing, reading and doing what is not the service's fails, its own folders work"""
    for file in ["etc/forebay/credentials/secret", "root/secret", "home/secret"]:
        (box.root / file).write_text("s3cret\n")
    probe = box.root / "usr/local/bin/forebay-sandbox"
    probe.write_text(SANDBOX)
    probe.chmod(0o755)
    drop_in = box.root / "etc/systemd/system/forebay.service.d/probe.conf"
    drop_in.parent.mkdir()
    drop_in.write_text(
        "[Service]\nExecStartPre=cp /usr/local/bin/forebay-sandbox /var/lib/forebay/sandbox\n"
        "ExecStartPre=sh -c '/usr/local/bin/forebay-sandbox > /var/lib/forebay/worked 2>&1'\n")
    box.run("systemctl", "daemon-reload")
    box.run("systemctl", "restart", "forebay")
    worked = set((box.root / "var/lib/forebay/worked").read_text().splitlines())
    expect(worked == {"has its credential", "wrote its own folder", "wrote its uplink's folder"},
           f"from within the sandbox: {sorted(worked)}")
    shutil.rmtree(drop_in.parent)
    for file in [probe, box.root / "var/lib/forebay/worked", box.root / "var/lib/forebay/sandbox",
                 box.root / "etc/forebay/credentials/secret"]:
        file.unlink()
    box.run("systemctl", "daemon-reload")
    box.run("systemctl", "restart", "forebay")
    # The clock's state can be asked for from within: nothing else says whether times are worth something.
    outside = run("python3", "-c", "import ctypes; b = ctypes.create_string_buffer(512); "
                  "print(ctypes.CDLL(None).adjtimex(b), int.from_bytes(b[40:44], 'little') & 64)").stdout.split()
    synchronised = outside[0] not in ("5", "-1") and outside[1] == "0"
    seen = status(box)["clockSynchronised"]
    expect(seen == synchronised, f"the daemon says that the clock's being synchronised is {seen}, not {synchronised}")


def secrets(box):
    """a secret that only root can read reaches the service and the check of a reload"""
    path = box.root / "etc/forebay/forebay.yaml"
    good = path.read_text()
    secret = box.root / "etc/forebay/credentials/central-token"
    secret.write_text("s3cret\n")
    secret.chmod(0o600)
    path.write_text(good.replace("uplinks:\n", """uplinks:
  central: { http: { url: "http://127.0.0.1:9/", token_file: credential:etc_central-token } }
""", 1))
    box.run("systemctl", "restart", "forebay")
    box.run("systemctl", "reload", "forebay")
    expect("configuration" not in alarms(box), "the secret is not found")
    path.write_text(good)
    secret.unlink()
    box.run("systemctl", "restart", "forebay")


def watchdog(box):
    """a process that is stopped (SIGSTOP) is started again by the watchdog"""
    before = box.property("MainPID")
    box.run("kill", "-STOP", before)
    begun = time.monotonic()
    wait("another process runs", lambda: box.is_active() and box.property("MainPID") not in (before, "0"), 150, 1)
    figures["stopped process replaced after, s"] = round(time.monotonic() - begun)
    expect(box.property("NRestarts") == "1", f"restarts: {box.property('NRestarts')}")
    publish(box, 100, first=2_201)
    wait("it takes in again", lambda: received(box) == 22_100)


def bad_edit(box):
    """a bad edit stops neither the service nor the next boot; both say so"""
    path = box.root / "etc/forebay/forebay.yaml"
    good = path.read_text()
    path.write_text(good.replace("gateway:", "gatway:", 1))
    before = box.property("MainPID")
    said = box.run("systemctl", "reload", "forebay", check=False)
    expect(said.returncode != 0, "systemctl says that the reload went well")
    expect("did you mean 'gateway'" in box.run("journalctl", "-u", "forebay", "-n", "40").stdout, "no word of why")
    wait("the alarm is up", lambda: "configuration" in alarms(box), 10)
    expect(box.is_active() and box.property("MainPID") == before, "the service did not go on")
    box.power_off()
    box.boot()
    wait("the service runs after the boot", lambda: box.is_active())
    wait("the alarm is up", lambda: "configuration" in alarms(box), 10)
    expect(box.run("forebay", "check", check=False).returncode == 1, "check finds nothing")
    publish(box, 100, first=2_211)
    wait("it takes in as before", lambda: received(box) == 22_200)
    each_once(box, range(1, 2_221))
    # One that only the sandbox refuses: as root it looks well.
    (box.root / "data").mkdir()
    path.write_text(good.replace("directory: /var/lib/forebay\n", "directory: /data/forebay\n"))
    box.run("forebay", "check")
    expect(box.run("systemctl", "reload", "forebay", check=False).returncode != 0, "the reload went well")
    box.run("systemctl", "restart", "forebay")
    wait("the alarm is up", lambda: "configuration" in alarms(box), 10)
    (box.root / "data").rmdir()
    path.write_text(good)
    box.run("systemctl", "reload", "forebay")
    wait("the alarm ends", lambda: "configuration" not in alarms(box), 10)


def backup(box):
    """a backup of the running service, brought back in its place, goes on as the service's own, each message once"""
    # Who has taken over the service has root read nothing for him, and write nowhere.
    box.run("ln", "-s", "/etc/shadow", "/var/lib/forebay/paused-uplinks.json")
    expect(box.run("forebay", "backup", "--to", "/root/box.tar", check=False).returncode == 2, "a link is followed")
    box.run("rm", "/var/lib/forebay/paused-uplinks.json")
    box.run("forebay", "backup", "--to", "/root/box.tar")
    box.run("forebay", "backup", "verify", "/root/box.tar")
    mode = box.run("stat", "-c", "%a %U", "/root/box.tar").stdout.strip()
    expect(mode == "600 root", f"the backup is {mode}")
    expect(box.run("forebay", "restore", "/root/box.tar", "--replace", check=False).returncode == 2,
           "it is restored under a running service")
    box.run("systemctl", "stop", "forebay")
    box.run("ln", "-s", "/root", "/var/lib/forebay/restore.new")
    box.run("forebay", "restore", "/root/box.tar", "--replace", "--take-over")
    expect((box.root / "root/box.tar").exists(), "a link was followed to what root has")
    strangers = box.run("find", "/var/lib/forebay", "-not", "-user", "forebay").stdout.strip()
    expect(not strangers, f"the service does not own {strangers}")
    box.run("systemctl", "start", "forebay")
    publish(box, 100, first=2_221)
    wait("it takes in as before", lambda: received(box) == 22_300)
    each_once(box, range(1, 2_231))


def newer_queue(box):
    """a queue that a newer version wrote is refused in words and once, is not touched, and serves again afterwards"""
    path = box.root / "var/lib/forebay/state.db"

    def version(number):
        with contextlib.closing(sqlite3.connect(path)) as database:
            before, = database.execute("PRAGMA user_version").fetchone()
            database.execute(f"PRAGMA user_version = {number}")
        return before

    box.run("systemctl", "stop", "forebay")
    ours = version(99)
    content = path.read_bytes()
    box.run("systemctl", "start", "forebay", check=False)
    wait("the unit has failed", lambda: box.property("ActiveState") == "failed", 30)
    expect(box.property("ExecMainStatus") == "65", f"it ended with {box.property('ExecMainStatus')}")
    expect("which a newer version of forebay wrote" in box.run("journalctl", "-u", "forebay", "-n", "20").stdout,
           "no word of why")
    expect(path.read_bytes() == content, "the file was touched")
    version(ours)
    box.run("systemctl", "start", "forebay")
    wait("the service runs", lambda: box.is_active())
    box.run("forebay", "audit")


def downgrade(box):
    """a version that cannot read the queue is refused in words, and the service goes on"""
    older = relabelled(deb("forebay"), "0.0.9", box.folder)
    shutil.copy(older, box.root / "packages")
    before = box.property("MainPID")
    done = box.run("dpkg", "-i", inside(older), check=False)
    expect(done.returncode != 0 and "cannot read the queue" in done.stdout, f"it is not refused:\n{done.stdout}")
    expect(box.run("dpkg-query", "-W", "-f", "${Version} ${db:Status-Abbrev}", "forebay").stdout.split()
           == [run("dpkg-deb", "-f", deb("forebay"), "Version").stdout.strip(), "ii"], "the package has changed")
    expect(box.is_active() and box.property("MainPID") == before, "the service did not go on")


def central(box):
    """forebay-central installs; its services are off, and run when they are turned on"""
    box.run("dpkg", "-i", inside(deb("forebay-central")))
    for unit, address in {"forebay-receiver": "http://127.0.0.1:9000/", "forebay-fleet": "http://127.0.0.1:9180/healthz"
                          }.items():
        expect(not box.is_active(unit), f"{unit} runs without being asked")
        (box.root / "etc/forebay-central/fleet.yaml").write_text(
            'gateways:\n  - { url: "http://127.0.0.1:8420", name: gateway-1, site: plant-7 }\n')
        box.run("systemctl", "enable", "--now", unit)
        wait(f"{unit} answers", lambda: box.network("curl", "-s", "-o", "/dev/null", address, check=False)
             .returncode == 0, 20)
        expect(box.property("NRestarts", unit) == "0", f"{unit} had to be started again")
    wait("the fleet knows the gateway", lambda: '"gateway-1"' in box.network(
        "curl", "-s", "http://127.0.0.1:9180/v1/fleet").stdout, 30)


def purge(box):
    """purging leaves nothing: no file, no user, no unit, no process"""
    box.run("apt-get", "purge", "-y", "forebay", "forebay-central")
    expect(not box.run("pgrep", "-x", "forebay", check=False).stdout, "a process still runs")
    left = [path for path in box.run("find", "/", "-xdev", "-name", "*forebay*").stdout.split()
            if not path.startswith(("/packages", "/proc", "/var/log/journal"))]
    expect(not left, f"there is still: {left}")
    for table in ["passwd", "group"]:
        expect("forebay" not in (box.root / "etc" / table).read_text(), f"there is still a line in /etc/{table}")
    expect("forebay" not in box.run("systemctl", "list-units", "--all").stdout.replace("forebay-box", ""), "units stay")


def previous(folder):
    """The package to upgrade from, under a version of its own."""
    package = given.previous or deb("forebay")
    old, new = (run("dpkg-deb", "-f", path, "Version").stdout.strip() for path in (package, deb("forebay")))
    return relabelled(package, f"{new}~previous", folder) if old == new else package


def upgrade(template):
    """An upgrade from the previous build under traffic loses and repeats nothing, and keeps what was edited."""
    with Box(template) as box:
        old = previous(box.folder)
        shutil.copy(old, box.root / "packages")
        box.install(inside(old))
        path = box.root / "etc/forebay/forebay.yaml"
        path.write_text(path.read_text().replace("id: gateway-1", "id: gw-042"))
        box.run("systemctl", "reload", "forebay")
        box.run("forebay", "token", "first")
        count = 60_000
        devices = publish(box, count, rate=1_000)
        wait("there is traffic", lambda: received(box) > 2_000)
        at = received(box)
        box.install(inside(deb("forebay")))
        expect(at < count and received(box) < count, "the traffic ended before the upgrade did")
        expect(box.run("dpkg-query", "-W", "-f", "${Version}", "forebay").stdout
               == run("dpkg-deb", "-f", deb("forebay"), "Version").stdout.strip(), "it was not upgraded")
        report, _ = devices.communicate(timeout=300)
        expect(devices.returncode == 0, f"the broker did not acknowledge everything: {report}")
        wait("all is taken in", lambda: received(box) == count, 120)
        expect("gw-042" in path.read_text() and not path.with_name("first.token").exists(), "the edit was lost")
        each_once(box, range(1, count // 10 + 1))


def power_cut(template):
    """A power cut in the middle of an upgrade loses nothing: the box boots, and dpkg finishes."""
    for delay in [0.3, 1.0, 2.0]:
        with Box(template) as box:
            old = previous(box.folder)
            shutil.copy(old, box.root / "packages")
            box.install(inside(old))
            publish(box, 5_000)
            wait("all is taken in", lambda: received(box) == 5_000)
            upgrading = box.start_in_box("dpkg", "-i", inside(deb("forebay")))
            time.sleep(delay)
            in_the_middle = upgrading.poll() is None
            box.cut_power()
            upgrading.wait(30)
            box.boot()
            box.run("dpkg", "--configure", "-a")
            box.install(inside(deb("forebay")))
            wait("the service runs", lambda: box.is_active())
            publish(box, 1_000, first=501)
            wait("all is taken in", lambda: received(box) == 6_000)
            each_once(box, range(1, 601))
            print(f"  ok  cut after {delay} s{'' if in_the_middle else ' (the upgrade was over)'}", flush=True)


def piuparts():
    """piuparts installs, removes and purges both, and finds no trace."""
    # A Debian that has systemd already: what that leaves behind when it is removed itself is not ours.
    root, tarball = bootable([]), CACHE / "bootable.tar.gz"
    if not tarball.exists():
        run("tar", "-C", root, "--numeric-owner", "--exclude=./packages", "--exclude=./var/cache/apt/archives/*.deb",
            "-czf", tarball, ".")
    done = run("piuparts", "-d", "bookworm", "-b", tarball, "--no-eatmydata", "--skip-logrotatefiles-test",
               deb("forebay"), deb("forebay-central"), check=False, timeout=1_800)
    expect(done.returncode == 0, f"piuparts:\n{done.stdout[-6000:]}")


def main():
    tests = {test.__name__: test for test in
             [lintian, sizes, exposure, materials, reproducible, life, upgrade, power_cut, piuparts]}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=pathlib.Path, default=ROOT / ".build/deb")
    parser.add_argument("--binary", type=pathlib.Path)
    parser.add_argument("--previous", type=pathlib.Path)
    parser.add_argument("--only", nargs="+", choices=list(tests))
    parser.parse_args(namespace=given)
    if os.getuid() != 0:
        print("package.py: root is needed, to boot a system of its own", file=sys.stderr)
        sys.exit(2)
    failed = 0
    with tempfile.TemporaryDirectory(prefix="forebay-package-") as folder:
        run("dpkg-deb", "-x", deb("forebay"), folder)
        given.forebay = pathlib.Path(folder) / "usr/bin/forebay"
        template = None
        for name, test in tests.items():
            if given.only and name not in given.only:
                continue
            print(f"{name}: {test.__doc__}", flush=True)
            begun = time.monotonic()
            try:
                if test in (life, upgrade, power_cut):
                    template = template or bootable([deb("forebay"), deb("forebay-central")])
                    test(template)
                else:
                    test()
                print(f"ok  {name} ({time.monotonic() - begun:.0f} s)", flush=True)
            except (Failed, subprocess.TimeoutExpired) as fault:
                failed += 1
                print(f"FAILED  {name}: {fault}", flush=True)
    for name, value in figures.items():
        print(f"{name}: {value:,}" if isinstance(value, int) else f"{name}: {value}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
