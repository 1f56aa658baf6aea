//! Modules unpacked ahead of whoever takes them one after the other: on all processors, since that is most of the
//! work of making a disk.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Scope};

use super::modinfo::{ModuleInfo, exported_symbols};
use super::{Error, ModuleTree};

/// More threads than this are kept waiting by the one that writes.
const MOST_WORKERS: usize = 8;

/// How many modules each worker keeps ready.
const READY: usize = 2;

/// A larger module is not unpacked ahead: with this, the contents of all that are ready take at most 256 MiB. Of some
/// thousand real ones three or so are larger.
const AHEAD_LIMIT: u64 = 8 << 20;

/// A module as it is loaded, and what it says.
pub struct Unpacked {
    pub content: Vec<u8>,
    pub info: ModuleInfo,
    pub exported: BTreeSet<String>,
}

/// What a worker has made of a module; `None` of one that is too large.
type Made = Option<Result<Unpacked, Error>>;

/// Gives the modules of `names` in their order, whichever is ready first: what comes out, and which error comes
/// first, does not depend on how many workers there are.
pub struct UnpackedModules<'a> {
    tree: &'a ModuleTree,
    names: std::vec::IntoIter<&'a str>,
    /// Of the workers: the first has made the first module, the second the second …
    workers: Vec<Receiver<Made>>,
    next: usize,
}

/// How many workers are of use on this host.
pub fn workers() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(MOST_WORKERS)
}

impl<'a> UnpackedModules<'a> {
    /// Without workers, each module is unpacked when it is asked for. They end when they have done their work or this
    /// is dropped.
    pub fn new<'scope>(
        tree: &'a ModuleTree,
        names: Vec<&'a str>,
        workers: usize,
        scope: &'scope Scope<'scope, 'a>,
    ) -> UnpackedModules<'a> {
        let begin = |worker| {
            let (sender, receiver) = sync_channel(READY);
            let own: Vec<_> = names.iter().copied().skip(worker).step_by(workers).collect();
            // A thread that cannot be had has let go of the sender, and its modules are unpacked when they are asked for.
            let _ = thread::Builder::new().spawn_scoped(scope, move || work(tree, &own, &sender));
            receiver
        };
        let workers = (0..workers).map(begin).collect();
        UnpackedModules { tree, names: names.into_iter(), workers, next: 0 }
    }
}

impl Iterator for UnpackedModules<'_> {
    type Item = Result<Unpacked, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let name = self.names.next()?;
        let worker = self.next.checked_rem(self.workers.len());
        self.next += 1;
        let made = worker.and_then(|worker| self.workers.get(worker)?.recv().ok()?);
        Some(made.unwrap_or_else(|| unpack(self.tree, name, self.tree.read(name))))
    }
}

fn work(tree: &ModuleTree, names: &[&str], ready: &SyncSender<Made>) {
    for name in names {
        let content = tree.read_at_most(name, AHEAD_LIMIT).transpose();
        let made = content.map(|content| unpack(tree, name, content));
        if ready.send(made).is_err() {
            // Nobody wants more.
            return;
        }
    }
}

fn unpack(tree: &ModuleTree, name: &str, content: Result<Vec<u8>, Error>) -> Result<Unpacked, Error> {
    let content = content?;
    let damaged = |why| tree.damaged(name, why);
    let info = ModuleInfo::parse(&content).map_err(damaged)?;
    let exported = exported_symbols(&content).map_err(damaged)?;
    Ok(Unpacked { content, info, exported })
}
