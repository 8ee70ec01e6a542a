"""A real Debian with cloud-init: the script by a NoCloud disk, as ConoHa gives it, and by a fake service of EC2."""

import subprocess

import steps
from steps import FORWARD, LINES, LOW_PORT, Server
from vm import Vm, metadata

HOW = {
    "start": "systemctl start denwa", "stop": "systemctl stop denwa", "reload": "systemctl reload denwa",
    # What it said stands in the journal, where systemctl sends its reader.
    "why": "sleep 1; journalctl -u denwa -n 20 -o cat --no-pager",
    "enabled": "systemctl is-enabled denwa", "is_enabled": "enabled",
}


def user_data(work, tools, name, url, lines=LINES + LOW_PORT):
    """A folder that is a NoCloud seed."""
    seed = work / name
    seed.mkdir()
    (work / f"{name}.conf").write_text(lines)
    subprocess.run([tools / "make-user-data", "--config", work / f"{name}.conf", "--url", url, "--out", seed / "user-data"],
                   check=True, capture_output=True)
    # The same server after a boot, for which cloud-init does nothing anew.
    (seed / "meta-data").write_text("instance-id: denwa-test\nlocal-hostname: pbx\n")
    return seed


def run(suite, releases, arch, work, port, tools):
    suite.where = "debian, NoCloud"
    vm = Vm(work / "debian", arch, "debian", FORWARD)
    server = Server(suite, vm, releases, port)
    seed = user_data(work, tools, "seed", server.url())
    vm.start("--seed", seed)
    try:
        cloud_init(server)
        for release in ("good", "wrong", "dies"):
            server.bring(release)
        steps.it_works(server, HOW)
        steps.reboots(server)
        vm.say("sh /root/test/good.sh --uninstall --purge")
        files = vm.say(steps.FILES)
        steps.installation(server)
        steps.removal(server, HOW, files)
        bad_inputs(server)
    finally:
        vm.stop()


def cloud_init(server):
    suite, vm = server.suite, server.vm
    with suite.check("user-data by cloud-init: installed, told on the console") as check:
        log = vm.say("cat /var/log/cloud-init-output.log")
        check.that(vm.run("cloud-init status --wait")[0] == 0, vm.run("cloud-init status --long")[1] + log)
        check.says(log, "user       101", "denwa: done")
        check.says(vm.console(), "user       101")
        check.figure = vm.say("journalctl -u denwa -o cat | grep 'sandbox: ' | head -n 1")


def bad_inputs(server):
    server.bring(lines="ext.101 = random\nexd.102 = random\n")
    server.fails("each wrong line of the configuration is told", "nothing is installed", "lines:2: exd")
    server.bring()
    server.fails("a damaged program is refused", "has the checksum", release="wrong")
    server.vm.say("systemd-run -q --unit taken python3 -c \"import socket, time; s = socket.socket(); s.bind(('', 5060)); s.listen(); time.sleep(600)\"; sleep 2")
    server.fails("a port that is taken", "tcp port 5060 is taken by python3", after="systemctl stop taken")


def run_ec2(suite, releases, arch, work, port, tools):
    suite.where = "debian, EC2"
    gateway = "169.254.0.2"
    vm = Vm(work / "debian-ec2", arch, "debian", [5060])
    server = Server(suite, vm, releases, port, gateway)
    seed = user_data(work, tools, "ec2", server.url(), LINES + "advertise = auto\n")
    imds = metadata(port + 4, work / "imds-debian.log", "--user-data", seed / "user-data", "--public-ipv4", "203.0.113.5")
    try:
        vm.start("--imds", port + 4, "--cloud", "ec2")
        cloud_init(server)
        with suite.check("advertise = auto: the public address that EC2 tells") as check:
            server.advertises("203.0.113.5")
            check.says(vm.say("cat /root/denwa-phones.txt"), "203.0.113.5")
    finally:
        vm.stop()
        imds.stop()
