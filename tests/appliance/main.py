"""Proves the appliance in virtual machines: see scripts/test-appliance, which prepares everything and calls this."""

import pathlib
import shutil
import signal
import socket
import sys
import tempfile

import alpine
import cloud
import debian
from releases import Releases
from suite import Suite
from vm import PROJECT, folder_by_http, free_ports

PARTS = {"alpine": alpine.run, "cloud": cloud.run, "nocloud": debian.run, "ec2": debian.run_ec2}


def main(arch, names):
    # Whoever ends it ends the machines too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    suite = Suite()
    work = pathlib.Path(tempfile.mkdtemp(prefix="denwa-appliance-"))
    releases = Releases(work / "www", arch)
    port = free_ports(socket.SOCK_STREAM, 10000, 8)[0]
    web = folder_by_http(work / "www", port, work / "http.log")
    try:
        for name in names:
            with suite.check("all of it was run"):
                PARTS[name](suite, releases, arch, work, port, PROJECT / "scripts")
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
