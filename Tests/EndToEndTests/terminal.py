#!/usr/bin/env python3
"""Runs a command in a terminal of its own: terminal.py COLUMNS LINES SECONDS COMMAND...

After SECONDS (0: never) Ctrl-C is typed. What the terminal got goes to standard output, then a line `exit STATUS`."""
import fcntl, os, select, struct, sys, termios, time

columns, lines, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
terminal, side = os.openpty()
# Before there is anybody who could look at it.
fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
child = os.fork()
if child == 0:
    os.close(terminal)
    os.login_tty(side)
    os.execvp(sys.argv[4], sys.argv[4:])
os.close(side)
end = time.monotonic() + seconds if seconds > 0 else None
while True:
    rest = None if end is None else max(0, end - time.monotonic())
    if not select.select([terminal], [], [], rest)[0]:
        os.write(terminal, b"\x03")
        end = None
        continue
    try:
        chunk = os.read(terminal, 65536)
    except OSError:  # EIO: the last process that had it has ended
        break
    if not chunk:
        break
    sys.stdout.buffer.write(chunk)
sys.stdout.buffer.write(b"\nexit %d\n" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
