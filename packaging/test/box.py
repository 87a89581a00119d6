"""A Debian 12 with systemd, made by debootstrap and booted by systemd-nspawn: the box that packages are installed in.

Everything is kept in one folder (FOREBAY_CACHE, ~/.cache/forebay by default) and made anew when it is deleted. A box
has a network of its own, without a way out: what it installs was downloaded before. Root is needed.
"""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

CACHE = pathlib.Path(os.environ.get("FOREBAY_CACHE", pathlib.Path.home() / ".cache/forebay"))
MIRROR = os.environ.get("FOREBAY_MIRROR", "http://deb.debian.org/debian")
# What a box needs beyond the smallest Debian: systemd as its first process, and the tools of the tests.
PACKAGES = ["systemd-sysv", "dbus", "procps", "iproute2", "init-system-helpers"]


class Failed(Exception):
    """Something does not hold; the text says what was expected, and what was seen."""


def run(*command, check=True, timeout=600, **options):
    options = {"stderr": subprocess.STDOUT, **options}
    done = subprocess.run(
        [str(word) for word in command], text=True, stdout=subprocess.PIPE, timeout=timeout, **options)
    if check and done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}")
    return done


def wait(what, condition, seconds=60, pause=0.2):
    """Waits until condition() gives something that is true, and gives that."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"waited {seconds} s in vain until {what}; seen last: {value!r}")
        time.sleep(pause)


def chroot(root, *command):
    """Runs a command in a root that is not booted, with this machine's network."""
    return run(
        "systemd-nspawn", "-q", "-D", root, "--register=no", "--keep-unit", "--as-pid2", "--console=pipe",
        "--resolv-conf=replace-host", "--setenv=DEBIAN_FRONTEND=noninteractive", *command)


def smallest():
    """The folder of a root as debootstrap makes it."""
    root = CACHE / "bookworm"
    if not (root / "usr/bin/apt-get").exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(root, ignore_errors=True)
        fresh = CACHE / "bookworm.new"
        shutil.rmtree(fresh, ignore_errors=True)
        run("debootstrap", "--variant=minbase", "bookworm", fresh, MIRROR)
        fresh.rename(root)
    return root


def bootable(packages):
    """The folder of a root that boots, with all that installing these packages (.deb files) takes downloaded."""
    root = CACHE / "bootable"
    if not (root / "sbin/init").exists():
        fresh = CACHE / "bootable.new"
        shutil.rmtree(fresh, ignore_errors=True)
        run("cp", "-a", smallest(), fresh)
        chroot(fresh, "apt-get", "update")
        chroot(fresh, "apt-get", "install", "-y", "--no-install-recommends", *PACKAGES)
        fresh.rename(root)
    shutil.rmtree(root / "packages", ignore_errors=True)
    (root / "packages").mkdir()
    for package in packages:
        shutil.copy(package, root / "packages")
    if not packages:
        return root
    names = [f"/packages/{pathlib.Path(package).name}" for package in packages]
    chroot(root, "apt-get", "install", "-y", "--download-only", *names)
    return root


class Box:
    """One root of its own, booted; deleted with all that is in it at the end."""

    def __init__(self, template):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="forebay-box-", dir=CACHE))
        self.root = self.folder / "root"
        run("cp", "-a", "--reflink=auto", template, self.root)
        # Each its own, as on a machine that was just set up.
        (self.root / "etc/machine-id").write_text("")
        (self.root / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
        self.machine = self.first = None

    def __enter__(self):
        self.boot()
        return self

    def __exit__(self, *_):
        if self.machine:
            self.cut_power()
        shutil.rmtree(self.folder, ignore_errors=True)

    def boot(self):
        log = open(self.folder / "console", "ab")
        self.machine = subprocess.Popen(
            ["systemd-nspawn", "-q", "-D", self.root, "-b", "--register=no", "--keep-unit", "--private-network",
             # The question whether the clock is synchronised is open on a real machine.
             "--system-call-filter=adjtimex clock_adjtime", "--console=pipe", "--link-journal=no"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.first = wait("the box has a first process", self._first, 30)
        # Systemd listens for systemctl, and has started what is enabled, whether that worked or not.
        wait("systemd answers", lambda: self.run("systemctl", "is-system-running", check=False).stdout.strip() in
             ("running", "degraded"), 90)

    def _first(self):
        """The process that is number 1 in there, by the number that it has out here."""
        if self.machine.poll() is not None:
            raise Failed(f"the box does not boot:\n{(self.folder / 'console').read_text(errors='replace')[-2000:]}")
        family = {self.machine.pid}
        for status in sorted(pathlib.Path("/proc").glob("[0-9]*/status"), key=lambda path: int(path.parent.name)):
            try:
                fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
            except OSError:
                continue
            if int(fields["PPid"]) in family:
                family.add(int(fields["Pid"]))
                if fields["NSpid"].split()[1:] == ["1"]:
                    return int(fields["Pid"])
        return None

    def run(self, *command, check=True, **options):
        """Runs a command in the box, as root."""
        return run(
            "nsenter", "-t", self.first, "-a", "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8",
            "DEBIAN_FRONTEND=noninteractive", *command, check=check, **options)

    def start_in_box(self, *command):
        return subprocess.Popen(
            ["nsenter", "-t", str(self.first), "-a", "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *map(str, command)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def network(self, *command, check=True, **options):
        """Runs a program of this machine in the network of the box."""
        return run("nsenter", "-t", self.first, "-n", *command, check=check, **options)

    def start_in_network(self, *command):
        return subprocess.Popen(
            ["nsenter", "-t", str(self.first), "-n", *map(str, command)], text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)

    def power_off(self):
        self.run("systemctl", "poweroff", check=False)
        self.machine.wait(120)
        self.machine = None

    def cut_power(self):
        """Everything in the box ends at once, in the middle of whatever it does."""
        try:
            os.kill(self.first, signal.SIGKILL)
        except (ProcessLookupError, TypeError):
            pass
        try:
            self.machine.wait(30)
        except subprocess.TimeoutExpired:
            self.machine.kill()
            self.machine.wait(30)
        self.machine = None

    # What is asked often.

    def property(self, name, unit="forebay"):
        return self.run("systemctl", "show", unit, "-p", name, "--value").stdout.strip()

    def main_process(self):
        """The daemon's process as this machine numbers it; None when it does not run."""
        inner = self.property("MainPID")
        for status in pathlib.Path("/proc").glob("[0-9]*/status"):
            try:
                text = status.read_text()
            except OSError:
                continue
            ids = [line for line in text.splitlines() if line.startswith("NSpid:")][0].split()[1:]
            if len(ids) > 1 and ids[-1] == inner and os.stat(status.parent / "ns/net").st_ino == self._net():
                return int(ids[0])
        return None

    def _net(self):
        return os.stat(f"/proc/{self.first}/ns/net").st_ino

    def is_active(self, unit="forebay"):
        return self.run("systemctl", "is-active", unit, check=False).stdout.strip() == "active"

    def install(self, *packages):
        return self.run("apt-get", "install", "-y", "--allow-downgrades", *packages).stdout
