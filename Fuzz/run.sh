#!/bin/bash
# Builds every fuzzer and runs them one after the other, for SECONDS in all (300 unless told).
# Exits 1 as soon as one of them finds something; the input lies in .build/fuzz/<name>/ then.
#
#   Fuzz/run.sh [SECONDS] [NAME...]      NAME: run only these
#   FOREBAY_FUZZ_KEEP=1                  afterwards keep the inputs that reach most in Fuzz/Corpus, a few of each
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-300}
shift || true
only=("$@")
out=$PWD/.build/fuzz
vectors=${FOREBAY_VECTORS:-../shared/vectors}
# Inputs of each fuzzer that are kept in the repository.
kept=24
mkdir -p "$out/modules"
# Where the Spool fuzzer lays its files: in memory, where there is such a place.
FOREBAY_FUZZ_FOLDER=$(mktemp -d -p "$([ -w /dev/shm ] && echo /dev/shm || echo /tmp)" forebay-fuzz-XXXXXX)
export FOREBAY_FUZZ_FOLDER
trap 'rm -rf "$FOREBAY_FUZZ_FOLDER"' EXIT

# With optimisation the fuzzers make ten times as many tries; overflow and array bounds are still checked,
# and the address sanitizer sees what unsafe pointers do.
flags=(-O -g -parse-as-library -sanitize=fuzzer,address -swift-version 6 -package-name forebay
  -enable-upcoming-feature ExistentialAny -enable-upcoming-feature MemberImportVisibility
  -enable-upcoming-feature InternalImportsByDefault -I "$out/modules")
for module in Sources/C*/module.modulemap; do flags+=(-I "$(dirname "$module")"); done
# The sanitizer's own symbols, which the linker mentions one by one.
quiet() { grep -v "Cannot export local symbol '__asan" >&2 || true; }

# module NAME [SOURCE...]: compiles Sources/NAME, or these files of it, into an object that the fuzzers link.
# One that is newer than its sources is left, unless one before it was not: they are inlined into each other.
changed=
module() {
  local object="$out/modules/$1.o" sources=("${@:2}") own=("${flags[@]}")
  [ ${#sources[@]} -gt 0 ] || sources=("Sources/$1")
  if [ -z "$changed" ] && [ -f "$object" ] && [ -z "$(find "${sources[@]}" -newer "$object")" ]; then return; fi
  changed=yes
  # A dependency's sources keep to its own rules.
  case ${sources[0]} in .build/*) own=(-O -parse-as-library -sanitize=fuzzer,address -suppress-warnings -package-name "$1") ;; esac
  echo "building module $1"
  find "${sources[@]}" -name '*.swift' -print0 | sort -z | xargs -0 swiftc "${own[@]}" \
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
  local program="$out/$name/fuzzer" sources=("Fuzz/${name}Fuzzer.swift" Fuzz/Input.swift "$@")
  if [ ! -f "$program" ] || [ -n "$(find "${sources[@]}" "${objects[@]}" -newer "$program")" ]; then
    echo "building $name"
    swiftc "${flags[@]}" -module-name "${name}Fuzzer" "${sources[@]}" "${objects[@]}" -o "$program" 2> >(quiet)
  fi
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
  if [ -d "Fuzz/Corpus/$name" ]; then find "Fuzz/Corpus/$name" -type f -exec cp -n -t "$corpus" {} +; fi
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
seeds_Request() {
  echo 'T/v1/dead-letters/17?pipeline=a%2Fb&limit=9+0'
  echo 'T/v1//status/%e2%82%ac?x'
  echo 'HLocalhost:8420'
  echo 'H[::1]:8420'
  echo 'Hgw-042.plant'
  echo 'Fviewer grafana 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n# x\noperator a ff'
  # A certificate's skeleton: subject CN=a, alternative name DNS:b.
  echo 'C\x30\x41\x30\x3f\xa0\x03\x02\x01\x02\x02\x01\x01\x30\x00\x30\x00\x30\x00\x30\x0c\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x0c\x01a\x30\x00\xa3\x14\x30\x12\x30\x10\x06\x03\x55\x1d\x11\x04\x09\x30\x07\x82\x01b\x81\x02cd'
}
seeds_Receiver() {
  echo 'QIdempotency-Key: "gw/climate/0000000000000007/3"\nForebay-Digest: right\nForebay-Previous: 0000000000000000000000000000000000000000000000000000000000000000\nForebay-Count: 2\nForebay-Length: 12\nForebay-Version: v\nForebay-Offsets: 00aa 3-9\nForebay-Replay: 0000abcd\nForebay-Possible-Duplicate: true\n\n{"a":1}\n{}\n'
  echo 'QIdempotency-Key: "gw/climate/0000000000000007/3.1/2"\nForebay-Digest: right\nForebay-Previous: 1111111111111111111111111111111111111111111111111111111111111111\nForebay-Count: 1\nForebay-Length: 3\nForebay-Parent: digest=1111111111111111111111111111111111111111111111111111111111111111;previous=0000000000000000000000000000000000000000000000000000000000000000;count=2;length=6\n\n{}\n'
  echo 'SIdempotency-Key: "gw/climate/0000000000000007/3"\nForebay-Digest: 1111111111111111111111111111111111111111111111111111111111111111\nForebay-Previous: 0000000000000000000000000000000000000000000000000000000000000000\nForebay-Count: 9\nForebay-Length: 27\nForebay-Received: 17\nForebay-Lines: 0-2,4-8\n\x00body'
  echo 'SIdempotency-Key: "gw/climate/0000000000000007/3"\nForebay-Digest: 1111111111111111111111111111111111111111111111111111111111111111\nForebay-Previous: 0000000000000000000000000000000000000000000000000000000000000000\nForebay-Count: 9\nForebay-Length: 27\nForebay-Refused: 400 no\n\x00'
  echo 'R503x3:retry-after=5,over=100'
  echo 'Rdrop-after-store%2.5:matching=a,b'
}
seeds_Kept() {
  echo 'S\x64\x64\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x64\x80\x80\x80\x80\x06'
  echo 'Iforebay-files 1\ngeneration 3\nfinishing 2 a.ndjson\nchain gw 0000000000000007\nrun 1 4 1111111111111111111111111111111111111111111111111111111111111111\nrun 6 6 1111111111111111111111111111111111111111111111111111111111111111\npart 8 1111111111111111111111111111111111111111111111111111111111111111 0000000000000000000000000000000000000000000000000000000000000000 9 27 0-2,4-5\n'
  echo 'Jopen gw 0000000000000007 ndjson gzip 17\ntake 30 8 1111111111111111111111111111111111111111111111111111111111111111 0000000000000000000000000000000000000000000000000000000000000000 9 27 0-2,4-5\n'
  echo 'A{"number":1,"time":"2026-11-21T03:18:00Z","who":"a","role":"admin","via":"api","action":"discard","parameters":{"x":"y"},"result":"begun","previous":"0000000000000000000000000000000000000000000000000000000000000000"}\n{"number":9223372036854775807,"time":"","who":"a","role":"admin","via":"api","action":"x","parameters":{},"result":"done","begun":1,"torn":3,"previous":"1111111111111111111111111111111111111111111111111111111111111111"}'
}
seeds_Document() {
  echo 'Ihttps://gw-1.plant:8420 name=gw-1 site=p token_file=t line=a\n# x\nhttp://[::1]:8420/x'
  echo 'Idefaults: { token_file: t, site: p }\ngateways:\n  - { url: https://gw-1:8420, name: a, labels: { line: b } }\n  - http://gw-2'
  echo 'S{"version":1,"gateway":"gw","state":"warning","alarms":{"page":1,"ticket":2,"list":[{"kind":"a","text":"b"}]},"objectives":[{"name":"x","state":"burning","budgetRemaining":-0.5}],"messages":{"received":17,"perSecond":1e3},"disk":{"parked":true}}'
  echo 'R{"devices":{"pipeline":"a"}}\n'
  echo 'R{"document":"metrics"}\n'
  echo 'Ctimestamp,value\n2013-12-02 21:15:00,"73.9"\r\n2013-12-02T21:20:00.5+01:00,1e3\n'
}
seeds_Table() {
  echo '\x00k,site,"a ""b"""\r\npump-1,plant 7,1\npump-2,,\n'
  echo '\x01k;n\n1;2\n'
  echo '\x06t,n,k\nx,-1.5e3,a\ny,,b\n'
}
seeds_Stage() {
  echo '0{"t":1795231080,"n":1,"v":2.5}\n1{"t":1795231081,"n":1,"v":null}\n0{"t":1795231082,"n":2,"v":2.5}\n0{"t":1795231099,"n":4,"v":7,"w":"x"}\n2{"t":1795231040,"n":9,"v":7}\n\n\x00\x03\xff'
  echo '0{"n":1,"v":2.5}\n0{"n":1,"v":2.5}\n1{"n":3,"v":1e300}\n2{}\n3{"v":"a"}\n\n\x01\x05\xfe\x03\x08\x00'
}
seeds_Backup() {
  echo '\x00'
  echo '\x01forebay-backup/log.db'
  echo '\x02\x00\x03abc\x01\x02de\x02\x01f\x0b\x01g'
  echo '\x02\x00\x03abc\x01\x02de\xff\x00\x7c\x39\x02\x00\x61'
  echo '\x02\x00\x01a\x01\x01b\x0c\x01c'
}
seeds_Spool() {
  echo 'L\x01\x02gw\x07climate\x01u\x100000000000000007\x01v\x02aa\x06ndjson\x04gzip\x18\x01\x02\x03\x04\x0500000000000000000000000000000000111111111111111111111111111111112\x06\x08'
  # The end of a file, a page of the log, the format, the header, the mirror.
  echo '\x80\x00\x20\x00\x00'
  echo '\x00\x00\x20\x10\xff'
  echo '\x00\x00\x00\x3f\x02'
  echo '\x01\x00\x00\x12\x01\x01\x01\x00\x00\x05'
  echo '\x02\x00\x00\x09\x22'
}

for name in Telemetry Compression Pipeline Failpoints; do module "$name"; done
module HTTPTypes .build/checkouts/swift-http-types/Sources/HTTPTypes
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
fuzzer PacketScan    ""                               - Sources/Ingest/{PacketScan,PropertyScan}.swift
fuzzer PublishLine   ""                               - Sources/Ingest/PublishLine.swift
fuzzer HTTPAnswer    "Telemetry"                      - Sources/Delivery/Answer.swift \
  Sources/Delivery/HTTPAnswer.swift Sources/Delivery/RetryAfter.swift Sources/Delivery/UplinkSettings.swift
fuzzer Block         "Compression Telemetry"          - Sources/Spool/BlockCodec.swift
fuzzer Configuration "Status Ingest Spool Delivery Pipeline Compression Telemetry" Fuzz/ConfigurationCorpus \
  "${configuration[@]}"
fuzzer Document      "Status Ingest Spool Delivery Pipeline Compression Telemetry" - "${configuration[@]}" \
  Sources/Forebay/Fleet/{FleetInventory,FleetTarget,PulledStatus}.swift Sources/Forebay/Devices/DeviceQuery.swift \
  Sources/Forebay/Daemon/LocalRequest.swift Sources/Forebay/Commands/{Output,StandardStream}.swift \
  Sources/Forebay/Simulate/{SeriesCSV,TimestampText}.swift
fuzzer Request       "HTTPTypes Telemetry"            - \
  Sources/Status/API/{RequestTarget,AccessRules,AccessToken,Caller,CertificateNames,Problem,JSONWriter}.swift
fuzzer Receiver      "Compression Telemetry"          - \
  Sources/Forebay/Receive/{BatchLabel,BatchBody,BatchRecord,FaultGrammar,FaultPlan}.swift
fuzzer Kept          "Compression Telemetry"          - Sources/Status/Objectives/*.swift \
  Sources/Status/{Alarm,Alarms/{AlarmBoard,AlarmCount,AlarmKind,AlarmSettings},AuditLog/AuditEntry,API/ShortenedText,Metrics/{MetricsSink,DurationHistogram,DecimalText}}.swift \
  Sources/Delivery/{FileIndex,TakenBatches,Splitting}.swift
fuzzer Table         "Pipeline Compression Telemetry" -
fuzzer Stage         "Pipeline Compression Telemetry" -
fuzzer Spool         "Failpoints Compression Telemetry" - Sources/Spool/*.swift Sources/Spool/Backup/*.swift
fuzzer Backup        "Failpoints Compression Telemetry" - Sources/Spool/*.swift Sources/Spool/Backup/*.swift

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
# The smallest inputs that reach all that the corpus reaches, and of these the first few: enough to begin with.
if [ -n "${FOREBAY_FUZZ_KEEP:-}" ]; then
  for name in "${names[@]}"; do
    # Its first inputs are other people's, which are not ours to keep.
    [ "$name" != JSON ] || continue
    rm -rf "$out/$name/merged" "Fuzz/Corpus/$name"
    mkdir -p "$out/$name/merged" "Fuzz/Corpus/$name"
    "$out/$name/fuzzer" -merge=1 -max_len=1024 -verbosity=0 "$out/$name/merged" "$out/$name/corpus" 2> /dev/null
    find "$out/$name/merged" -type f -printf '%s %f\n' | sort -rn | awk -v n="$kept" 'NR <= n { print $2 }' \
      | while read -r file; do cp "$out/$name/merged/$file" "Fuzz/Corpus/$name/"; done
  done
fi
echo "all clean"
