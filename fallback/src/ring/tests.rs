//! The queue against a model, and between two threads.

use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

/// What one end does.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Push,
    Publish,
    Pop,
}

proptest! {
    #[test]
    fn it_is_a_queue_of_what_was_published(
        capacity in 1_usize..9,
        deeds in proptest::collection::vec(
            prop_oneof![Just(Deed::Push), Just(Deed::Publish), Just(Deed::Pop)], 0..200)
    ) {
        let (mut producer, mut consumer) = ring(capacity);
        let (mut hidden, mut visible) = (VecDeque::new(), VecDeque::new());
        for (number, deed) in deeds.into_iter().enumerate() {
            match deed {
                Deed::Push => {
                    if producer.push(Box::new(number)).is_ok() {
                        hidden.push_back(number);
                    } else {
                        prop_assert!(hidden.len() + visible.len() > 0);
                    }
                    prop_assert!(
                        hidden.len() + visible.len() <= capacity.next_power_of_two()
                    );
                }
                Deed::Publish => {
                    prop_assert_eq!(producer.publish(), !hidden.is_empty());
                    visible.append(&mut hidden);
                }
                Deed::Pop => {
                    prop_assert_eq!(consumer.pop().map(|value| *value), visible.pop_front());
                }
            }
        }
    }
}

fn fill(mut producer: Producer<Box<u64>>, count: u64) {
    for number in 0..count {
        let mut value = Box::new(number);
        while let Err(back) = producer.push(value) {
            producer.publish();
            std::thread::yield_now();
            value = back;
        }
        if number % 7 == 0 {
            producer.publish();
        }
    }
}

#[test]
fn values_cross_threads_once_and_in_order() {
    const COUNT: u64 = 300_000;
    for capacity in [1, 2, 64] {
        let (producer, mut consumer) = ring(capacity);
        let filler = std::thread::spawn(move || fill(producer, COUNT));
        let mut expected = 0;
        while expected < COUNT {
            let Some(value) = consumer.pop() else {
                std::thread::yield_now();
                continue;
            };
            assert_eq!(*value, expected);
            expected += 1;
        }
        assert!(consumer.pop().is_none());
        filler.join().unwrap();
    }
}

#[test]
fn what_is_left_is_dropped_once_whichever_end_goes_first() {
    let value = Arc::new(());
    for pushed in 0..4 {
        let (mut producer, mut consumer) = ring(4);
        for _ in 0..pushed {
            producer.push(Arc::clone(&value)).unwrap();
        }
        producer.publish();
        drop(consumer.pop());
        if pushed % 2 == 0 {
            drop(producer);
            drop(consumer);
        } else {
            drop(consumer);
            drop(producer);
        }
        assert_eq!(Arc::strong_count(&value), 1, "{pushed}");
    }
}
