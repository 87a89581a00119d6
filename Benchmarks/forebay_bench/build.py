"""Release binaries, built as `make release` builds them."""
import os, subprocess, sys


def build(root, product):
    flags = open(os.path.join(root, "packaging", "release-flags")).read().split()
    command = ["swift", "build", "--explicit-target-dependency-import-check", "error", "-c", "release",
               "--static-swift-stdlib", *flags, "--product", product, "--package-path", root]
    subprocess.run(command, check=True, stdout=sys.stderr)
    shown = subprocess.run(command + ["--show-bin-path"], check=True, capture_output=True, text=True).stdout.strip()
    return f"{shown}/{product}"
