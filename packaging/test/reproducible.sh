#!/usr/bin/env bash
# Builds the release binary in two folders, and the packages of both: they must be the same to the byte.
# Usage: packaging/test/reproducible.sh [FOLDER]; FOLDER keeps what was built, and is not built again.
#
# The folders' names have the same length: Swift 6.3 maps a path away (-file-prefix-map) and keeps the length that it had
# where it checks withoutActuallyEscaping (swift_isEscapingClosureAtFileLocation), which is four bytes of the binary.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
work=${1:-}
if [ -z "$work" ]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
fi
places=("$work/one/forebay" "$work/two/forebay")
for place in "${places[@]}"; do
  mkdir -p "$place"
  git -C "$root" ls-files -z --cached --others --exclude-standard | tar -C "$root" --null -T - -cf - | tar -C "$place" -xf -
  # What was fetched already is not fetched again.
  if [ -d "$root/.build/repositories" ] && [ ! -d "$place/.build" ]; then
    mkdir "$place/.build"
    cp -r "$root/.build/repositories" "$place/.build/"
  fi
  make -s -C "$place" release-binary
  strip -o "$place/.build/stripped" "$place/.build/release/forebay"
  "$place/packaging/strip-build-traces" "$place/.build/stripped"
  "$place/packaging/build-deb" --binary "$place/.build/release/forebay"
done
failed=0
for file in .build/stripped .build/deb/forebay_*.deb .build/deb/forebay-central_*.deb; do
  for first in "${places[0]}"/$file; do
    second=${places[1]}${first#"${places[0]}"}
    if cmp "$first" "$second"; then echo "the same bytes: ${first##*/}"; else failed=1; fi
  done
done
exit $failed
