#!/bin/bash
# Builds every fuzzer and runs them one after the other, for SECONDS in all (300 unless told).
# Exits 1 as soon as one of them finds something; the input lies in .build/fuzz/<name>/ then.
#
#   Fuzz/run.sh [SECONDS] [NAME...]      NAME: run only these
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-300}
shift || true
only=("$@")
out=$PWD/.build/fuzz
vectors=${FOREBAY_VECTORS:-../shared/vectors}
mkdir -p "$out/modules"

# With optimisation the fuzzers make ten times as many tries; overflow and array bounds are still checked,
# and the address sanitizer sees what unsafe pointers do.
flags=(-O -g -parse-as-library -sanitize=fuzzer,address -swift-version 6 -package-name forebay
  -enable-upcoming-feature ExistentialAny -enable-upcoming-feature MemberImportVisibility
  -enable-upcoming-feature InternalImportsByDefault -I "$out/modules")
for module in Sources/C*/module.modulemap; do flags+=(-I "$(dirname "$module")"); done
# The sanitizer's own symbols, which the linker mentions one by one.
quiet() { grep -v "Cannot export local symbol '__asan" >&2 || true; }

# module NAME [SOURCE...]: compiles Sources/NAME, or these files of it, into an object that the fuzzers link.
module() {
  local object="$out/modules/$1.o" sources=("${@:2}")
  [ ${#sources[@]} -gt 0 ] || sources=("Sources/$1")
  find "${sources[@]}" -name '*.swift' -print0 | sort -z | xargs -0 swiftc "${flags[@]}" \
    -whole-module-optimization -module-name "$1" -emit-module \
    -emit-module-path "$out/modules/$1.swiftmodule" -emit-object -o "$object"
}

# Swift's own backtracer reads memory that the address sanitizer watches, and both then wait for ever.
export SWIFT_BACKTRACE=enable=no

names=()
# fuzzer NAME "MODULES" SEEDS [SOURCE...]: builds Fuzz/NAMEFuzzer.swift with the modules that it imports
# and further source files; SEEDS is a folder of first inputs, or - where the lines of the function
# seeds_NAME are.
fuzzer() {
  local name=$1 modules=$2 seeds=$3
  shift 3
  if [ ${#only[@]} -gt 0 ] && [[ " ${only[*]} " != *" $name "* ]]; then return; fi
  local corpus="$out/$name/corpus" objects=()
  mkdir -p "$corpus"
  # What an earlier run found is tried first.
  find "$out/$name" -maxdepth 1 -type f \( -name 'crash-*' -o -name 'timeout-*' -o -name 'oom-*' \
    -o -name 'leak-*' \) -exec mv -t "$corpus" {} +
  for module in $modules; do objects+=("$out/modules/$module.o"); done
  echo "building $name"
  swiftc "${flags[@]}" -module-name "${name}Fuzzer" "Fuzz/${name}Fuzzer.swift" Fuzz/Input.swift "$@" \
    "${objects[@]}" -o "$out/$name/fuzzer" 2> >(quiet)
  if [ "$seeds" = - ]; then
    local n=0
    while IFS= read -r line; do
      printf '%b' "$line" > "$corpus/seed-$n"
      n=$((n + 1))
    done < <("seeds_$name")
  elif [ -d "$seeds" ]; then
    find "$seeds" -type f -size -16k -exec cp -n -t "$corpus" {} +
  else
    echo "$name starts without seeds: $seeds is not there"
  fi
  names+=("$name")
}

seeds_Reading() {
  echo 'plant/climate\n{"a":"pump-1","ts":1795231080.5,"t":21.5}'
  echo 'plant/climate/x\n { "a" : 17 , "ts" : "2026-11-21T03:18:00Z" , "o" : [ { } , null , true ] } '
  echo 'other\n{"a":"\\u00e9\\ud83d\\ude00","ts":1e18}'
}
seeds_EventTime() {
  echo '1795231080.123456789'
  echo '1.795231080123456789e+18'
  echo '179523108012345678900000e-5'
  echo '2026-11-21T03:18:00.123456789Z'
  echo '1990-12-31t15:59:60.5-08:00'
  echo '12345678'
}
seeds_TopicFilter() {
  echo 'sensors/{device}/{kind}\nsensors/+/#\nsensors/pump-1/climate'
  echo 'sport/#\n+\nsport'
  echo '#\n$SYS/#\n$SYS/broker'
  echo '$share/group/a\n+/+\n/'
}
seeds_Compression() {
  # A gzip member and a zstd frame of "hello hello hello hello", and two members after each other.
  echo '\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\xcb\x48\xcd\xc9\xc9\x57\xc8\x40\x27\x00\x52\x2a\x8a\x1f\x17\x00\x00\x00'
  echo '\x28\xb5\x2f\xfd\x20\x17\x65\x00\x00\x30\x68\x65\x6c\x6c\x6f\x20\x01\x00\x96\xe8\x16'
  echo '\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00'
}
seeds_Columns() {
  echo '{"rows":3,"order":[0,1,0],"tables":[{"k":["a","b"],"d":{"t":[1.50,-2e3]}},[{"x":1,"x":[]}]]}\n'
  echo '{"rows":2,"tables":[{"k":["\\u00e9","\\"]}"],"e":[{},[{"a":[]}]]}]}\n'
  echo '{"k":"a","d":{"t":1.50}}\n{"x":1,"x":[]}\n{"k":"b","d":{"t":-2e3}}\n7\n'
}
seeds_BatchIdentity() {
  echo 'gw-042/climate/0123456789abcdef/17'
  echo 'gw-042/climate/0123456789abcdef/17.2/3'
  echo '0123456789abcdef0123456789ABCDEF0123456789abcdef0123456789abcdef'
}
seeds_TraceContext() {
  echo '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  echo 'cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00-what=ever'
}
seeds_PacketScan() {
  echo '\x20\x03\x00\x00\x00\x32\x0b\x00\x03a/b\x00\x01\x00{}\x0a'
  echo '\x30\xff\xff\xff\x7f'
}
seeds_PublishLine() {
  echo "Client forebay0123456789abcdef received PUBLISH (d1, q1, r0, m7, 'a/b', ... (12 bytes))"
  echo "Client x received PUBLISH (d0, q0, r1, m0, 'a', ... (0 bytes))"
}
seeds_HTTPAnswer() {
  echo '200\n\n\n{"identity":"gw/climate/0000000000000007/1","digest":"00"}'
  echo '503\nFri, 21 Nov 2026 03:18:00 GMT\nFri, 21 Nov 2026 03:17:00 GMT\n'
  echo '429\n17\n\n{}'
  echo '422\n\n\n{"error":"identity-conflict","digest":"00","reason":"x"}'
}
seeds_Block() {
  echo '\x01\x01\x00\x01\x00\x00\x00\x02{}'
  echo '\x02\x05floor\x03a/b\x05floor\x03a/c'
}
seeds_Transcoding() {
  # The first letter is the format; see the list in the fuzzer.
  echo 'A\xa3at\xf9\x4d\x40ab\xc2\x49\x01\x00\x00\x00\x00\x00\x00\x00\x00ax\x9f\xfb\x3f\xf1\x99\x99\x99\x99\x99\x9a\x5f\x41\x01\xff\xff'
  echo 'A\x82\xbfaa\x20\xff\xa2\x00\xc1\x1a\x51\x4b\x67\xb0\x61b\xf7'
  echo 'B[{"bn":"urn:dev:ow:10e2","bt":1.320067464e+09,"bu":"%RH","bv":0.1,"v":20},{"n":"x","t":-5.5,"vs":"a","s":1e-3,"ut":1}]'
  echo 'B\x82\xa3\x21\x61a\x22\x1a\x4e\xae\xcc\x5d\x24\xc4\x82\x20\x05\xa2\x02\xfb\x40\x5e\x06\x66\x66\x66\x66\x66\x08\x41\xff'
  echo 'Cweather,site=plant\\ 7 t=21.5,h=40i,u=7u,o=t,n="a\\"b" 1465839830100400200\n# x\nm f=.5e3'
  echo 'Da,"b ""c"""\r\n1.5,"x\ny"\n,\n'
  echo 'E 21.5\n'
  echo 'F\x00\xff'
  echo 'G\xff\xfem\x00 \x00f\x00=\x001\x00 \x005\x00'
  echo 'H21,5;"\xfc"\n;\x80\n'
  echo 'I2\x001\x00,\x005\x00'
  echo 'J\x00a\x00\x09\x00b\x00\x0a\x001\x00,\x005\x00\x09\xd8\x3d\xde\x00'
  echo 'K\xe9t\xe9'
}

seeds_Contract() {
  echo '{"name":"a","version":"1.0.0","schema":{"type":"object","properties":{"v":{"type":["number","null"],"minimum":-1e3}},"required":["v"],"$defs":{"x":{"$anchor":"y","pattern":"^a+$"}},"anyOf":[{"$ref":"#y"},{"not":{}}]},"expectations":[]}'
  echo '{"name":"a","version":"0.1.2","compatibility":"full","check_formats":true,"owner":"x","schema":{"format":"date"},"expectations":[{"field":"a[0].b","range":{"min":-1,"max":2e3},"action":"tag"},{"field":"v","increasing":"strictly"},{"field":"v","stuck":{"readings":3,"for":"1h30m"}},{"field":"v","slope":{"max":1,"per":"1 min"}},{"field":"v","null_share":{"max":0.5,"readings":9}},{"fresh":{"within":"5 s"},"action":"count"}]}'
  echo '{"name":"a","version":"1.0.0","schema":{"prefixItems":[true,{"const":{"a":[1]}}],"unevaluatedItems":false,"contains":{"enum":[1,"b"]},"dependentSchemas":{"a":{"$dynamicRef":"#z"}},"$dynamicAnchor":"z","if":{"multipleOf":0.1},"then":{"uniqueItems":true}}}'
}

for name in Telemetry Compression Pipeline; do module "$name"; done
# Of these the configuration's reader needs the settings only.
for part in Ingest/Source Spool/Spool Delivery/Uplink; do
  module "${part%/*}" "Sources/${part}Settings.swift"
done
module Status Sources/Status/{Alarm,API/{Caller,AccessToken,StatusServerSettings},Alarms/AlarmSettings,Objectives/Objective}.swift
configuration=(Sources/Forebay/Receive/CompactJSON.swift Sources/Forebay/Oversight/NotificationSettings.swift
  Sources/Forebay/Receive/ListenAddress.swift)
for file in Sources/Forebay/Configuration/*.swift; do
  # All but the file that needs swift-log, and what keeps configurations in the spool.
  case ${file##*/} in
    ConfigurationLogging.swift | LastGoodConfiguration.swift | StartFailure.swift | AttachmentStore.swift | ConfiguredPlaces.swift) ;;
    *) configuration+=("$file") ;;
  esac
done

# The cases. One line each; every decoder of bytes from outside has one.
fuzzer JSON          "Pipeline Compression Telemetry" "$vectors/json/test_parsing"
fuzzer Reading       "Pipeline Compression Telemetry" -
fuzzer Transcoding   "Pipeline Compression Telemetry" -
fuzzer EventTime     "Pipeline Compression Telemetry" -
fuzzer Contract      "Pipeline Compression Telemetry" -
fuzzer TopicFilter   "Telemetry"                      -
fuzzer Compression   "Compression"                    -
fuzzer Columns       "Compression"                    -
fuzzer BatchIdentity "Telemetry"                      -
fuzzer TraceContext  "Telemetry"                      -
fuzzer PacketScan    ""                               - Sources/Ingest/PacketScan.swift
fuzzer PublishLine   ""                               - Sources/Ingest/PublishLine.swift
fuzzer HTTPAnswer    "Telemetry"                      - Sources/Delivery/Answer.swift \
  Sources/Delivery/HTTPAnswer.swift Sources/Delivery/RetryAfter.swift Sources/Delivery/UplinkSettings.swift
fuzzer Block         "Compression Telemetry"          - Sources/Spool/BlockCodec.swift
fuzzer Configuration "Status Ingest Spool Delivery Pipeline Compression Telemetry" Fuzz/ConfigurationCorpus \
  "${configuration[@]}"

if [ ${#names[@]} -eq 0 ]; then
  echo "no such fuzzer: ${only[*]}" >&2
  exit 2
fi
each=$((seconds / ${#names[@]}))
[ "$each" -ge 1 ] || each=1
for name in "${names[@]}"; do
  echo "== $name, $each s"
  dictionary=()
  if [ -f "Fuzz/$name.dict" ]; then dictionary=(-dict="Fuzz/$name.dict"); fi
  if ! "$out/$name/fuzzer" "$out/$name/corpus" "${dictionary[@]}" -max_total_time="$each" -max_len=4096 -timeout=10 \
    -rss_limit_mb=1024 -print_final_stats=1 -verbosity=0 -artifact_prefix="$out/$name/" \
    2> "$out/$name/log"; then
    tail -n 60 "$out/$name/log" >&2
    echo "$name found something: the input is in $out/$name/" >&2
    exit 1
  fi
  grep -E 'number_of_executed_units|peak_rss_mb' "$out/$name/log" || true
done
echo "all clean"
