//! In which order the hosts of a service are tried (RFC 2782, "Usage rules").

use super::random::Random;
use super::record::Srv;

/// The lowest priority first, and among equals by chance, in proportion to their weights.
pub(super) fn in_order(mut hosts: Vec<Srv>, random: &Random) -> Vec<Srv> {
    // Those without weight come first, so that they have a very small chance of being chosen.
    hosts.sort_by_key(|host| (host.priority, host.weight != 0));
    let mut ordered = Vec::with_capacity(hosts.len());
    while let Some(priority) = hosts.first().map(|host| host.priority) {
        let rest = hosts.split_off(hosts.partition_point(|host| host.priority == priority));
        while !hosts.is_empty() {
            ordered.push(hosts.remove(chosen(&hosts, random)));
        }
        hosts = rest;
    }
    ordered
}

/// Which of these is next: the first at which the sum of the weights so far reaches a random number.
fn chosen(hosts: &[Srv], random: &Random) -> usize {
    let sum: u32 = hosts.iter().map(|host| u32::from(host.weight)).sum();
    let mark = random.up_to(sum);
    let mut so_far = 0;
    let reaches = |host: &Srv| {
        so_far += u32::from(host.weight);
        so_far >= mark
    };
    hosts.iter().position(reaches).unwrap_or(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn host(priority: u16, weight: u16) -> Srv {
        Srv { priority, weight, port: 5060, target: None }
    }

    #[test]
    fn the_lowest_priority_comes_first() {
        let random = Random::new([7; 16]);
        for _ in 0..100 {
            let hosts = vec![host(20, 9), host(10, 0), host(30, 0), host(10, 5)];
            let priorities: Vec<u16> = in_order(hosts, &random).iter().map(|host| host.priority).collect();
            assert_eq!(priorities, [10, 10, 20, 30]);
        }
    }

    #[test]
    fn equals_are_first_in_proportion_to_their_weights() {
        let random = Random::new([7; 16]);
        let mut first = [0_u32; 101];
        for _ in 0..10_000 {
            let hosts = vec![host(1, 60), host(1, 30), host(1, 10), host(1, 0)];
            let ordered = in_order(hosts, &random);
            assert_eq!(ordered.len(), 4);
            first[usize::from(ordered[0].weight)] += 1;
        }
        assert!((5_700..6_300).contains(&first[60]), "{}", first[60]);
        assert!((2_700..3_300).contains(&first[30]), "{}", first[30]);
        assert!((800..1_200).contains(&first[10]), "{}", first[10]);
        // One in the sum of the weights and one.
        assert!((40..170).contains(&first[0]), "{}", first[0]);
    }

    #[test]
    fn heavy_hosts_in_numbers_do_not_overflow() {
        let random = Random::new([7; 16]);
        let hosts = vec![host(1, u16::MAX); 32];
        assert_eq!(in_order(hosts, &random).len(), 32);
    }
}
