//! Commands about other exchanges.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use argh::FromArgs;
use denwa::config::{Config, Listen, Transport};
use denwa::console::control::{self, AskError, Reply, Request};

use super::ask::{json, paint, print, unexpected, width, with_exchange};
use super::peer_add::{Add, add};
use super::{configuration, find_advertised};
use crate::Done;

/// Other exchanges: friends' (peer.NAME) and providers' (trunk.NAME).
#[derive(FromArgs)]
#[argh(subcommand, name = "peer")]
pub(crate) struct Peer {
    #[argh(subcommand)]
    command: Command,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Command {
    Show(Show),
    Add(Add),
}

/// How other exchanges are: where they were found, whether they answer, how many calls there are with each.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "show",
    example = "{command_name}\n{command_name} tokyo\n{command_name} tokyo --asterisk",
    note = "ANSWERS     how long the host took to answer the last question whether it is there (each 25 s)
CALLS       how many there are at the moment, and may be (`max-calls`)
REGISTERED  of a trunk: whether its provider knows where we are, and for how long still
Where TLS is spoken, the fingerprint of our certificate follows, by which a friend can know us (peer.NAME.pin).
With --asterisk, the lines are printed that a friend with an Asterisk (PJSIP) pastes into pjsip.conf and
extensions.conf. The password is among them. Change the prefix there to whatever the friend wants to dial.",
    error_code(1, "there is no such exchange, or it could not be asked; the reason is on standard error"),
    error_code(2, "no exchange is running")
)]
pub(crate) struct Show {
    /// one of them, as `tokyo`, `peer.tokyo` or `trunk.isp`; if not given, all
    #[argh(positional)]
    name: Option<String>,
    /// what a friend with an Asterisk writes to be joined with us
    #[argh(switch)]
    asterisk: bool,
    /// the configuration of the exchange; if not given, as `denwa run` finds it
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,
    /// a list in JSON
    #[argh(switch)]
    json: bool,
}

pub(crate) fn peer(arguments: Peer) -> Done {
    let show = match arguments.command {
        Command::Show(show) => show,
        Command::Add(arguments) => return add(arguments),
    };
    match (show.asterisk, &show.name) {
        (true, Some(name)) => for_asterisk(name, show.config.clone()),
        (true, None) => Err("whose? Name the friend: `denwa peer show NAME --asterisk`".into()),
        (false, _) => state(show),
    }
}

fn state(show: Show) -> Done {
    with_exchange(show.config, |client| {
        let Reply::Neighbours(mut all) = client.ask(&Request::Neighbours)? else { return Err(unexpected()) };
        if let Some(name) = &show.name {
            all.retain(|view| is_called(&view.name, name));
            if all.is_empty() {
                return Err(AskError::Refused(no_such(name)));
            }
        }
        if show.json {
            return print(&json(&all));
        }
        print(&control::neighbours(&all, width(), paint()))?;
        let Reply::Status(status) = client.ask(&Request::Status)? else { return Err(unexpected()) };
        match status.tls.filter(|_| !all.is_empty()) {
            Some(certificate) => print(&control::for_pinning(&certificate)),
            None => Ok(()),
        }
    })
}

fn for_asterisk(name: &str, config: Option<PathBuf>) -> Done {
    let mut config = Config::load(&configuration(config)?)?;
    find_advertised(&mut config);
    let found = config.neighbours.iter().find(|(label, _)| is_called(label.as_str(), name));
    let Some((label, neighbour)) = found else { return Err(no_such(name).into()) };
    if !label.as_str().starts_with("peer.") {
        return Err(
            format!("{label} is a provider, which has its own ways; `--asterisk` is for friends").into()
        );
    }
    let transport = neighbour.hosts.first().and_then(|host| host.transport).unwrap_or(Transport::Udp);
    let Some(place) = config.listen.iter().find(|place| place.transport == transport) else {
        return Err(format!(
            "{label} speaks {transport}, by which nobody can reach this exchange: add a place where it is spoken, as \
             `listen.{transport} = {transport}:{}`",
            if transport == Transport::Tls { 5061 } else { 5060 }
        )
        .into());
    };
    let host = here(&config, transport).map(|here| here.ip());
    print(&control::for_asterisk("denwa", neighbour, host, *place, "8"))?;
    Ok(ExitCode::SUCCESS)
}

/// Where others reach us by a transport: the address that is advertised, IPv6 first, else one that is listened on.
pub(super) fn here(config: &Config, transport: Transport) -> Option<SocketAddr> {
    let place: &Listen = config.listen.iter().find(|place| place.transport == transport)?;
    let mut advertised: Vec<IpAddr> = config.advertise.clone();
    advertised.sort_by_key(|address| !address.is_ipv6());
    // A place in front of which the cloud has another address is reached at that.
    let of_its_kind = |it: &&IpAddr| place.address.is_none_or(|address| address.is_ipv6() == it.is_ipv6());
    let address = advertised.iter().find(of_its_kind).copied().or(place.address)?;
    Some(SocketAddr::new(address, place.port))
}

/// Whether a label is what somebody calls `name`.
fn is_called(label: &str, name: &str) -> bool {
    label == name || label.split_once('.').is_some_and(|(_, short)| short == name)
}

fn no_such(name: &str) -> String {
    format!("there is no exchange {name} in the configuration (peer.NAME, trunk.NAME)")
}
