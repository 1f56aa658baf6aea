//! `vmrun kernel build`: a kernel of our own, from its source.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::available_parallelism;

use anyhow::Result;
use kernels::build::{BuildStep, Builder, Error, Order, PackageArchive, Source, Watcher};
use kernels::{Addition, KernelStore, Origin, Source as KernelSource};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::kernel_source::DebianArchive;
use crate::arguments::ArchiveArguments;
use crate::home::cache_directory;
use crate::output::{say, warn};
use crate::progress::Steps;

/// The exit code of a program that ^C has ended.
const INTERRUPTED: u8 = 130;

/// The part of vmrun's cache that builds have.
const CACHE: &str = "kernel-builds";

/// What a user asks for.
pub struct Wish<'a> {
    pub source: &'a str,
    /// Files of options that go over vmrun's own.
    pub fragments: &'a [PathBuf],
    pub name: Option<&'a str>,
    pub jobs: Option<u16>,
    pub archive: ArchiveArguments,
}

pub fn build(store: &KernelStore, wish: Wish<'_>) -> Result<u8> {
    let Wish { source, fragments, name, jobs, archive } = wish;
    // Before minutes are spent.
    if let Some(name) = name {
        KernelStore::check_name(name)?;
    }
    let given = source;
    let source = Source::parse(source)?;
    let jobs = jobs.map_or_else(|| available_parallelism().map_or(1, usize::from), usize::from);
    let builder = Builder::open(&cache_directory()?.join(CACHE))?;
    let watcher = Attention::new()?;
    let archive: Arc<dyn PackageArchive> = Arc::new(DebianArchive(archive));
    let order = Order { source: &source, fragments, jobs, archive: &archive };
    let built = match builder.build(&order, &watcher) {
        Err(Error::Cancelled) => {
            warn("vmrun: the build was called off; nothing of it is left");
            return Ok(INTERRUPTED);
        }
        built => built?,
    };
    // What is left to do can be ended anywhere: the store clears up what is half there.
    watcher.let_go();
    if watcher.cancelled() {
        return Ok(INTERRUPTED);
    }
    if !built.strange.is_empty() {
        warn(&format!("vmrun: this kernel has no {}: left out", built.strange.join(", ")));
    }
    if built.known {
        warn("vmrun: this source has been built with this configuration before");
    }
    let origin = Origin {
        address: format!("vmrun kernel build --source {given}"),
        signature: "none: it was built on this host".into(),
    };
    let image = KernelSource { origin: Some(origin), ..KernelSource::from(built.image) };
    let kernel = store.add(&[image], &Addition { name, ..Addition::default() }, &|step| {
        watcher.steps.show(&step.to_string())
    })?;
    watcher.steps.finish();
    say(kernel.name)?;
    Ok(0)
}

/// Shows how far the build is, and hears when it is to end.
struct Attention {
    steps: Steps,
    cancelled: Arc<AtomicBool>,
    /// Whether there is no build any more that could be called off.
    over: Arc<AtomicBool>,
}

impl Attention {
    fn new() -> Result<Attention> {
        let cancelled = Arc::new(AtomicBool::new(false));
        let over = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register_conditional_shutdown(
                signal,
                i32::from(INTERRUPTED),
                Arc::clone(&over),
            )?;
            signal_hook::flag::register(signal, Arc::clone(&cancelled))?;
        }
        Ok(Attention { steps: Steps::new(), cancelled, over })
    }

    /// From now on a signal ends vmrun at once.
    fn let_go(&self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

impl Watcher for Attention {
    fn step(&self, step: BuildStep) {
        self.steps.show(&step.to_string());
    }

    fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}
