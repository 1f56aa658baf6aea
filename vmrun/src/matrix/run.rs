//! Running cells, as many at a time as there is room for.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::cell::{Trial, Verdict};
use super::folder::Folder;
use super::interruption::Interruption;
use super::live::Live;
use super::plan::Plan;
use super::{cell, trial};
use crate::arguments::{MachineArguments, PullPolicy, machine_arguments};
use crate::home::Home;
use crate::output::one_line;
use crate::place::Room;

/// How often a live table's times go on.
const TICK: Duration = Duration::from_millis(100);

/// What a machine takes beside its own memory, in bytes.
const BESIDE: u64 = 128 << 20;

/// The most machines at a time that are chosen when nobody says how many.
const MANY: usize = 64;

/// What came of cells, by their indices.
pub type Trials = BTreeMap<usize, Trial>;

/// What runs cells.
pub struct Runner<'a> {
    pub home: &'a Home,
    pub plan: &'a Plan,
    pub folder: &'a Folder,
    pub jobs: usize,
    pub fail_fast: bool,
    pub interruption: Arc<Interruption>,
}

enum Happening {
    Started(usize),
    Finished(usize, Box<Trial>),
}

/// How many machines of that size run at a time: as many as are asked for, else one for each processor, but never
/// more than there is memory for.
pub fn jobs(asked: Option<u16>, room: Room, memory: u64, processors: u8) -> usize {
    let fit = room.memory / memory.saturating_add(BESIDE).max(1);
    let fit = usize::try_from(fit).unwrap_or(MANY).max(1);
    match asked {
        Some(jobs) => usize::from(jobs).min(fit),
        None => (room.processors / usize::from(processors.max(1))).clamp(1, MANY).min(fit),
    }
}

impl Runner<'_> {
    /// Runs those cells, and tells `live` of each.
    pub fn run(&self, cells: &[usize], live: &mut Live<'_>) -> Trials {
        let mut trials = Trials::new();
        let mut queue = VecDeque::new();
        for &cell in cells {
            match self.plan.cells[cell].expectation.skip {
                Some(_) => {
                    let trial = Trial::without_machine(Verdict::Skipped);
                    live.finished(cell, &trial);
                    trials.insert(cell, trial);
                }
                None => queue.push_back(cell),
            }
        }
        let (queue, failed) = (Mutex::new(queue), AtomicBool::new(false));
        let (happen, happenings) = channel();
        thread::scope(|scope| {
            for _ in 0..self.jobs.min(cells.len()) {
                let (happen, queue, failed) = (happen.clone(), &queue, &failed);
                scope.spawn(move || self.work(queue, failed, &happen));
            }
            drop(happen);
            loop {
                match happenings.recv_timeout(TICK) {
                    Ok(Happening::Started(cell)) => live.started(cell),
                    Ok(Happening::Finished(cell, trial)) => {
                        live.finished(cell, &trial);
                        trials.insert(cell, *trial);
                    }
                    Err(RecvTimeoutError::Timeout) => live.tick(),
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            }
        });
        for &cell in cells {
            trials.entry(cell).or_insert_with(|| Trial::without_machine(Verdict::NotRun));
        }
        trials
    }

    fn work(&self, queue: &Mutex<VecDeque<usize>>, failed: &AtomicBool, happen: &Sender<Happening>) {
        loop {
            if self.interruption.has_come() || self.fail_fast && failed.load(Ordering::SeqCst) {
                return;
            }
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(cell) = next else { return };
            let _ = happen.send(Happening::Started(cell));
            let trial = self.try_cell(cell).unwrap_or_else(|error| {
                let why = one_line(&error);
                let verdict = Verdict::Failed(cell::Failure::Error { why: why.clone() });
                Trial { end: Some(cell::End::Failed { why }), ..Trial::without_machine(verdict) }
            });
            if trial.verdict.is_failure() {
                failed.store(true, Ordering::SeqCst);
            }
            let _ = happen.send(Happening::Finished(cell, Box::new(trial)));
        }
    }

    fn try_cell(&self, index: usize) -> Result<Trial> {
        let cell = &self.plan.cells[index];
        let below = self.folder.of_cell(cell.kernel, cell.image, cell.command);
        let folder = self.folder.path().join(&below);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let arguments = self.arguments(index)?;
        let trial = trial::run(self.home, cell, &arguments, &folder, &self.interruption);
        Ok(Trial { folder: Some(below), ..trial })
    }

    fn arguments(&self, index: usize) -> Result<MachineArguments> {
        let plan = self.plan;
        let mut arguments = plan.machine_arguments(index)?;
        // Nobody starts it again.
        arguments.disk_flush = false;
        // What was to be pulled is here.
        arguments.pull = PullPolicy::Never;
        arguments.label.push(format!("vmrun.matrix={}", plan.title(index)));
        Ok(arguments)
    }
}

impl Plan {
    /// What `vmrun run` would be told for a cell.
    pub fn machine_arguments(&self, index: usize) -> Result<MachineArguments> {
        let cell = &self.cells[index];
        let command = &self.command(index).words;
        machine_arguments(&cell.words, &self.kernel(index).name, self.image(index), command)
            .map_err(anyhow::Error::msg)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_machines_run_than_there_is_room_for() {
        let room = Room { memory: 4 << 30, processors: 8 };
        assert_eq!(jobs(None, room, 512 << 20, 1), 6);
        assert_eq!(jobs(None, room, 128 << 20, 4), 2);
        assert_eq!(jobs(Some(3), room, 512 << 20, 1), 3);
        assert_eq!(jobs(Some(99), room, 1 << 30, 1), 3);
        assert_eq!(jobs(None, Room { memory: 0, processors: 1 }, u64::MAX, 32), 1);
    }
}
