#!/usr/bin/env python3
"""A receiver written from docs/delivery-protocol.md alone: receiver.py PORT FILE | receiver.py --verify FILE"""
import base64, hashlib, json, os, re, sys, threading, zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
NAME, HEX = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}", r"[0-9a-f]{64}"
IDENTITY = re.compile(rf"(({NAME}/{NAME}/[0-9a-f]{{16}})/([1-9]\d{{0,15}}))(?:\.([1-9]\d{{0,15}})/([1-9]\d{{0,15}}))?")
PARENT = re.compile(rf"digest=({HEX});previous=({HEX});count=(\d+);length=(\d+)")
ZERO, LIMIT, one_at_a_time = "0" * 64, 64 << 20, threading.Lock()
whole, taken, refused, faults = {}, {}, {}, {}  # (chain, sequence) -> [digest, previous, count, length], lines: text, lines, texts

def digest(identity, previous, count, text):
    return hashlib.sha256(f"{identity}\n{previous}\n{count}\n".encode() + text).hexdigest()
def remember(record):  # one record of the store; the checks are those of section 9, steps 1 to 3
    _, chain, sequence = IDENTITY.fullmatch(record["identity"]).groups()[:3]
    key, lines = (chain, int(sequence)), dict(zip(record["lines"], record.get("text", [])))
    wrong = faults.setdefault(chain, [])
    if record.get("refused"):
        whole.setdefault(key, record["whole"]); refused.setdefault(key, set()).update(record["lines"]); return
    if len(lines) == record["count"] and digest(record["identity"], record["previous"], record["count"], "".join(lines.values()).encode()) != record["digest"]:
        wrong.append(f"{record['identity']}: digest")
    if key in taken and whole[key] != record["whole"]: wrong.append(f"{record['identity']}: another whole")
    if taken.setdefault(key, {}).keys() & lines.keys(): wrong.append(f"{record['identity']}: repeated")
    whole[key] = record["whole"]; taken[key].update(lines)
def load(path):
    good = 0
    for row in open(path, "rb") if os.path.exists(path) else []:
        if not row.endswith(b"\n"): break
        remember(json.loads(row)); good += len(row)
    return good
def verdict():
    chains = []
    for chain in sorted({c for c, _ in whole}):
        highest, wrong, partial = max(s for c, s in whole if c == chain), faults.get(chain, []), []
        known = [s for s in range(1, highest + 1) if (chain, s) in whole]
        for s in known:
            (d, previous, count, _), lines = whole[chain, s], taken.get((chain, s), {})
            if len(lines) == count and digest(f"{chain}/{s}", previous, count, "".join(lines[i] for i in range(count)).encode()) != d: wrong.append(f"{s}: parts")
            if (s == 1 or (chain, s - 1) in whole) and previous != (ZERO if s == 1 else whole[chain, s - 1][0]): wrong.append(f"{s}: link")
            gaps = [i for i in range(count) if i not in lines and i not in refused.get((chain, s), ())]
            starts, ends = [i for i in gaps if i - 1 not in gaps], [i + 1 for i in gaps if i + 1 not in gaps]
            if gaps: partial.append({"sequence": s, "missing": [list(r) for r in zip(starts, ends)]})
        edges = [0] + known
        missing = [[a + 1, b - 1] for a, b in zip(edges, known) if b > a + 1]
        lines = {s: taken.get((chain, s), {}).keys() for s in known}
        chains.append({"chain": chain, "highest": highest, "readings": sum(map(len, lines.values())), "missing": missing, "partial": partial,
                       "refused": sum(len(refused.get((chain, s), set()) - lines[s]) for s in known), "faults": wrong})
    return {"complete": not any(c["missing"] or c["partial"] or c["faults"] for c in chains), "chains": chains}

# Columns (section 12).
TEXT = re.compile(rb'"(?:[^"\\\x00-\x1f]|\\[^\x00-\x1f])*"')
OTHER, INNER = re.compile(rb'[-+.0-9A-Za-z]+'), re.compile(rb'[^"\[\]{}\x00-\x1f]+')
def value(text, at):  # one past the value that begins there
    if text[at] not in b'{[': return (TEXT if text[at] == 34 else OTHER).match(text, at).end()
    depth = 0
    while True:
        if text[at] in b'{[': depth, at = depth + 1, at + 1
        elif text[at] in b'}]': depth, at = depth - 1, at + 1
        else: at = (TEXT if text[at] == 34 else INNER).match(text, at).end()
        if depth == 0: return at
def table(text, at):  # what stands around the columns, the columns, one past the table
    around, columns, begun, depth = [], [], at, 0
    while True:
        while text[at] == 123: depth, at = depth + 1, TEXT.match(text, at + 1).end() + 1  # { name :
        around.append(text[begun:at]); column = []
        while text[at] != 93:  # ]
            end = value(text, at + 1); column.append(text[at + 1:end]); at = end
        columns.append(iter(column)); begun = at = at + 1
        while depth and text[at] == 125: depth, at = depth - 1, at + 1  # }
        if not depth: return around + [text[begun:at]], columns, at
        at = TEXT.match(text, at + 1).end() + 1  # , name :
def lines_of(text):
    head = re.match(rb'\{"rows":(\d+),(?:"order":\[([\d,]+)\],)?"tables":\[', text)
    tables, at = [], head.end() - 1
    while text[at] != 93:
        around, columns, at = table(text, at + 1); tables.append((around, columns))
    order = map(int, head[2].split(b',')) if head[2] else (0 for _ in range(int(head[1])))
    rows = [b''.join(p + q for p, q in zip(around, [next(c) for c in columns] + [b''])) + b'\n'
            for around, columns in map(tables.__getitem__, order)]
    if text[at:] != b']}\n' or len(rows) != int(head[1]) or any(next(c, None) for _, cs in tables for c in cs): raise ValueError
    return b''.join(rows)

class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def answer(self, status, **members):
        payload = json.dumps(members).encode()
        self.send_response(status); self.send_header("Content-Length", str(len(payload))); self.end_headers(); self.wfile.write(payload)
    def do_POST(self):
        wire = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with one_at_a_time: self.take(wire, self.headers)
    def take(self, wire, h):
        name = IDENTITY.fullmatch(h.get("Idempotency-Key", "")[1:-1])
        try:
            d, previous, count, length = h["Forebay-Digest"], h["Forebay-Previous"], int(h["Forebay-Count"]), int(h["Forebay-Length"])
            identity, (base, chain, sequence, i, n) = name[0], name.groups()
            w = [d, previous, count, length]
            if i: p = PARENT.fullmatch(h["Forebay-Parent"]); w = [p[1], p[2], int(p[3]), int(p[4])]
            lines = range((int(i) - 1) * w[2] // int(n), int(i) * w[2] // int(n)) if i else range(w[2])
            if count < 1 or len(lines) != count or (not i and "Forebay-Parent" in h): raise ValueError("count")
            sent = h["Content-Digest"].strip()
        except (TypeError, ValueError, KeyError, AttributeError) as error: return self.answer(400, error="head", reason=str(error))
        key, record = (chain, int(sequence)), {"identity": identity, "digest": d, "previous": previous, "count": count, "whole": w}
        def refuse(status, error):
            keep({**record, "lines": list(lines), "refused": status})
            self.answer(status, error=error, identity=identity)
        bound = {"application/x-ndjson": length, "application/vnd.forebay.columns+json": 2 * length + 1024}.get(h.get("Content-Type"))
        if bound is None or h.get("Content-Encoding") not in (None, "gzip"): return refuse(415, "type")
        if length > LIMIT: return refuse(413, "length")
        if sent != f"sha-256=:{base64.b64encode(hashlib.sha256(wire).digest()).decode()}:": return self.answer(503, error="content-digest")
        try:
            text = zlib.decompressobj(31).decompress(wire, bound + 1) if "Content-Encoding" in h else wire
            if bound != length: text = lines_of(text)
            text.decode()
        except (zlib.error, UnicodeDecodeError, AttributeError, IndexError, StopIteration, ValueError): return refuse(400, "body")
        if len(text) != length or text.count(b"\n") != count or not text.endswith(b"\n"): return refuse(400, "body")
        if digest(identity, previous, count, text) != d: return refuse(422, "digest")
        expected, after = whole.get((chain, key[1] - 1), [ZERO if key[1] == 1 else w[1]])[0], whole.get((chain, key[1] + 1), [0, w[0]])[1]
        for held, ours in ((whole[key] if key in taken else w, w), ([expected], [w[1]]), ([after], [w[0]])):
            if held != ours: return self.answer(422, **{"error": "identity-conflict", "identity": identity, "digest": held[0]})
        rows, lacking = dict(zip(lines, (line + "\n" for line in text.decode().split("\n")))), [x for x in lines if x not in taken.get(key, {})]
        if lacking: keep({**record, "lines": lacking, "text": [rows[x] for x in lacking]})
        self.answer(200, identity=identity, digest=d)

def keep(record):
    store.write(json.dumps(record).encode() + b"\n"); store.flush(); os.fsync(store.fileno()); remember(record)
if sys.argv[1] == "--verify":
    load(sys.argv[2]); print(json.dumps(verdict()))
else:
    good = load(sys.argv[2]); store = open(sys.argv[2], "ab"); store.truncate(good)
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver)
    print(server.server_port, flush=True); server.serve_forever()  # PORT may be 0
