//! A whole exchange and what may come to it: phones that know their passwords, strangers who do not,
//! what either of them has seen, altered, and time. An input is read as a list of deeds (see [`deeds`]);
//! after each of them the laws of [`world`] hold, and when all timers have run out nothing is left.

mod alter;
mod deeds;
mod peer;
mod world;

use super::cost;
use super::rest::Rest;
use deeds::do_next;
use world::World;

/// The most deeds of an input; what follows is not read.
const MOST_DEEDS: usize = 250;

/// A byte that chooses a configuration, and deeds.
pub fn run(bytes: &[u8]) {
    let mut slow = None;
    for _ in 0..cost::TRIES {
        slow = play(bytes);
        if slow.is_none() {
            return;
        }
    }
    panic!("slow: {}", slow.unwrap_or_default());
}

/// Plays an input; tells of the packet that took longer than packets may.
fn play(bytes: &[u8]) -> Option<String> {
    let mut rest = Rest(bytes);
    let mut world = World::new(rest.byte());
    for _ in 0..MOST_DEEDS {
        if rest.is_empty() {
            break;
        }
        do_next(&mut world, &mut rest);
    }
    world.end();
    world.slow
}
