"""A virtual machine with a real Alpine or Debian: ../shared/vm/alpine-vm, one method for each of its verbs."""

import contextlib
import fcntl
import gzip
import json
import os
import pathlib
import re
import socket
import struct
import subprocess
import tempfile
import time

PROJECT = pathlib.Path(__file__).resolve().parents[2]
TOOLS = PROJECT.parent / "shared" / "vm"

# For how many seconds a boot is waited for, and then begun anew: a guest may hang before its services are up (seen with
# QEMU 7.2: one page fault without an end). An Alpine of this machine's own kind is up within a minute.
PATIENCE = (300, 300, 600)
PATIENCE_OF_QUICK = (120, 150, 300)

# UEFI for aarch64, without which nothing tells a guest who made its machine; it takes memory of its own.
FIRMWARE = "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd"

# The oldest processors that denwa is for: x86-64-v1, and Cortex-A72.
OLDEST = {"x86_64": "qemu64", "aarch64": "cortex-a72"}


def as_on_ec2(arch, port):
    """What makes a machine one of Amazon's, whose metadata service is on that port here."""
    if arch == "x86_64":
        return ["--imds", port, "--cloud", "ec2"]
    maker = "type=1,manufacturer=Amazon EC2,product=t4g.nano"
    return ["--imds", port, "--qemu=-bios", f"--qemu={FIRMWARE}", "--qemu=-smbios", f"--qemu={maker}"]


def free_ports(kind, first, count):
    """So many ports in a row of which nobody uses one. Tests that run at once, of processes made one after the other, begin
    to look at different places: until a machine is up, its ports look free."""
    for first in range(first + os.getpid() * 7 % 40 * 100, first + 10000, max(count, 1)):
        ports = list(range(first, first + count))
        try:
            for port in ports:
                with socket.socket(socket.AF_INET, kind) as probe:
                    probe.bind(("127.0.0.1", port))
            return ports
        except OSError:
            continue
    raise RuntimeError(f"no {count} ports in a row are free on this machine")


class Vm:
    """One machine with a disk of its own in `work`. `forward` are UDP ports of its that can be reached from here."""

    def __init__(self, work, arch="x86_64", system="alpine", forward=()):
        self.work, self.arch, self.system = pathlib.Path(work), arch, system
        # Below those that the system hands out, so that a port is free again after a boot.
        self.ports = dict(zip(forward, free_ports(socket.SOCK_DGRAM, 20000, len(forward))))
        self.kept = None

    def _tool(self, *words, **more):
        return subprocess.run([TOOLS / "alpine-vm", *map(str, words)], capture_output=True, text=True, **more)

    def _checked(self, *words):
        done = self._tool(*words)
        if done.returncode:
            raise RuntimeError(f"alpine-vm {words[0]}: {done.stdout}{done.stderr}")
        return done.stdout

    def start(self, *options, memory="512M"):
        """Boots a fresh system, and returns when its services are up."""
        options = [*options, "--arch", self.arch, "--os", self.system, "-m", memory, "--qemu=-no-reboot"]
        for port, here in self.ports.items():
            options += ["--udp", f"{here}:{port}"]
        with self._alone():
            if f"--qemu={FIRMWARE}" not in options and (kernel := self._unpacked_kernel()):
                options += ["--qemu=-kernel", f"--qemu={kernel}"]
            for patience in self._patience():
                done = self._tool("start", "--work", self.work, *options, "--fresh", "--boot-timeout", patience)
                if "no answer from the guest" not in done.stderr:
                    break
            if done.returncode:
                raise RuntimeError(f"it did not start: {done.stdout}{done.stderr}")
            self._keep_image()

    @contextlib.contextmanager
    def _alone(self):
        """One machine at a time begins to boot: each may make the system's image anew, and takes the one away that another
        is about to boot."""
        with open(pathlib.Path(tempfile.gettempdir()) / f"denwa-appliance-{self.system}-{self.arch}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _keep_image(self):
        """The image beneath the disk gets a second name, which outlasts what the next machine does to the first."""
        disk = json.loads(self._image("info", "--force-share", "--output=json", self.work / "disk.qcow2"))
        image = pathlib.Path(disk["full-backing-filename"])
        self.kept = image.with_name(f"kept-{os.getpid()}-{self.work.name}.raw")
        self.kept.unlink(missing_ok=True)
        self.kept.hardlink_to(image)

    def _image(self, *words):
        return subprocess.run(["qemu-img", *map(str, words)], capture_output=True, text=True, check=True).stdout

    def _unpacked_kernel(self):
        """A kernel for aarch64 that unpacks itself under UEFI alone, unpacked: QEMU does that since version 8."""
        if self.arch != "aarch64":
            return None
        packed = pathlib.Path(self._checked("fetch", "--arch", self.arch).splitlines()[0]).read_bytes()
        if packed[4:8] != b"zimg":
            return None
        start, size = struct.unpack("<II", packed[8:16])
        self.work.mkdir(parents=True, exist_ok=True)
        kernel = self.work / "kernel"
        kernel.write_bytes(gzip.decompress(packed[start : start + size]))
        return kernel

    def run(self, command, timeout=300):
        """What a command in the guest says, and its exit status."""
        done = self._tool("exec", "--work", self.work, "--timeout", timeout, command)
        return done.returncode, (done.stdout + done.stderr).strip()

    def say(self, command, timeout=300):
        """What a command in the guest says, which must not fail."""
        status, said = self.run(command, timeout)
        if status:
            raise RuntimeError(f"{command}: exit status {status}: {said}")
        return said

    def put(self, file, to):
        self._checked("put", "--work", self.work, f"{file}:{to}")

    def reboot(self):
        """An orderly one; returns when the services are up again."""
        self.run("(sleep 1; reboot) >/dev/null 2>&1 &")
        self._has_ended(300)
        self._boot_again()

    def pull_plug(self):
        """What a power cut does: it ends at once, begins anew, and what was not on its disk is lost."""
        self._pull()
        self._boot_again()

    def _state(self):
        return json.loads((self.work / "vm.json").read_text())

    def _pull(self):
        options = self._state()["argv"]
        monitor = re.match("unix:([^,]*)", options[options.index("-qmp") + 1]).group(1)
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(monitor)
            with control.makefile("rw") as lines:
                for command in ("qmp_capabilities", "quit"):
                    lines.readline()
                    lines.write(json.dumps({"execute": command}) + "\n")
                    lines.flush()
                lines.readline()
        self._has_ended(60)

    def _is_on(self):
        with contextlib.suppress(OSError):
            return bool(pathlib.Path(f"/proc/{self._state()['pid']}/cmdline").read_bytes())
        return False

    def _has_ended(self, seconds):
        """Waits until the emulator has."""
        until = time.monotonic() + seconds
        while self._is_on():
            if time.monotonic() > until:
                raise RuntimeError(f"the machine was still on after {seconds} s: {self.console()[-500:]}")
            time.sleep(0.2)

    def _patience(self):
        return PATIENCE_OF_QUICK if (self.system, self.arch) == ("alpine", "x86_64") else PATIENCE

    def _boot_again(self):
        """Boots the same disk, in an emulator of its own: one that goes on through a reboot keeps all code that was ever
        run, and goes through it at each write to where that stood. By the fifth boot a kernel is unpacked for minutes
        (QEMU 7.2)."""
        with self._alone():
            self._image("rebase", "-u", "-F", "raw", "-b", self.kept, self.work / "disk.qcow2")
            self._boot()

    def _boot(self):
        for patience in self._patience():
            state = self._state()
            with open(self.work / "qemu.log", "ab") as log:
                emulator = subprocess.Popen(
                    state["argv"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
            (self.work / "vm.json").write_text(json.dumps({**state, "pid": emulator.pid}))
            until = time.monotonic() + patience
            while time.monotonic() < until:
                time.sleep(1)
                if emulator.poll() is not None:
                    raise RuntimeError(f"the emulator has ended: {(self.work / 'qemu.log').read_text(errors='replace')}")
                if self.run("true", 20)[0] == 0:
                    return
            self._pull()
        raise RuntimeError(f"it did not boot again: {self.console()[-500:]}")

    def console(self):
        return (self.work / "console.log").read_text(errors="replace")

    def stop(self):
        self._tool("stop", "--work", self.work)
        if self.kept:
            self.kept.unlink(missing_ok=True)


class Fake:
    """A server beside the guests: a folder by HTTP, or the metadata service of a cloud."""

    def __init__(self, *command, log):
        self.log = pathlib.Path(log)
        self.process = subprocess.Popen(
            list(map(str, command)), stdout=open(self.log, "wb"), stderr=subprocess.STDOUT, env={**os.environ, "PYTHONUNBUFFERED": "1"}
        )

    def stop(self):
        self.process.terminate()
        self.process.wait()


def folder_by_http(folder, port, log, bind="127.0.0.1"):
    return Fake("python3", "-m", "http.server", port, "--bind", bind, "--directory", folder, log=log)


# The same by TLS, with a certificate that nobody has signed and that is valid from today.
HTTPS = """
import functools, http.server as h, ssl, sys
port, folder, certificate = sys.argv[1:]
server = h.ThreadingHTTPServer(("127.0.0.1", int(port)), functools.partial(h.SimpleHTTPRequestHandler, directory=folder))
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(certificate)
server.socket = tls.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


def folder_by_https(folder, port, log):
    certificate = pathlib.Path(log).with_suffix(".pem")
    # The key and the certificate in one file.
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=10.0.2.2",
                    "-keyout", certificate, "-out", certificate], check=True, capture_output=True)
    return Fake("python3", "-c", HTTPS, port, folder, certificate, log=log)


def metadata(port, log, *options):
    return Fake(TOOLS / "fake-imds", "--port", port, *options, log=log)
