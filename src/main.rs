//! The program: everything is done by the library.

use std::process::ExitCode;

use denwa::config::Config;
use denwa::switch::Switch;
use denwa::{keeper, media, net};

fn main() -> ExitCode {
    match run(Config::default()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("denwa: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(config: Config) -> Result<(), Box<dyn std::error::Error>> {
    let sockets = keeper::bind(&config)?;
    for notice in &sockets.notices {
        eprintln!("{notice}");
    }
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    let relay = media::Relay::start()?;
    let switch = Switch::new(config, seed);
    net::run(switch, sockets, relay, &mut |event| eprintln!("{event:?}"))?;
    Ok(())
}
