//! Exchange to exchange: ours and a real Asterisk, as a friend's and as a provider's.

use std::process::Command;
use std::time::Duration;

use crate::kit::Family::{V4, V6};
use crate::kit::Transport::{Tls, Udp};
use crate::kit::{Asterisk, Baresip, Denwa, Family, Phone, Scene, binary, in_uri, ports, wait_until};

const HOUSE: &str = "ext.101 = correct-horse\next.101.digest = md5\next.102 = battery-staple\next.102.digest = md5\necho = 114\n";

/// What a friend's Asterisk has for us to dial, in the context that it has by our lines: behind 7 it calls us back, 600 is
/// an echo test.
const FOR_US: &str = "
exten => 600,1,Answer
 same => n,Echo
exten => _7.,1,Goto(default,8${EXTEN:1},1)
";

/// What a provider's Asterisk has; 0991234567 calls the line.
const EXTENSIONS: &str = "[default]
exten => _0X.,1,Answer
 same => n,Echo
exten => 0991234567,1,Dial(PJSIP/line,20)
exten => _7.,1,Dial(PJSIP/${EXTEN:1}@denwa,20)
";

fn phones(scene: &Scene, denwa: &Denwa) -> (Phone, Phone) {
    let kitchen = Baresip::new("101", "correct-horse").tone(440.0).on(V4).over(Udp);
    let study = Baresip::new("102", "battery-staple").tone(1000.0).on(V4).over(Udp);
    (kitchen.register(scene, denwa), study.register(scene, denwa))
}

fn talk(kitchen: &mut Phone, study: &mut Phone, number: &str) {
    kitchen.dial(number);
    study.answer();
    kitchen.talks();
    study.talks();
    kitchen.hears(study);
    study.hears(kitchen);
}

/// The files of a friend who pasted what `denwa peer show friend --asterisk` prints for these settings, and wrote where we
/// are. It dials 8 for us.
fn pasted(scene: &Scene, settings: &str, transport: &str) -> (String, String) {
    let config = scene.write("for-asterisk.conf", settings);
    let mut command = Command::new(binary());
    command.args(["peer", "show", "friend", "--asterisk", "--config"]).arg(config);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines.replace("sip:YOUR-ADDRESS", "sip:[::1]").replace("YOUR-ADDRESS", "::1");
    let (pjsip, extensions) = lines.split_once("; extensions.conf, in the context of your phones\n").unwrap();
    (format!("{transport}\n{pjsip}"), format!("[default]\n{extensions}{FOR_US}"))
}

fn friend(family: Family) {
    if !Asterisk::is_here() {
        return;
    }
    let (scene, theirs) = (Scene::called("-ours"), Scene::called("-asterisk"));
    let (here, there) = (ports::take(1), ports::take(1));
    let host = in_uri(family.loopback());
    // The phones are on IPv4.
    let place = if family == V4 { String::new() } else { format!("udp:{host}:{here} ") };
    let settings = format!(
        "{HOUSE}listen = {place}udp:127.0.0.1:{here}\npeer.friend = sip:{host}:{there}\npeer.friend.prefix = 8\n\
         peer.friend.user = link\npeer.friend.password = a-long-shared-secret\n"
    );
    let transport = format!("[udp]\ntype=transport\nprotocol=udp\nbind={host}:{there}\n");
    let (pjsip, extensions) = pasted(&scene, &settings, &transport);
    let _asterisk = Asterisk::start(&theirs, &pjsip, &extensions);
    let denwa = Denwa::start_at(&scene, here, &settings);
    denwa.program.expect("peer.friend answers at");
    let (mut kitchen, mut study) = phones(&scene, &denwa);

    kitchen.dial("8600");
    kitchen.talks();
    kitchen.hears_itself();
    kitchen.hang_up();
    denwa.program.expect("101 → 8600 ended");

    // Out to the friend, and back from there.
    talk(&mut kitchen, &mut study, "87102");
    let invite = study.last_received("INVITE");
    assert!(invite.contains("<sip:8101@"), "the friend's caller can be called back: {invite}");

    // Hold, which Asterisk answers itself, and back again.
    for phone in [&mut kitchen, &mut study] {
        phone.show_rates();
        wait_until("sound flows", || phone.sends_and_receives() == (true, true));
        phone.program.say("/hold");
        wait_until("silence from here", || !phone.sends_and_receives().0);
        phone.program.say("/resume");
        wait_until("sound flows again", || phone.sends_and_receives() == (true, true));
    }

    study.hang_up();
    kitchen.is_hung_up();

    // A phone sends its caller on, by a number of ours.
    talk(&mut kitchen, &mut study, "87102");
    study.program.say("/transfer sip:114@denwa.test");
    denwa.program.expect("→ 114 answered");
    kitchen.new_recording();
    kitchen.hears_itself();
    kitchen.hang_up();
}

#[test]
#[ignore = "needs baresip and Asterisk"]
fn an_asterisk_is_a_friend_over_ipv6() {
    friend(V6);
}

#[test]
#[ignore = "needs baresip and Asterisk"]
fn an_asterisk_is_a_friend_over_ipv4() {
    friend(V4);
}

/// By TLS each side is known by its certificate alone. Its list of codecs is another one, and sound that the phone
/// encrypts is decrypted there, by keys that nobody on the way could read.
#[test]
#[ignore = "needs baresip and Asterisk"]
fn an_asterisk_is_a_friend_by_tls() {
    if !Asterisk::is_here() {
        return;
    }
    let (scene, theirs) = (Scene::called("-ours"), Scene::called("-asterisk"));
    let (here, there) = (ports::take(1), ports::take(1));
    let (certificate, key, fingerprint) = Asterisk::certificate(&theirs);
    let settings = format!(
        "{HOUSE}listen = udp:127.0.0.1:{here} tls:PORT\npeer.friend = sip:[::1]:{there};transport=tls\n\
         peer.friend.prefix = 8\npeer.friend.pin = {fingerprint}\n"
    );
    let denwa = Denwa::start_at(&scene, here, &settings);
    let transport = format!(
        "[tls]\ntype=transport\nprotocol=tls\nbind=[::1]:{there}\ncert_file={certificate}\npriv_key_file={key}\n\
         method=tlsv1_2\n"
    );
    let (pjsip, extensions) = pasted(&scene, &scene.read("denwa.conf"), &transport);
    let pjsip = pjsip.replace("allow = ulaw,alaw,g722", "allow = g722,alaw");
    let asterisk = Asterisk::start(&theirs, &pjsip, &extensions);
    denwa.program.expect("peer.friend answers at");
    let secret = Baresip::new("101", "correct-horse").tone(440.0).over(Tls).modules(&["g711", "srtp"]);
    let mut kitchen = secret.wishes(";mediaenc=srtp-mand").register(&scene, &denwa);
    let study = Baresip::new("102", "battery-staple").tone(1000.0).over(Udp);
    let mut study = study.register(&scene, &denwa);

    kitchen.dial("8600");
    kitchen.talks();
    kitchen.hears_itself();
    let channels = asterisk.console("core show channels verbose");
    let codec = asterisk.console("pjsip show channelstats");
    assert!(codec.contains("alaw"), "{codec}{channels}");
    kitchen.hang_up();
    denwa.program.expect("101 → 8600 ended");

    // Back from there, to a phone that has no keys and gets none.
    talk(&mut kitchen, &mut study, "87102");
    let invite = study.last_received("INVITE");
    assert!(invite.contains("<sip:8101@") && !invite.contains("a=crypto"), "{invite}");
    study.hang_up();
    kitchen.is_hung_up();
}

/// Session timers (RFC 4028) are kept by the refreshes of whoever promised them, across us.
#[test]
#[ignore = "needs baresip and Asterisk"]
fn an_asterisk_refreshes_its_sessions() {
    if !Asterisk::is_here() {
        return;
    }
    let (scene, theirs) = (Scene::called("-ours"), Scene::called("-asterisk"));
    let (here, there) = (ports::take(1), ports::take(1));
    let asterisk = Asterisk::start(
        &theirs,
        &format!(
            "[udp]\ntype=transport\nprotocol=udp\nbind=[::1]:{there}\n\n[denwa]\ntype=endpoint\ncontext=default\n\
             disallow=all\nallow=g722,ulaw,alaw\naors=denwa\ndirect_media=no\ntimers=always\ntimers_min_se=90\n\
             timers_sess_expires=90\n\n[denwa]\ntype=aor\ncontact=sip:[::1]:{here}\n\n[denwa]\ntype=identify\n\
             endpoint=denwa\nmatch=::1\n"
        ),
        EXTENSIONS,
    );
    let denwa = Denwa::start_at(
        &scene,
        here,
        &format!("{HOUSE}peer.friend = sip:[::1]:{there}\npeer.friend.prefix = 8\n"),
    );
    denwa.program.expect("peer.friend answers at");
    let (mut kitchen, mut study) = phones(&scene, &denwa);
    talk(&mut kitchen, &mut study, "87102");
    // A refresh is due after half of the time; without one the call would be over at its end.
    std::thread::sleep(Duration::from_secs(50));
    let has_timer = |phone: &Phone| phone.last_received("INVITE").contains("Session-Expires");
    let refreshed = has_timer(&kitchen) || has_timer(&study);
    assert!(refreshed, "{}", asterisk.console("pjsip show channels"));
    kitchen.new_recording();
    study.new_recording();
    kitchen.hears(&study);
    study.hears(&kitchen);
    study.hang_up();
    kitchen.is_hung_up();
}

#[test]
#[ignore = "needs baresip and Asterisk"]
fn an_asterisk_is_the_provider_of_a_line() {
    if !Asterisk::is_here() {
        return;
    }
    let (scene, theirs) = (Scene::called("-ours"), Scene::called("-asterisk"));
    let there = ports::take(1);
    let asterisk = Asterisk::start(
        &theirs,
        &format!(
            "[udp]\ntype=transport\nprotocol=udp\nbind=[::1]:{there}\n
             [line]\ntype=endpoint\ncontext=default\ndisallow=all\nallow=ulaw,alaw\naors=line\nauth=line\n\
             direct_media=no\n
             [line]\ntype=auth\nauth_type=userpass\nusername=line\npassword=a-line-password\n
             [line]\ntype=aor\nmax_contacts=1\nremove_existing=yes\n"
        )
        .replace("             [", "["),
        EXTENSIONS,
    );
    let settings = format!(
        "{HOUSE}trunk.isp = sip:line@[::1]:{there}\ntrunk.isp.password = a-line-password\n\
         trunk.isp.numbers = 102\nroute.0 = trunk.isp\n"
    );
    let denwa = Denwa::start(&scene, &settings);
    denwa.program.expect("trunk.isp is registered");
    wait_until("Asterisk has our contact", || {
        asterisk.console("pjsip show aors").contains("Contact:  line/sip:")
    });
    let (mut kitchen, mut study) = phones(&scene, &denwa);

    kitchen.dial("0451234567");
    kitchen.talks();
    kitchen.hears_itself();
    kitchen.hang_up();
    denwa.program.expect("101 → 0451234567 ended");

    // The provider calls our line.
    talk(&mut kitchen, &mut study, "0991234567");
    kitchen.hang_up();
    study.is_hung_up();

    // Whoever was called goes on with another phone; the provider knows of no transfers.
    kitchen.dial("0451234567");
    kitchen.talks();
    kitchen.hears_itself();
    kitchen.program.say("/transfer sip:102@denwa.test");
    study.answer();
    denwa.program.expect("→ 102 answered");
    study.new_recording();
    study.hears_itself();
    study.hang_up();
    denwa.program.expect("0451234567 → 102 ended");
}

/// By TLS; it has one codec, and keeps the session by a timer.
#[test]
#[ignore = "needs baresip and Asterisk"]
fn an_asterisk_is_the_provider_of_a_line_by_tls() {
    if !Asterisk::is_here() {
        return;
    }
    let (scene, theirs) = (Scene::called("-ours"), Scene::called("-asterisk"));
    let there = ports::take(1);
    let (certificate, key, fingerprint) = Asterisk::certificate(&theirs);
    let pjsip = format!(
        "[tls]\ntype=transport\nprotocol=tls\nbind=[::1]:{there}\ncert_file={certificate}\npriv_key_file={key}\n\
         method=tlsv1_2\n\n[line]\ntype=endpoint\ncontext=default\ndisallow=all\nallow=alaw\naors=line\nauth=line\n\
         direct_media=no\nrewrite_contact=yes\ntimers=always\ntimers_min_se=90\ntimers_sess_expires=90\n\n[line]\n\
         type=auth\nauth_type=userpass\nusername=line\npassword=a-line-password\n\n[line]\ntype=aor\n\
         max_contacts=1\nremove_existing=yes\n"
    );
    let asterisk = Asterisk::start(&theirs, &pjsip, EXTENSIONS);
    let settings = format!(
        "{HOUSE}trunk.isp = sip:line@[::1]:{there};transport=tls\ntrunk.isp.pin = {fingerprint}\n\
         trunk.isp.password = a-line-password\ntrunk.isp.numbers = 102\nroute.0 = trunk.isp\n"
    );
    let denwa = Denwa::start(&scene, &settings);
    denwa.program.expect("trunk.isp is registered");
    let (mut kitchen, mut study) = phones(&scene, &denwa);

    // The provider calls our line, by the connection that we have opened.
    talk(&mut kitchen, &mut study, "0991234567");
    kitchen.hang_up();
    study.is_hung_up();

    kitchen.dial("0451234567");
    kitchen.talks();
    kitchen.hears_itself();
    let codec = asterisk.console("pjsip show channelstats");
    assert!(codec.contains("alaw") && !codec.contains("ulaw"), "{codec}");
    kitchen.show_rates();
    wait_until("sound flows", || kitchen.sends_and_receives() == (true, true));
    kitchen.program.say("/hold");
    wait_until("silence from here", || !kitchen.sends_and_receives().0);
    kitchen.program.say("/resume");
    wait_until("sound flows again", || kitchen.sends_and_receives() == (true, true));
    // A refresh is due after half of the time.
    std::thread::sleep(Duration::from_secs(50));
    let refresh = kitchen.last_received("INVITE");
    assert!(refresh.contains("Session-Expires"), "{refresh}");
    wait_until("sound flows on", || kitchen.sends_and_receives() == (true, true));
    kitchen.hang_up();
    denwa.program.expect("101 → 0451234567 ended");
}
