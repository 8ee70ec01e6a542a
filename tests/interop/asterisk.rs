//! Exchange to exchange: ours and a real Asterisk, as a friend's and as a provider's.

use std::time::Duration;

use crate::kit::Family::{V4, V6};
use crate::kit::Transport::Udp;
use crate::kit::{Asterisk, Baresip, Denwa, Family, Phone, Scene, in_uri, ports, wait_until};

const HOUSE: &str = "ext.101 = correct-horse\next.101.digest = md5\next.102 = battery-staple\next.102.digest = md5\necho = 114\n";

/// Behind 7 it calls us back; 600 is an echo test.
const EXTENSIONS: &str = "[default]
exten => 600,1,Answer
 same => n,Echo
exten => _0X.,1,Answer
 same => n,Echo
exten => 099,1,Dial(PJSIP/line,20)
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

fn friend(family: Family) {
    if !Asterisk::is_here() {
        return;
    }
    let (scene, theirs) = (Scene::called("-ours"), Scene::called("-asterisk"));
    let (here, there) = (ports::take(1), ports::take(1));
    let host = in_uri(family.loopback());
    let _asterisk = Asterisk::start(
        &theirs,
        &format!(
            "[udp]\ntype=transport\nprotocol=udp\nbind={host}:{there}\n
             [denwa]\ntype=endpoint\ncontext=default\ndisallow=all\nallow=ulaw,alaw\naors=denwa\nauth=link\n\
             outbound_auth=link\ndirect_media=no\n
             [link]\ntype=auth\nauth_type=userpass\nusername=link\npassword=a-long-shared-secret\n
             [denwa]\ntype=aor\ncontact=sip:{host}:{here}\n
             [denwa]\ntype=identify\nendpoint=denwa\nmatch={}\n",
            family.loopback()
        )
        .replace("             [", "["),
        EXTENSIONS,
    );
    let settings = format!(
        "{HOUSE}peer.friend = sip:{host}:{there}\npeer.friend.prefix = 8\npeer.friend.user = link\n\
         peer.friend.password = a-long-shared-secret\n"
    );
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
    talk(&mut kitchen, &mut study, "099");
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
