//! Emulated machines that are hosts like this one, with KVM. Runs on any host.

mod commands;
mod home;
mod host;
mod machines;
