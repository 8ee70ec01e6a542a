//! Exchange to exchange: ours and a real Asterisk, as a friend's and as a provider's.

use crate::kit::Family::{V4, V6};
use crate::kit::Transport::Udp;
use crate::kit::{Asterisk, Baresip, Denwa, Family, Phone, Scene, in_uri, ports, wait_until};

const HOUSE: &str =
    "ext.101 = correct-horse\next.101.digest = md5\next.102 = battery-staple\next.102.digest = md5\n";

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
    study.hang_up();
    kitchen.is_hung_up();
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
}
