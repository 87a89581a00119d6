"""What the tests of the packages share: the packages, and what they are held to."""
import argparse
import pathlib
import re
import shutil

from box import Failed, run

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MEGABYTE = 1_000_000
# What the packages may weigh.
PACKAGE_LIMIT, INSTALLED_LIMIT, RESIDENT_LIMIT = 14 * MEGABYTE, 45 * MEGABYTE, 36 * MEGABYTE
# What the command line says; filled by package.py.
given = argparse.Namespace()
# What was measured, by name.
figures = {}


def expect(condition, text):
    if not condition:
        raise Failed(text)


def deb(name):
    """The package of this name that can be installed here."""
    own = run("dpkg", "--print-architecture").stdout.strip()
    found = [path for kind in (own, "all") for path in given.packages.glob(f"{name}_*_{kind}.deb")]
    expect(len(found) == 1, f"one package of {name} in {given.packages}, not {len(found)}: run 'make deb'")
    return found[0]


def relabelled(package, version, folder):
    """The same package under another version."""
    unpacked = pathlib.Path(folder) / f"as-{version}"
    run("dpkg-deb", "-R", package, unpacked)
    control = unpacked / "DEBIAN/control"
    control.write_text(re.sub(r"^Version: .*$", f"Version: {version}", control.read_text(), flags=re.M))
    target = pathlib.Path(folder) / f"forebay_{version}_relabelled.deb"
    run("dpkg-deb", "--root-owner-group", "-Zxz", "-z0", "-b", unpacked, target)
    shutil.rmtree(unpacked)
    return target
