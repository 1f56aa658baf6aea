//! A machine's whole root, as its image and what was changed make it.

use std::io::Write;

use file_tree::{Error, Result, TreeReader};
use guest_protocol::files::ItemWriter;
use rustix::fd::AsFd;
use rustix::fs::CWD;
use rustix::mount::{OpenTreeFlags, open_tree};

use super::placeholders::Placeholders;
use super::whiteout::is_for_others;
use crate::overlay::Layers;

/// Sends all of it. A copy of the root's mount has nothing mounted in it.
pub fn send<W: Write>(layers: Option<&Layers>, to: &mut ItemWriter<W>) -> Result<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let root = open_tree(CWD, "/", flags).map_err(|error| Error::System {
        doing: "open",
        path: "/".into(),
        error,
    })?;
    let placeholders = layers.map(Placeholders::find).unwrap_or_default();
    let leave_out = |path: &[u8]| placeholders.is_made(path);
    TreeReader::new(to, is_for_others).leaving_out(&leave_out).below(root.as_fd(), b"")
}
