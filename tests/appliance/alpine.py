"""A real Alpine with 512 MB: everything that may be wrong, and then everything that must work."""

import subprocess
import time

import steps
from steps import FORWARD, LINES, Server
from vm import OLDEST, Vm, folder_by_http, folder_by_https

HOW = {
    "start": "rc-service denwa start", "stop": "rc-service denwa stop", "reload": "rc-service denwa reload", "why": "true",
    "enabled": "rc-update show default", "is_enabled": "denwa",
}


def run(suite, releases, arch, work, port, tools):
    suite.where = f"alpine {arch}"
    vm = Vm(work / "alpine", arch, forward=FORWARD)
    vm.start("--cpu", OLDEST[arch])
    try:
        server = Server(suite, vm, releases, port)
        memory = server.available()
        for release in ("good", "wrong", "short"):
            server.bring(release)
        files = vm.say(steps.FILES)
        bad_inputs(server, work)
        by_https(server, work)
        install(server, memory)
        steps.it_works(server, HOW)
        steps.reboots(server)
        steps.removal(server, HOW, files)
        only_ipv6(server, work)
    finally:
        vm.stop()


def bad_inputs(server, work):
    fails, vm = server.fails, server.vm
    fails("a damaged program is refused", "has the checksum", release="wrong")
    fails("a download that was cut short is refused", "has the checksum", "bytes", release="short")
    fails("a server that cannot be reached: it tries again, then gives up", "cannot be fetched; tried for",
          before="DENWA_PATIENCE=3 ", options="--url http://10.0.2.2:9 --with /root/test/lines")
    fails("a program that is not there", "404", before="DENWA_PATIENCE=0 ", options=f"--url {server.url('nowhere')}")
    server.bring(lines="ext.101 = random\nexd.102 = random\nmedia-ports = 50000\n")
    fails("each wrong line of the configuration is told", "nothing is installed", "lines:2: exd", "lines:3: media-ports")
    server.bring(lines=LINES + "state = /srv/denwa\n")
    fails("a state folder that the service could not write", "take the line 'state = ...' out")
    server.bring()
    vm.say("nc -u -l -p 5060 >/dev/null 2>&1 </dev/null & sleep 1")
    fails("a port that is taken", "udp port 5060 is taken by nc", after="killall nc")
    fails("no root", "only root can", before="chmod 755 /root /root/test; su -s /bin/sh nobody -c 'sh /root/test/good.sh'; exit $?; ")
    vm.say("chmod 700 /root")
    vm.say("fallocate -l $(($(df -k / | awk 'END { print $4 }') - 5000))k /tmp/fill")
    fails("a full disk", "MB free, and 12 MB are needed", after="rm -f /tmp/fill")
    fails("a read-only root", "cannot be written: is the disk read-only", before="sync; echo u >/proc/sysrq-trigger; sleep 1; ",
          after="mount -o remount,rw /")
    vm.say("mkdir /etc/denwa; mount -t tmpfs -o nr_inodes=1 tmpfs /etc/denwa")
    fails("a disk that becomes full half-way: what was begun is undone", "nothing of this installation was kept")
    vm.say("umount /etc/denwa; rmdir /etc/denwa")
    vm.say("mv /usr/bin/sha256sum /usr/bin/sha256sum.not")
    fails("a tool that is missing", "sha256sum is missing here")
    vm.say("mv /usr/bin/sha256sum.not /usr/bin/sha256sum")
    other = "mv /bin/uname /bin/uname.not; printf '#!/bin/sh\\n[ $1 = -m ] && echo armv7l || echo Linux\\n' >/bin/uname; chmod 755 /bin/uname; "
    fails("a processor that it is not made for", "there is no denwa for armv7l", before=other, after="mv /bin/uname.not /bin/uname")
    fails("a folder here in which it is not", "cannot be copied", options="--url file:///srv --with /root/test/lines")
    with server.suite.check("ended half-way, by SIGTERM: nothing is left") as check:
        files = vm.say(steps.FILES)
        # The port on which nobody answers makes it wait, with half of its work done.
        said = vm.say(f"sh /root/test/good.sh --url http://{server.gateway}:9 --with /root/test/lines 2>&1 & "
                      "sleep 4; kill $!; wait $!; echo exit status $?")
        check.says(said, "cannot be fetched yet", "nothing of this installation was kept", "exit status 143")
        check.that(vm.say(steps.FILES) == files, "it left something behind: " + steps.differences(files, vm.say(steps.FILES)))


def by_https(server, work):
    """By either tool: a certificate is asked for, but not before the clock is right."""
    vm, port = server.vm, server.port + 4
    web = folder_by_https(server.releases.folder, port, work / "https.log")
    options = f"--url https://{server.gateway}:{port}/good --with /root/test/lines"
    try:
        for tool, before, after in (("curl", "", ""), ("wget", "mv /usr/bin/curl /root/test/; ", "mv /root/test/curl /usr/bin/")):
            server.fails(f"a certificate that nobody has signed, by {tool}", "cannot be fetched", "certificate",
                         before=before + "DENWA_PATIENCE=0 ", after=after, options=options)
            with server.suite.check(f"the same with the clock at 1970, in which none is valid, by {tool}") as check:
                now = vm.say("date +%s")
                status, said = vm.run(f"{before}date -s @600 >/dev/null; sh /root/test/good.sh {options}; s=$?; "
                                      f"date -s @{int(now) + 5} >/dev/null; {after or ':'}; exit $s")
                check.that(status == 0, said)
                vm.say("sh /root/test/good.sh --uninstall --purge")
    finally:
        web.stop()


def install(server, memory):
    suite, vm = server.suite, server.vm
    with suite.check("a server that comes up late, the clock in 1970: from the script's start to what to type into phones") as check:
        late = server.port + 1
        now = vm.say("date +%s")
        server_later = subprocess.Popen(
            ["sh", "-c", f"sleep 10; exec python3 -m http.server {late} --bind 127.0.0.1 --directory '{server.releases.folder}'"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            # The clock is set right while it runs, as by NTP.
            status, said = vm.run(f"date -s @600 >/dev/null; sh /root/test/good.sh --url http://10.0.2.2:{late}/good --with /root/test/lines; s=$?; "
                                  f"date -s @{int(now) + 20} >/dev/null; exit $s")
        finally:
            server_later.terminate()
            server_later.wait()
        check.that(status == 0, said)
        check.says(said, "cannot be fetched yet", "password", "extensions")
    vm.say("sh /root/test/good.sh --uninstall --purge")
    with suite.check("from a folder of the server itself") as check:
        vm.put(server.releases.folder / "good" / server.releases.name, f"/root/test/{server.releases.name}:644")
        status, said = vm.run("sh /root/test/good.sh --url /root/test --with /root/test/lines")
        check.that(status == 0, said)
        vm.say("sh /root/test/good.sh --uninstall --purge")
    steps.installation(server)
    with suite.check("memory of the whole guest, idle, beside the same guest without it: at most 6 MB") as check:
        time.sleep(3)
        used = memory - server.available()
        check.that(used <= 6, f"{used:.1f} MB")
        check.figure = f"{used:.1f} MB"


def only_ipv6(server, work):
    suite, vm = server.suite, server.vm
    with suite.check("IPv6 only: it installs, and serves there") as check:
        web = folder_by_http(server.releases.folder, server.port + 2, work / "http6.log", bind="::1")
        try:
            vm.say("ip addr flush dev eth0 scope global; ip -6 addr add fec0::15/64 dev eth0; sleep 3; ip -6 route add default via fec0::2 || true")
            status, said = vm.run(f"sh /root/test/good.sh --url http://[fec0::2]:{server.port + 2}/good --with /root/test/lines")
            check.that(status == 0, said)
            check.that("no IPv6" not in said, said)
            check.says(vm.say("(printf 'OPTIONS sip:x SIP/2.0\\r\\nVia: SIP/2.0/UDP [::1]:5099;branch=z9hG4bKa;rport\\r\\nFrom: <sip:a@x>;tag=1\\r\\n"
                              "To: <sip:x>\\r\\nCall-ID: a\\r\\nCSeq: 1 OPTIONS\\r\\nSubject: %600s\\r\\nMax-Forwards: 70\\r\\nContent-Length: 0\\r\\n\\r\\n' x; sleep 2) | "
                              "nc -u -w 3 fec0::15 5060 2>&1; true"), "SIP/2.0 ")
        finally:
            web.stop()
