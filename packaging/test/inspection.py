"""What can be seen of the packages without installing them."""
import json
import os
import pathlib
import re
import shutil
import tempfile

from box import run
from packages import INSTALLED_LIMIT, PACKAGE_LIMIT, ROOT, deb, expect, figures, given

UNITS = {
    "forebay": "forebay.service", "forebay-central": "forebay-central.forebay-fleet.service",
    "receiver": "forebay-central.forebay-receiver.service",
}


def lintian():
    """lintian finds nothing at its default level, and every override has its reason above it."""
    done = run("lintian", "--no-cfg", "--allow-root", *sorted(given.packages.glob(f"*_{run('dpkg', '--print-architecture').stdout.strip()}.changes")), check=False)
    found = [line for line in done.stdout.splitlines() if re.match(r"[EWM]: ", line)]
    expect(done.returncode == 0 and not found, f"lintian: {done.stdout}")
    for file in sorted((ROOT / "packaging/debian").glob("*lintian-overrides")):
        above = ""
        for line in file.read_text().splitlines():
            expect(line.startswith("#") or above.startswith("#"), f"{file.name}: no reason stands above: {line}")
            above = line


def sizes():
    """The packages are small enough."""
    for name in ["forebay", "forebay-central"]:
        package = deb(name)
        figures[f"{name} package, bytes"] = size = package.stat().st_size
        with tempfile.TemporaryDirectory() as folder:
            run("dpkg-deb", "-x", package, folder)
            installed = sum(path.stat().st_size for path in pathlib.Path(folder).rglob("*")
                            if path.is_file() and not path.is_symlink())
        figures[f"{name} installed, bytes"] = installed
        expect(size <= PACKAGE_LIMIT, f"{package} has {size} bytes, {PACKAGE_LIMIT} are allowed")
        expect(installed <= INSTALLED_LIMIT, f"{name} takes {installed} bytes, {INSTALLED_LIMIT} are allowed")


def exposure():
    """systemd finds the sandboxes tight: an exposure of at most 1.5 for every unit."""
    with tempfile.TemporaryDirectory() as folder:
        for name, file in UNITS.items():
            unit = pathlib.Path(folder) / f"{name}.service"
            shutil.copy(ROOT / "packaging/debian" / file, unit)
            done = run("systemd-analyze", "security", "--offline=true", "--threshold=15", unit, check=False)
            level = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
            figures[f"exposure of {file}"] = level and level.group(1)
            expect(done.returncode == 0 and level, f"{file} is more exposed than 1.5:\n{done.stdout}")


def materials():
    """The bill of materials is whole, and lies in the package with the licences."""
    run(ROOT / "packaging/sbom", "check", *(["--binary", given.binary] if given.binary else []))
    with tempfile.TemporaryDirectory() as folder:
        run("dpkg-deb", "-x", deb("forebay"), folder)
        shelf = pathlib.Path(folder) / "usr/share/doc/forebay"
        bill = json.loads((shelf / "forebay.cdx.json").read_text())
        table = json.loads((ROOT / "packaging/dependencies.json").read_text())
        names = {part["name"] for part in bill["components"]}
        expect(names >= set(table["packages"]) | set(table["system"]), "the bill of materials has gaps")
        expect(all(part["licenses"] for part in bill["components"]), "the bill of materials lacks licences")
        for document in ["copyright", "operations.md", "installation.md"]:
            expect((shelf / document).stat().st_size > 0, f"{document} is not in the package")
        needed = run("dpkg-deb", "-f", deb("forebay"), "Depends").stdout
        shared = {word.split()[0] for word in needed.split(", ")} - {"systemd"}
        expect(shared == set(table["system"]), f"the package needs {shared}, the table has {set(table['system'])}")


def reproducible():
    """Another build of the packages, elsewhere and later, gives the same bytes."""
    expect(given.binary, "--binary names what the packages were made from")
    with tempfile.TemporaryDirectory(prefix="forebay-elsewhere-") as folder:
        copy = pathlib.Path(folder) / "some/where/else"
        files = run("git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard").stdout.splitlines()
        for file in files:
            if file.startswith(("packaging/", "docs/", ".ci/")) or "/" not in file:
                (copy / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / file, copy / file)
        run(copy / "packaging/build-deb", "--binary", given.binary, "--out", copy / "out",
            env={**os.environ, "TZ": "Asia/Tokyo", "LC_ALL": "C", "HOME": folder})
        for name in ["forebay", "forebay-central"]:
            second = next((copy / "out").glob(f"{name}_*.deb"))
            expect(second.read_bytes() == deb(name).read_bytes(), f"{second.name} differs from {deb(name)}")
