//! Progress of long jobs: bars on a terminal, a plain line for each finished layer in a pipe.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, IsTerminal};
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use rootfs_builder::progress::{LayerName, LayerOutcome, Progress};

use crate::output::warn;

/// The layers of an image on their way into the store, or to a registry.
pub struct LayerBars {
    bars: MultiProgress,
    layers: Mutex<HashMap<usize, ProgressBar>>,
    on_terminal: bool,
    quiet: bool,
    /// What is still done when all bytes of a layer have passed.
    afterwards: &'static str,
}

impl LayerBars {
    /// Draws on standard error; nothing at all when `quiet`.
    pub fn new(quiet: bool) -> LayerBars {
        let on_terminal = io::stderr().is_terminal() && !quiet;
        let target = if on_terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        LayerBars {
            bars: MultiProgress::with_draw_target(target),
            layers: Mutex::default(),
            on_terminal,
            quiet,
            afterwards: "building",
        }
    }

    /// The same for layers that are sent.
    pub fn sending(quiet: bool) -> LayerBars {
        LayerBars { afterwards: "waiting for the registry", ..LayerBars::new(quiet) }
    }

    fn bar(&self, layer: &LayerName) -> Option<ProgressBar> {
        self.layers.lock().ok()?.get(&layer.index).cloned()
    }
}

impl Progress for LayerBars {
    fn layer_started(&self, layer: &LayerName, total: Option<u64>) {
        if !self.on_terminal {
            return;
        }
        let (bar, template) = match total {
            Some(total) => {
                (ProgressBar::new(total), "{prefix:12} {bar:32} {bytes:>10} / {total_bytes:10} {msg}")
            }
            None => (ProgressBar::new_spinner(), "{prefix:12} {spinner} {bytes:>10} {msg}"),
        };
        let bar = self.bars.add(bar.with_prefix(layer.label.clone()));
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏ "));
        }
        if let Ok(mut layers) = self.layers.lock() {
            layers.insert(layer.index, bar);
        }
    }

    fn layer_advanced(&self, layer: &LayerName, read: u64) {
        if self.on_terminal
            && let Some(bar) = self.bar(layer)
        {
            bar.set_position(read);
            if bar.length() == Some(read) {
                bar.set_message(self.afterwards);
            }
        }
    }

    fn layer_finished(&self, layer: &LayerName, outcome: LayerOutcome) {
        let said = match outcome {
            LayerOutcome::Built => "built",
            LayerOutcome::AlreadyHere => "already here",
            LayerOutcome::Pushed => "pushed",
            LayerOutcome::AlreadyThere => "already there",
            LayerOutcome::Mounted => "mounted from another repository",
            LayerOutcome::Failed => "failed",
        };
        match self.bar(layer) {
            Some(bar) => bar.finish_with_message(said),
            None if self.quiet || outcome == LayerOutcome::Failed => {}
            None => warn(&format!("{}: {said}", layer.label)),
        }
    }
}

/// What is fetched from an archive, one after the other: a bar on a terminal, nothing in a pipe.
pub struct Downloads(RefCell<Option<ProgressBar>>);

impl Downloads {
    pub fn new() -> Downloads {
        Downloads(RefCell::default())
    }
}

impl debian_archive::Progress for Downloads {
    fn started(&self, what: &str, total: u64) {
        if !io::stderr().is_terminal() {
            return;
        }
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {bytes:>10} / {total_bytes:10}") {
            bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏ "));
        }
        bar.set_message(what.to_owned());
        self.0.replace(Some(bar));
    }

    fn advanced(&self, done: u64) {
        self.0.borrow().iter().for_each(|bar| bar.set_position(done));
    }

    fn finished(&self) {
        self.0.take().into_iter().for_each(|bar| bar.finish_and_clear());
    }
}

/// The steps of a job that has no length: a spinner with the step's name.
pub struct Steps(ProgressBar);

impl Steps {
    pub fn new() -> Steps {
        let target = if io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let spinner = ProgressBar::with_draw_target(None, target);
        spinner.enable_steady_tick(Duration::from_millis(100));
        Steps(spinner)
    }

    pub fn show(&self, step: &str) {
        self.0.set_message(step.to_owned());
    }

    pub fn finish(self) {
        self.0.finish_and_clear();
    }
}
