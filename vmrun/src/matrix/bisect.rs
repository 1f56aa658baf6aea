//! The first kernel that fails, of an ordered row of which the first passes and the last fails.

use std::collections::BTreeSet;

/// A search between a kernel that passes and a later one that fails.
#[derive(Debug)]
pub struct Search {
    /// The last one known to pass, and the first known to fail.
    good: usize,
    bad: usize,
    /// Those of which nothing can be said.
    unknown: BTreeSet<usize>,
    /// Those that pass although an earlier one fails.
    odd: BTreeSet<usize>,
}

/// What a run says of its kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    Good,
    Bad,
    /// It could not be run.
    Unknown,
}

impl Search {
    /// Between the first and the last of a row.
    pub fn between(good: usize, bad: usize) -> Search {
        Search { good, bad, unknown: BTreeSet::new(), odd: BTreeSet::new() }
    }

    /// Those to run next, at most `jobs`, which cut what is left into equal parts; none when nothing more can be known.
    pub fn next(&self, jobs: usize) -> Vec<usize> {
        let left = self.left();
        let count = jobs.clamp(1, left.len().max(1)).min(left.len());
        (1..=count).map(|part| left[part * left.len() / (count + 1)]).collect()
    }

    /// Takes what the runs of a round say.
    pub fn learn(&mut self, words: impl IntoIterator<Item = (usize, Word)>) {
        let mut good = Vec::new();
        for (kernel, word) in words {
            match word {
                Word::Good => good.push(kernel),
                Word::Bad => self.bad = self.bad.min(kernel),
                Word::Unknown => drop(self.unknown.insert(kernel)),
            }
        }
        for kernel in good {
            if kernel < self.bad {
                self.good = self.good.max(kernel);
            } else {
                self.odd.insert(kernel);
            }
        }
    }

    /// Those between the two that may still tell something.
    pub fn left(&self) -> Vec<usize> {
        (self.good + 1..self.bad).filter(|kernel| !self.unknown.contains(kernel)).collect()
    }

    pub fn good(&self) -> usize {
        self.good
    }

    pub fn bad(&self) -> usize {
        self.bad
    }

    /// Those between the last that passes and the first that fails, of which nothing is known.
    pub fn doubtful(&self) -> Vec<usize> {
        (self.good + 1..self.bad).filter(|kernel| self.unknown.contains(kernel)).collect()
    }

    pub fn odd(&self) -> impl Iterator<Item = usize> {
        self.odd.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches a row of `count` of which `first` is the first that fails; the number of runs and of rounds.
    fn search(count: usize, first: usize, jobs: usize, lost: &[usize]) -> (Search, usize, usize) {
        let mut search = Search::between(0, count - 1);
        let (mut runs, mut rounds) = (0, 0);
        loop {
            let next = search.next(jobs);
            if next.is_empty() {
                return (search, runs, rounds);
            }
            assert!(next.len() <= jobs && next.windows(2).all(|pair| pair[0] < pair[1]), "{next:?}");
            runs += next.len();
            rounds += 1;
            search.learn(next.into_iter().map(|kernel| match kernel {
                kernel if lost.contains(&kernel) => (kernel, Word::Unknown),
                kernel if kernel >= first => (kernel, Word::Bad),
                kernel => (kernel, Word::Good),
            }));
        }
    }

    #[test]
    fn it_is_found_with_the_fewest_runs() {
        for count in 2..40_usize {
            for first in 1..count {
                let (found, runs, rounds) = search(count, first, 1, &[]);
                assert_eq!((found.good(), found.bad(), runs), (first - 1, first, rounds));
                // As many as halving takes.
                let fewest = (count - 1).next_power_of_two().trailing_zeros() as usize;
                assert!(runs <= fewest, "{runs} runs for {count}");
            }
        }
    }

    #[test]
    fn several_at_a_time_need_fewer_rounds() {
        for first in 1..28 {
            let (found, _, rounds) = search(28, first, 2, &[]);
            assert_eq!((found.bad(), found.odd().count()), (first, 0));
            assert!(rounds <= 3, "{rounds} rounds");
        }
        assert_eq!(search(5, 2, 64, &[]).2, 1);
    }

    #[test]
    fn what_cannot_be_run_is_left_out() {
        let (found, ..) = search(9, 5, 1, &[4, 5]);
        assert_eq!((found.good(), found.bad(), found.doubtful()), (3, 6, vec![4, 5]));
        let (found, ..) = search(9, 5, 1, &[1, 2, 3, 4, 5, 6, 7]);
        assert_eq!((found.good(), found.bad(), found.doubtful().len()), (0, 8, 7));
    }

    #[test]
    fn one_that_passes_after_a_failure_is_odd() {
        let mut search = Search::between(0, 9);
        search.learn([(3, Word::Bad), (6, Word::Good)]);
        assert_eq!((search.good(), search.bad(), search.odd().collect::<Vec<_>>()), (0, 3, vec![6]));
    }
}
