"""A script that is pasted when a server is created, on a real Alpine of 128 MB: as tiny-cloud runs it, without IPv6 in
the kernel, the clock at 1970, a network that comes late, and the metadata service of EC2."""

import re
import subprocess
import time

from phones import Refused
from steps import FILES, FORWARD, LINES, Server, differences
from vm import OLDEST, Vm, as_on_ec2, metadata


def run(suite, releases, arch, work, port, tools):
    suite.where = f"alpine {arch}, 128 MB"
    vm = Vm(work / "cloud", arch, forward=FORWARD)
    processor = ["--cpu", OLDEST[vm.arch]]
    imds = metadata(port + 3, work / "imds.log", "--public-ipv4", "203.0.113.5")
    try:
        ec2_here = as_on_ec2(arch, port + 3) if arch == "x86_64" else []
        vm.start(*processor, "--append", "ipv6.disable=1", *ec2_here, memory="128M")
        server = Server(suite, vm, releases, port)
        lines = work / "cloud.conf"
        lines.write_text(LINES + "advertise = auto\n")
        with suite.check("make-user-data: ASCII, small, of a right configuration alone") as check:
            made = work / "user-data"
            said = subprocess.run([tools / "make-user-data", "--config", lines, "--url", server.url(), "--out", made],
                                  capture_output=True, text=True)
            check.that(said.returncode == 0, said.stderr)
            check.figure = said.stderr.strip()
            for text, why in (("ext.101 = random\necho = x y\n", ":2: echo"), ("ext.101 = random\next.101.name = 居間\n", "ASCII"),
                              ("ext.101 = random\n" + "# much\n" * 2500, "16384")):
                lines.write_text(text)
                said = subprocess.run([tools / "make-user-data", "--config", lines, "--url", server.url()], capture_output=True, text=True)
                check.that(said.returncode == 1 and not said.stdout, f"it takes {text[:40]!r}")
                check.says(said.stderr, why)
        vm.put(work / "user-data", "/var/lib/cloud/user-data:700")
        cannot_install(server, (work / "user-data").read_text(), port)
        tiny_cloud = tiny_cloud_runs("user-data")
        with suite.check("user-data as tiny-cloud runs it, the clock at 1970, the first minute without a network") as check:
            start = time.monotonic()
            status, _ = vm.run("ip link set eth0 down; date -s @60 >/dev/null; (sleep 60; ip link set eth0 up) & " + tiny_cloud, 600)
            said = vm.say("cat /var/log/user-data.log")
            check.that(status == 0, said)
            check.says(said, "cannot be fetched yet", "user       101", "no IPv6 address", "denwa: done")
            check.says(vm.console(), "user       101", "denwa: done")
            server.learn_passwords()
            check.figure = f"{time.monotonic() - start:.0f} s, of which 60 without a network"
        with suite.check("the same user-data once more changes nothing") as check:
            before = server.status()
            check.that(vm.run(tiny_cloud, 600)[0] == 0, vm.say("cat /var/log/user-data.log"))
            check.that(server.status()["pid"] == before["pid"], "another process serves")
        with suite.check("two runs of it at once: one does it, the other says so") as check:
            vm.say("cp -p /var/lib/cloud/user-data /var/lib/cloud/twin")
            said = vm.say(f"({tiny_cloud}) & p=$!; ({tiny_cloud_runs('twin')}); s=$?; wait $p; echo $? $s")
            check.that(sorted(said.split()) == ["0", "1"], f"exit statuses {said}")
            said = vm.say("cat /var/log/user-data.log /var/log/twin.log")
            check.says(said, "denwa: done", "another run of this script is under way", "it is not installed")
        with suite.check("10 calls at once in 128 MB") as check:
            talk, sent = server.talk(10, 5)
            check.that(talk.lost() == 0, f"{talk.lost()} of {sent} packets were lost")
            check.figure = f"{sent} packets, none lost; {server.available():.0f} MB of memory are left"
        if not ec2_here:
            # The firmware that tells of EC2 needs more memory: another machine, like a t4g.nano.
            suite.where = f"alpine {arch}, UEFI"
            vm.stop()
            vm.start(*processor, *as_on_ec2(arch, port + 3))
            vm.put(work / "user-data", "/var/lib/cloud/user-data:700")
            with suite.check("user-data as tiny-cloud runs it") as check:
                check.that(vm.run(tiny_cloud, 600)[0] == 0, vm.say("cat /var/log/user-data.log"))
                server.learn_passwords()
        ec2(server, imds, port + 3)
    finally:
        vm.stop()
        imds.stop()


def tiny_cloud_runs(name):
    """How it runs a script: with neither HOME nor a terminal."""
    return f"cd /; env -i PATH=/sbin:/bin:/usr/sbin:/usr/bin /var/lib/cloud/{name} >/var/log/{name}.log 2>&1"


def cannot_install(server, script, port):
    """What is wrong stands on the console, where somebody looks whose server does not answer."""
    vm = server.vm
    for name, now, then, words in (
        ("a script that is not the one whose sum it has", r"^sum='[0-9a-f]*'$", f"sum='{64 * '0'}'", ("has the checksum", "expected is 000")),
        ("a line of the configuration that is wrong", "^echo .*$", "ecko = 114", ("nothing is installed", "denwa.conf:6: ecko")),
        ("nothing that answers, for four minutes", "^url=.*$", f"url='http://{server.gateway}:{port + 5}'", ("cannot be fetched yet", "cannot be fetched; tried for")),
    ):
        with server.suite.check(f"user-data that cannot install says so on the console: {name}") as check:
            wrong, changed = re.subn(now, then, script, flags=re.M)
            check.that(changed == 1, f"{changed} lines are {now}")
            (vm.work / "wrong").write_text(wrong)
            vm.put(vm.work / "wrong", "/var/lib/cloud/wrong:700")
            files, before, start = vm.say(FILES), len(vm.console()), time.monotonic()
            status, _ = vm.run(tiny_cloud_runs("wrong"), 600)
            check.that(status == 1, f"exit status {status}")
            check.says(vm.console()[before:], *words, "it is not installed")
            check.that(vm.say(FILES) == files, "it left something behind: " + differences(files, vm.say(FILES)))
            check.figure = f"{time.monotonic() - start:.0f} s"


def ec2(server, imds, port):
    suite, vm = server.suite, server.vm
    with suite.check("advertise = auto: the public address that the metadata service of EC2 tells") as check:
        check.figure = f"{server.advertises('203.0.113.5')}"
        check.says(vm.say("denwa settings"), "203.0.113.5")
    with suite.check("another address after a stop: it is found at the start") as check:
        imds.stop()
        imds = metadata(port, vm.work / "imds.log", "--public-ipv4", "198.51.100.7")
        vm.say("rc-service denwa restart")
        server.advertises("198.51.100.7")
        check.that("203.0.113.5" not in vm.say("denwa settings"), "the old address is still told")
        check.says(vm.say("denwa settings"), "198.51.100.7")
    with suite.check("a spot notice: told in the log, phones are asked to come back soon, no new calls, calls end with a reason") as check:
        caller, called = server.phone("101"), server.phone("102")
        try:
            # By a clock at 1970 each notice gives its two minutes, and this one gives less.
            vm.say(f"date -s @{int(time.time())}")
            before = caller.register()
            called.register()
            caller.call("102")
            subprocess.run(["curl", "-fsS", "-X", "POST", f"http://127.0.0.1:{port}/_test/interrupt?action=stop&in=45"], check=True)
            vm.say("until grep -q 'spot: ' /var/log/messages; do sleep 1; done", 30)
            after = caller.register()
            check.that(after < before, f"a registration lasts {after} s, {before} s before the notice")
            refusal, deadline = "", time.monotonic() + 60
            while "503" not in refusal:
                check.that(time.monotonic() < deadline, f"new calls are not refused with 503: {refusal or 'they come about'}")
                try:
                    caller.call("114").hang_up()
                    time.sleep(1)
                except Refused as why:
                    refusal = str(why)
            reason = caller.ends.get(timeout=60)
            check.that(reason, "the call ended without a reason")
            check.figure = f"registrations of {before} s, then {after} s; {refusal}; Reason: {reason}"
        finally:
            caller.close()
            called.close()
    imds.stop()
