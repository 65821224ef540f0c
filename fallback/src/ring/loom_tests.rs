//! The queue under loom: every interleaving of two threads that the memory model allows. Loom
//! reports each slot that both touch at once.

use super::ring;
use crate::sleep::Sleep;
use crate::sync::Arc;
use loom::thread;

#[test]
fn loom_values_cross_once_and_in_order_through_a_ring_that_wraps() {
    const COUNT: u32 = 3;
    loom::model(|| {
        let (mut producer, mut consumer) = ring(2);
        let taker = thread::spawn(move || {
            for expected in 0..COUNT {
                let value = loop {
                    match consumer.pop() {
                        Some(value) => break value,
                        None => thread::yield_now(),
                    }
                };
                assert_eq!(value, Box::new(expected));
            }
        });
        for number in 0..COUNT {
            let mut value = Box::new(number);
            while let Err(back) = producer.push(value) {
                value = back;
                thread::yield_now();
            }
            producer.publish();
        }
        taker.join().unwrap();
    });
}

#[test]
fn loom_what_is_left_is_dropped_once_by_whoever_goes_last() {
    loom::model(|| {
        let value = Arc::new(());
        let (mut producer, mut consumer) = ring(2);
        let given = Arc::clone(&value);
        let filler = thread::spawn(move || {
            assert!(producer.push(Arc::clone(&given)).is_ok());
            producer.publish();
            assert!(producer.push(given).is_ok());
        });
        // Loom looks at other orders where a thread gives way.
        thread::yield_now();
        drop(consumer.pop());
        thread::yield_now();
        drop(consumer);
        filler.join().unwrap();
        assert_eq!(Arc::strong_count(&value), 1);
    });
}

#[test]
fn loom_nobody_sleeps_through_what_was_put_there() {
    loom::model(|| {
        let (mut producer, mut consumer) = ring(2);
        let sleep = Arc::new(Sleep::default());
        let sleeper = Arc::clone(&sleep);
        let waker = thread::spawn(move || {
            assert!(producer.push(1).is_ok());
            producer.publish();
            sleeper.is_to_be_woken()
        });
        thread::yield_now();
        sleep.lie_down();
        let overslept = consumer.is_empty();
        let woken = waker.join().unwrap();
        assert!(woken || !overslept, "asleep, with something to do");
    });
}
