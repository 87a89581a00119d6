"""An upstream that counts: every byte that reaches its sockets, and when each batch was there."""
import gzip, json, re, socket, threading, time


class Sink:
    """Takes every batch (docs/delivery-protocol.md, a strict receipt), and keeps identity, count, the bytes of the
    body as sent and the moment at which the last of them had come."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.bytes, self.readings, self.batches = 0, 0, {}
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        held = b""
        def more():
            nonlocal held
            part = connection.recv(1 << 18)
            with self.lock:
                self.bytes += len(part)
            held += part
            return bool(part)
        with connection:
            while True:
                while b"\r\n\r\n" not in held:
                    if not more():
                        return
                head, _, held = held.partition(b"\r\n\r\n")
                fields = {name.lower(): value for name, value in re.findall(r"^([^:\r\n]+): ?(.*?)\r?$", head.decode(), re.M)}
                length = int(fields["content-length"])
                while len(held) < length:
                    if not more():
                        return
                body, held = held[:length], held[length:]
                identity = fields["idempotency-key"].strip('"')
                with self.lock:
                    if identity not in self.batches:
                        self.readings += int(fields["forebay-count"])
                        self.batches[identity] = (time.time(), fields.get("content-encoding"), body)
                answer = json.dumps({"identity": identity, "digest": fields["forebay-digest"]}).encode()
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
                                   + str(len(answer)).encode() + b"\r\n\r\n" + answer)

    def close(self):
        self.listener.close()

    def lines(self):
        """(arrival in seconds since 1970, the reading) of everything."""
        for arrived, encoding, body in self.batches.values():
            for line in (gzip.decompress(body) if encoding == "gzip" else body).splitlines():
                yield arrived, json.loads(line)["data"]
