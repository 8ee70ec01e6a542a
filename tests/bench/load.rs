//! The load bench: what one registration, one call and one relayed packet cost, how much memory
//! and time a server takes, in denwa, in Kamailio with rtpengine, and in a bare relay loop, side
//! by side. `scripts/bench` prepares everything and calls this.
//!
//! The measured programs share one processor; the bench drives them from another and checks every
//! answer. Rounds alternate between the programs, so that a disturbance of the machine meets all,
//! and the medians are printed.

mod auc;
mod bare;
mod drain;
mod flood;
mod media;
mod message;
mod phones;
mod probe;
mod program;
mod refresh;
mod rows;
mod storm;
mod strangers;
mod survive;
mod sys;
mod table;

use argh::FromArgs;
use program::{Kind, Setting};
use std::path::PathBuf;
use std::process::ExitCode;

/// Measures denwa beside Kamailio with rtpengine and a bare relay loop.
#[derive(FromArgs)]
struct Arguments {
    /// the denwa binary
    #[argh(option, default = "PathBuf::from(\"target/release/denwa\")")]
    denwa: PathBuf,
    /// how that binary was built, for the table's heading
    #[argh(option, default = "String::from(\"unknown build\")")]
    build: String,
    /// measure denwa and the bare loop only
    #[argh(switch)]
    denwa_only: bool,
    /// measure Kamailio with rtpengine and the bare loop only
    #[argh(switch)]
    rival_only: bool,
    /// give Kamailio its fastest allocator (-x tlsf) instead of the one that Debian starts it with
    #[argh(switch)]
    tuned_rival: bool,
    /// speak over IPv6
    #[argh(switch)]
    ipv6: bool,
    /// a third of the rounds: rough figures, fast
    #[argh(switch)]
    quick: bool,
    /// print where denwa spends its time in the named rows, by perf
    #[argh(switch)]
    profile: bool,
    /// given by cargo
    #[argh(switch)]
    #[allow(dead_code, reason = "cargo bench says it to every bench target")]
    bench: bool,
    /// rows: register, call, relay, capacity, memory, start, size, flood, guard, tcp, restart, timing,
    /// crash, upgrade; all if none is named
    #[argh(positional)]
    rows: Vec<String>,
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let loops = match words.next().as_deref() {
        Some(bare::ARGUMENT) => Some(bare::run(words)),
        Some(drain::ARGUMENT) => Some(drain::run(words)),
        _ => None,
    };
    if let Some(ended) = loops {
        return match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) => {
                eprintln!("bare loop: {e}");
                ExitCode::FAILURE
            }
        };
    }
    match measure(argh::from_env()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("bench: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the rows and prints the table. `false` if some row could not be measured.
fn measure(arguments: Arguments) -> Result<bool, String> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let denwa = std::path::absolute(&arguments.denwa).map_err(|e| e.to_string())?;
    let ip = if arguments.ipv6 { "::1" } else { "127.0.0.1" }.parse().map_err(|_| "an address")?;
    let mut kinds = Vec::new();
    if !arguments.rival_only {
        kinds.push(Kind::Denwa);
    }
    if !arguments.denwa_only {
        kinds.push(Kind::Kamailio);
    }
    sys::many_files().map_err(|e| format!("limit of open files: {e}"))?;
    let network = sys::leave_network();
    if let Err(e) = &network {
        eprintln!("bench: on the machine's own network, where ports may be taken ({e})");
    }
    let own_network = network.is_ok();
    // Whatever else the machine does should not be measured. Without the right to it: as it is.
    sys::take_precedence();
    if sys::cores() > 1 {
        sys::pin(1).map_err(|e| format!("pinning: {e}"))?;
    } else {
        eprintln!("bench: one processor only: it is shared with the servers, and latency means little");
    }
    let bench = rows::Bench {
        setting: Setting { denwa, folder: folder.clone(), ip, tuned_rival: arguments.tuned_rival },
        kinds,
        rounds: if arguments.quick { 3 } else { 7 },
        own_network,
        ipv6_strangers: own_network && flood::prepare_sources(),
        profile: arguments.profile.then(|| folder.join("perf.data")),
    };
    let busy = sys::load();
    let mut table = bench.run(&arguments.rows)?;
    if arguments.tuned_rival {
        table.remarks.push("Kamailio has its fastest allocator (-x tlsf), not the one it starts with".into());
    }
    if busy > 0.5 {
        table.remarks.push(format!("the machine was busy: load average {busy:.1} before the bench began; CPU times are too high, latency and calls mean little"));
    }
    print!("{}", table.print(&arguments.build, &ip));
    // The folder holds configurations and logs of programs that have been stopped.
    if arguments.profile {
        println!("the recording of the last row: {}", folder.join("perf.data").display());
        return Ok(table.complete());
    }
    let _ = std::fs::remove_dir_all(&folder);
    Ok(table.complete())
}
