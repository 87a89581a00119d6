# Debian packages of another suite or architecture, unpacked into a folder. Nothing is installed on this machine, and
# its own apt knows nothing of it: apt runs with lists, a cache and a (mostly empty) package database of its own. What
# the machine's apt is told otherwise (a proxy, say) holds here too. Sourced by toolchain and smoke-test.

# The folder of everything: 6 GB, outside the repository.
cache=${FOREBAY_ARM64_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/forebay-arm64}
# Where the packages come from, and whose signature counts.
mirror=${FOREBAY_ARM64_MIRROR:-http://deb.debian.org/debian}
# The compiler's root, the Swift SDK and the system in it that the binary is linked for.
host=$cache/host
bundle=$cache/sdk/forebay-arm64.artifactbundle
sysroot=$bundle/aarch64/sysroot
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

stop() { # message
  echo "arm64: $*" >&2
  exit 1
}

say() { # message
  printf 'arm64: %s\n' "$*"
}

# Makes $cache/apt/NAME, and from then on apt-get and apt-cache mean it.
# NAME, suite, architecture (and further ones that it may fetch packages of)
use_archive() {
  archive=$cache/apt/$1
  local suite=$2 architecture=$3
  shift 2
  rm -rf "$archive/cache"
  mkdir -p "$archive"/{state/lists/partial,cache/archives/partial}
  touch "$archive/state/status"
  echo "deb [signed-by=$keyring] $mirror $suite main" >"$archive/sources.list"
  cat >"$archive/apt.conf" <<END
APT::Architecture "$architecture";
APT::Architectures { $(printf '"%s"; ' "$@")};
APT::Install-Recommends "false";
APT::Sandbox::User "";
Acquire::Languages "none";
Dir::State "$archive/state";
Dir::State::status "$archive/state/status";
Dir::Cache "$archive/cache";
Dir::Etc::sourcelist "$archive/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
END
  export APT_CONFIG=$archive/apt.conf
  apt-get update -qq -o APT::Update::Error-Mode=any || stop "the package lists of $suite cannot be had from $mirror"
}

# Fetches packages with everything that they depend on.
# packages...
fetch_with_dependencies() {
  apt-get install -qq -y --download-only "$@" >/dev/null || stop "these packages cannot be had from $mirror: $*"
}

# Fetches packages alone.
# packages...
fetch_alone() {
  (cd "$archive/cache/archives" && apt-get download -qq "$@") || stop "these packages cannot be had from $mirror: $*"
}

# Unpacks packages into a folder in the place of a file system, without what only people read. /bin and its kind are
# links into /usr, as every Debian 12 has them.
# folder, packages' files...
unpack() {
  local root=$1 directory package
  shift
  mkdir -p "$root"/usr/{bin,sbin,lib}
  for directory in bin sbin lib; do ln -sfn "usr/$directory" "$root/$directory"; done
  for package in "$@"; do
    dpkg-deb --fsys-tarfile "$package" | tar -x -C "$root" --keep-directory-symlink --no-same-owner \
      --exclude './usr/share/doc/*' --exclude './usr/share/man/*' --exclude './usr/share/locale/*' \
      --exclude './usr/share/info/*' --exclude './usr/share/lintian/*' "${unpack_options[@]}"
  done
}
unpack_options=()

# Absolute links would leave the folder: they are made relative to it.
# folder
relative_links() {
  local root=$1 link target
  find "$root" -type l -lname '/*' -printf '%p\t%l\n' | while IFS=$'\t' read -r link target; do
    ln -sfn "$(realpath -m --relative-to="$(dirname "$link")" "$root$target")" "$link"
  done
}

# Writes which package each file of an unpacked system comes from, as dpkg has it, for dpkg-shlibdeps: it runs on this
# machine, whose own database knows nothing of the folder.
# database's folder, folder, packages' files...
write_database() {
  local database=$1 root=$2 package name control
  shift 2
  rm -rf "$database"
  mkdir -p "$database/info" "$database/updates"
  dpkg --print-architecture >"$database/arch"
  echo 1 >"$database/info/format"
  for package in "$@"; do
    dpkg-deb -f "$package" >>"$database/status"
    printf 'Status: install ok installed\n\n' >>"$database/status"
    name=$(dpkg-deb -f "$package" Package)
    dpkg-deb -f "$package" Architecture | sed /all/d >>"$database/arch"
    [ "$(dpkg-deb -f "$package" Multi-Arch)" != same ] || name=$name:$(dpkg-deb -f "$package" Architecture)
    control=$(mktemp -d)
    dpkg-deb -e "$package" "$control"
    for file in symbols shlibs; do
      [ ! -f "$control/$file" ] || cp "$control/$file" "$database/info/$name.$file"
    done
    rm -rf "$control"
    dpkg-deb --fsys-tarfile "$package" | tar -t | sed -nE "s|^\\./((usr/)?lib/.*[^/])\$|$root/\\1|p" |
      sed "s|^$root/lib/|$root/usr/lib/|" >"$database/info/$name.list"
  done
  sort -u -o "$database/arch" "$database/arch"
}
