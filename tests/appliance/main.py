"""Proves the appliance in virtual machines: see scripts/test-appliance, which prepares everything and calls this."""

import pathlib
import shutil
import signal
import socket
import sys
import tempfile

import alpine
import debian
from releases import Releases
from suite import Suite
from vm import PROJECT, folder_by_http

SYSTEMS = {"alpine": alpine, "debian": debian}


def free_ports(count):
    """The first of so many TCP ports in a row of which nobody uses one."""
    for first in range(18100, 19000, count):
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
    raise SystemExit("test-appliance: no free ports between 18100 and 19000")


def main(arch, names):
    # Whoever ends it ends the machines too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    suite = Suite()
    work = pathlib.Path(tempfile.mkdtemp(prefix="denwa-appliance-"))
    releases = Releases(work / "www", arch)
    port = free_ports(8)
    web = folder_by_http(work / "www", port, work / "http.log")
    try:
        for name in names:
            with suite.check("all of it was run"):
                SYSTEMS[name].run(suite, releases, arch, work, port, PROJECT / "scripts")
    finally:
        web.stop()
    status = suite.report()
    if status:
        print(f"What the machines said is in {work}")
    else:
        shutil.rmtree(work)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
