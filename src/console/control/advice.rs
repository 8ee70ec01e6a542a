//! What the owner of an exchange should do next, if something is not right.

use std::time::Duration;

use super::{StateFolder, Status};

/// How long nobody outside may be silent before that is worth a word.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is not right, and what would help: one sentence each, the most urgent first.
pub fn advice(status: &Status) -> Vec<String> {
    let mut advice = Vec::new();
    let facts = &status.facts;
    if let Some(left) = status.stopping_s {
        advice.push(format!(
            "the cloud stops this server in {left} s (spot): calls end 10 s before; if its request is a persistent one \
             that stops it, it is started again, and phones come back by themselves"
        ));
    }
    match status.state {
        StateFolder::Written => {}
        StateFolder::Unwritable => advice.push(format!(
            "the state folder {} cannot be written: calls go on, but what changes now is lost at a restart; see \
             whether the disk is full or read-only (`df {}`)",
            facts.state, facts.state
        )),
        StateFolder::Missing => advice.push(format!(
            "there is no state folder: phones have to register anew after a restart; make {} and give it to the \
             user that denwa runs as, or name another one (state)",
            facts.state
        )),
    }
    if facts.restarts > 0 {
        advice.push(
            "the exchange died and was started again, which it should never have to be: the log says how, please \
             report it"
                .into(),
        );
    }
    advice.extend(status.tls.iter().filter_map(|certificate| certificate.trouble.clone()));
    let counts = &status.counts;
    if counts.registered == 0 {
        let server = status.domain.as_deref().unwrap_or("this machine's address");
        advice.push(format!(
            "no phone is registered: type an extension, its password and {server} as server into one; what phones \
             did wrong is shown by `denwa why`"
        ));
    }
    let up = Duration::from_secs(status.now_unix.saturating_sub(facts.exchange_started_unix));
    let is_reachable = status.listening.iter().any(|place| !place.address.ip().is_loopback());
    if counts.outside_s.is_none() && is_reachable && up >= PATIENCE {
        let mut ports: Vec<String> = Vec::new();
        for place in &status.listening {
            // What a firewall calls it.
            let transport = if place.transport == "tls" { "tcp" } else { &place.transport };
            let port = format!("{transport} {}", place.address.port());
            if !ports.contains(&port) {
                ports.push(port);
            }
        }
        let (first, last) = status.media_ports;
        advice.push(format!(
            "nothing from the Internet has reached it since it was started: if phones are to, open {} and udp \
             {first}-{last} in the server's firewall and in its provider's (a security group at ConoHa and on EC2)",
            ports.join(", ")
        ));
    }
    if status.neighbours.iter().any(|neighbour| !neighbour.is_well()) {
        advice.push(
            "an exchange that is in the configuration cannot be reached: `denwa peer show` says why".into(),
        );
    }
    if counts.calls >= counts.calls_limit {
        advice.push("all ports for sound are in use: more calls need more of them (media-ports)".into());
    }
    if !facts.sandbox_complete {
        advice.push(format!("the {}", facts.sandbox));
    }
    advice.extend(status.remarks.iter().cloned());
    advice
}
