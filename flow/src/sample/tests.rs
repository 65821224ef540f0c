//! What is promised of samples: rules check, frames hit, equal seeds give equal worlds.

use super::{Random, Tunnels, frame, pipeline, port_table, rules};
use crate::reference;

#[test]
fn random_rules_pass_the_check() {
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let ports = port_table(&mut random, Tunnels::Some);
        for rule in rules(&mut random, &ports) {
            assert_eq!(rule.check(), Ok(()), "seed {seed}: {rule:?}");
        }
    }
}

#[test]
fn most_random_frames_are_forwarded_and_many_pass_several_tables() {
    let (mut forwarded, mut deep, mut all) = (0, 0, 0);
    for seed in 0..100 {
        let mut random = Random::new(seed);
        let ports = port_table(&mut random, Tunnels::Some);
        let pipeline = pipeline(&mut random, &ports);
        for _ in 0..100 {
            let (port, bytes) = frame(&mut random, &ports);
            let outcome = reference::process(&pipeline, &bytes, port);
            all += 1;
            forwarded += usize::from(!outcome.is_drop());
            deep += usize::from(outcome.rules.len() > 1);
        }
    }
    assert!(forwarded * 3 > all, "{forwarded} of {all} are forwarded");
    assert!(deep * 3 > all, "{deep} of {all} pass several tables");
}

#[test]
fn equal_seeds_give_equal_frames() {
    let draw = |seed| {
        let mut random = Random::new(seed);
        let ports = port_table(&mut random, Tunnels::Some);
        (0..50).map(|_| frame(&mut random, &ports)).collect::<Vec<_>>()
    };
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7), draw(8));
}
