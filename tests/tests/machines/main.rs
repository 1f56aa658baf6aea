//! Machines: images that run on kernels of their own. Needs a processor with virtualization.

mod commits;
mod ends;
mod exec;
mod exits;
mod files;
mod formats;
mod hostile;
mod idle;
mod images;
mod init;
mod kernels;
mod lesser_kernels;
mod lifecycle;
mod lives;
mod logs;
mod matrix;
mod memory;
mod modules;
mod processes;
mod resources;
mod rootfs;
mod round_trip;
mod sharing;
mod streams;
mod terminals;
mod transports;
