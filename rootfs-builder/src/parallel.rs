//! Several pieces of one job at once.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// Does `work` for each item, given with its index, on at most `workers` threads. After a failure nothing new is
/// begun. Returns what came of the items, in their order, or the failure of the first of them that failed.
pub fn for_each<I: Sync, T: Send, E: Send>(
    items: &[I],
    workers: usize,
    work: impl Fn(usize, &I) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let results = Mutex::new(Vec::new());
    let worker = || {
        while !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { break };
            let result = work(index, item);
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            if let Ok(mut results) = results.lock() {
                results.push((index, result));
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..workers.min(items.len()) {
            scope.spawn(worker);
        }
        worker();
    });
    let mut results = results.into_inner().unwrap_or_default();
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_a_failure_ends_it() {
        let items: Vec<u32> = (0..100).collect();
        assert_eq!(for_each(&items, 4, |index, item| Ok::<_, ()>(index as u32 + item)), {
            Ok(items.iter().map(|item| item * 2).collect())
        });
        let done = AtomicUsize::new(0);
        let failing = |_, &item: &u32| {
            done.fetch_add(1, Ordering::Relaxed);
            if item == 3 { Err(item) } else { Ok(()) }
        };
        assert_eq!(for_each(&items, 1, failing), Err(3));
        assert_eq!(done.into_inner(), 4);
        assert_eq!(for_each(&[], 4, |_, _: &u32| Err::<(), _>(())), Ok(vec![]));
    }
}
