"""Proves the appliance in virtual machines: see scripts/test-appliance, which prepares everything and calls this."""

import concurrent.futures
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

import alpine
import cloud
import debian
import firewalls
from releases import Releases
from suite import Suite
from vm import PROJECT, folder_by_http, free_ports

REPORT = re.compile(r"(\d+) passed, (\d+) failed")
PARTS = {"alpine": alpine.run, "cloud": cloud.run, "nocloud": debian.run, "ec2": debian.run_ec2, "firewalls": firewalls.run}


def part(arch, name):
    """One of the parts, in machines of its own."""
    suite = Suite()
    work = pathlib.Path(tempfile.mkdtemp(prefix="denwa-appliance-"))
    releases = Releases(work / "www", arch)
    port = free_ports(socket.SOCK_STREAM, 10000, 8)[0]
    web = folder_by_http(work / "www", port, work / "http.log")
    try:
        with suite.check("all of it was run"):
            PARTS[name](suite, releases, arch, work, port, PROJECT / "scripts")
    finally:
        web.stop()
    if suite.failed:
        print(f"What the machines said is in {work}")
    else:
        shutil.rmtree(work)
    suite.report()
    return 1 if suite.failed else 0


def several(arch, names):
    """Two parts at a time, each a process of its own: machines wait much. Says what all of them come to."""
    children, counts = [], [0, 0]
    signal.signal(signal.SIGTERM, lambda *_: [child.terminate() for child in children])

    def run(name):
        child = subprocess.Popen([sys.executable, __file__, arch, name], stdout=subprocess.PIPE, text=True)
        children.append(child)
        reported = None
        for line in child.stdout:
            reported = REPORT.fullmatch(line.strip())
            if not reported:
                print(line, end="", flush=True)
        child.wait()
        return [int(count) for count in reported.groups()] if reported else [0, 1]

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for passed, failed in pool.map(run, names):
            counts = [counts[0] + passed, counts[1] + failed]
    print(f"\n{counts[0]} passed, {counts[1]} failed")
    return 1 if counts[1] or not counts[0] else 0


if __name__ == "__main__":
    arch, *names = sys.argv[1:]
    if len(names) > 1:
        sys.exit(several(arch, names))
    # Whoever ends it ends the machines too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(part(arch, names[0]))
