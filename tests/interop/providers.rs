//! A provider's line, where the provider is SIPp and does all that providers do to people: it asks for a password each
//! time, with another nonce; wants registrations shorter, longer or later; dislikes what a proxy would send; has a
//! strict router in front; calls for nobody in particular. All of it over IPv6, and the phones know IPv4 alone.

use crate::kit::Transport::Udp;
use crate::kit::{Baresip, Denwa, Phone, Provider, Scene, ports, wait_until};

const HOUSE: &str = "ext.101 = correct-horse\next.101.digest = md5\n";

/// The lines of a trunk to a provider.
fn trunk(name: &str, provider: &Provider) -> String {
    format!("trunk.{name} = sip:line@[::1]:{}\ntrunk.{name}.password = a-line-password\n", provider.port)
}

/// One whose provider is not registered with.
fn plain_trunk(name: &str, provider: &Provider) -> String {
    format!("{}trunk.{name}.register = no\n", trunk(name, provider))
}

fn kitchen(scene: &Scene, denwa: &Denwa) -> Phone {
    Baresip::new("101", "correct-horse").over(Udp).register(scene, denwa)
}

/// How often an exchange has sent such a request to its provider.
fn told(denwa: &Denwa, provider: &Provider, method: &str) -> usize {
    let sent = format!("to [::1]:{} (udp): {method} ", provider.port);
    denwa.program.output().matches(&sent).count()
}

/// Puts the call on hold and comes back.
fn hold(phone: &mut Phone) {
    phone.show_rates();
    wait_until("sound flows", || phone.sends_and_receives() == (true, true));
    phone.program.say("/hold");
    wait_until("silence from here", || !phone.sends_and_receives().0);
    phone.program.say("/resume");
    wait_until("sound flows again", || phone.sends_and_receives() == (true, true));
}

#[test]
#[ignore = "needs baresip and SIPp"]
fn a_provider_may_ask_for_the_password_each_time() {
    let (scene, here) = (Scene::new(), ports::take(1));
    let provider = Provider::start(&scene, "provider", &[], here);
    let settings = format!("{HOUSE}{}route.0 = trunk.isp", trunk("isp", &provider));
    let denwa = Denwa::start_at(&scene, here, &settings);
    denwa.program.expect("trunk.isp is registered, for 12 s");
    let mut phone = kitchen(&scene, &denwa);

    phone.dial("0451234567");
    phone.program.expect("183 Session Progress");
    // What is said before the answer is heard.
    phone.hears_itself();
    assert!(!phone.program.output().contains("Call established"), "that was only heard after the answer");
    phone.talks();
    phone.hears_itself();
    hold(&mut phone);
    phone.hang_up();
    denwa.program.expect("101 → 0451234567 ended");
    // And in time it is told that we are still there.
    wait_until("it has asked again who registers", || told(&denwa, &provider, "REGISTER") >= 4);
    provider.is_content();
}

#[test]
#[ignore = "needs baresip and SIPp"]
fn a_strict_router_is_spoken_with_as_it_wants() {
    let (scene, here) = (Scene::new(), ports::take(1));
    let provider = Provider::start(&scene, "provider-strict", &[], here);
    let settings = format!("{HOUSE}{}route.0 = trunk.isp", plain_trunk("isp", &provider));
    let denwa = Denwa::start_at(&scene, here, &settings);
    denwa.program.expect("trunk.isp answers at");
    let mut phone = kitchen(&scene, &denwa);
    // A call that the phone ends, and one that denwa ends.
    for (by_denwa, acknowledged) in [(false, 2), (true, 4)] {
        phone.dial("0451234567");
        phone.talks();
        phone.hears_itself();
        phone.program.say("/hold");
        wait_until("it is on hold", || told(&denwa, &provider, "ACK") >= acknowledged);
        match by_denwa {
            false => phone.hang_up(),
            true => {
                denwa.command(&scene, &["hangup", "all"]);
                phone.is_hung_up();
            }
        }
        denwa.program.expect("101 → 0451234567 ended");
    }
    provider.is_content();
}

#[test]
#[ignore = "needs SIPp"]
fn a_registration_is_made_as_the_provider_wants_it() {
    let (scene, here) = (Scene::new(), ports::take(1));
    let registrar = |status, header, expires| {
        let words = [("STATUS", status), ("HEADER", header), ("EXPIRES", expires)];
        Provider::start(&scene, "provider-registers", &words, here)
    };
    let longer = registrar("423 Interval Too Brief", "Min-Expires: 1800", "1800");
    let later = registrar("503 Service Unavailable", "Retry-After: 12 (soon)", "600");
    let never = registrar("403 Forbidden", "Warning: 399 isp \"unpaid\"", "600");
    let settings =
        format!("{HOUSE}{}{}{}", trunk("longer", &longer), trunk("later", &later), trunk("never", &never));
    let denwa = Denwa::start_at(&scene, here, &settings);
    let says = |sentence: &str| wait_until(sentence, || denwa.program.output().contains(sentence));
    says("trunk.longer is registered, for 1800 s");
    says("trunk.later is not registered: it answers 503 Service Unavailable; it is tried again in 12 s");
    says("trunk.never is not registered: it answers 403 Forbidden; it is tried again in 300 s");
    says("trunk.later is registered, for 600 s");
    for provider in [longer, later, never] {
        provider.is_content();
    }
}

#[test]
#[ignore = "needs baresip and SIPp"]
fn a_provider_that_cannot_is_passed_over_and_one_that_will_not_is_believed() {
    let (scene, here) = (Scene::new(), ports::take(1));
    let refuses = |status| Provider::start(&scene, "provider-refuses", &[("STATUS", status)], here);
    let cannot = refuses("503 Service Unavailable");
    let will_not = refuses("403 Forbidden");
    let settings = format!(
        "{HOUSE}{}{}route.0 = trunk.cannot trunk.will-not\nroute.07 = trunk.cannot",
        plain_trunk("cannot", &cannot),
        plain_trunk("will-not", &will_not)
    );
    let denwa = Denwa::start_at(&scene, here, &settings);
    for name in ["cannot", "will-not"] {
        wait_until("it is there", || denwa.program.output().contains(&format!("trunk.{name} answers at")));
    }
    let mut phone = kitchen(&scene, &denwa);
    phone.dial("0451234567");
    phone.program.expect("session closed: 403");
    phone.dial("0751234567");
    // To the phone a 503 would say that the whole exchange cannot (RFC 3261 §16.7).
    phone.program.expect("session closed: 500");
    cannot.is_content();
    will_not.is_content();
}

#[test]
#[ignore = "needs baresip and SIPp"]
fn a_fritzbox_takes_a_registration_for_nobody() {
    let (scene, here) = (Scene::new(), ports::take(1));
    let provider = Provider::start(&scene, "fritzbox", &[], here);
    let settings = format!("{HOUSE}{}trunk.box.numbers = 101\nroute.0 = trunk.box", trunk("box", &provider));
    let denwa = Denwa::start_at(&scene, here, &settings);
    denwa.program.expect("trunk.box is registered, for 300 s");
    let mut phone = kitchen(&scene, &denwa);
    phone.dial("0451234567");
    phone.talks();
    phone.hears_itself();
    phone.hang_up();
    denwa.program.expect("101 → 0451234567 ended");
    // Where it has registered us, it calls as home gateways do: for nobody in particular.
    let call = Provider::call(&scene, "gateway-calls", &[("TALK", "2000")], here);
    phone.answer();
    phone.hears_itself();
    phone.is_hung_up();
    call.succeeds();
    denwa.program.expect("09011112222 → line ended");
    provider.is_content();
}

#[test]
#[ignore = "needs baresip and SIPp"]
fn a_home_gateway_calls_for_nobody_and_wants_a_timer() {
    let (scene, here) = (Scene::new(), ports::take(1));
    let settings = format!("{HOUSE}trunk.hgw = sip:3@[::1]\ntrunk.hgw.numbers = 101");
    let denwa = Denwa::start_at(&scene, here, &settings);
    let mut phone = kitchen(&scene, &denwa);
    let call = Provider::call(&scene, "gateway-calls", &[("TALK", "4000")], here);
    phone.answer();
    let invite = phone.last_received("INVITE");
    assert!(invite.contains("<sip:09011112222@") && !invite.contains("Require"), "{invite}");
    phone.hears_itself();
    phone.program.expect("got re-INVITE");
    phone.is_hung_up();
    call.succeeds();
    denwa.program.expect("09011112222 → 3 ended");
}
