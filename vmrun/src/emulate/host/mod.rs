//! One emulated host for each state directory, that stays.
//!
//! Where this host has no hardware virtualization, machines run in an emulated one. Their files are
//! this host's (the state directory is shared), and every command works on them from here; only their
//! processes and sockets are in there. Three processes make it work:
//!
//! * the *holder* ([`holder`]), started by the first command that needs it, holds QEMU, and a socket
//!   that commands connect to;
//! * the *agent* ([`agent`]) is the emulated host's own command: it starts processes and connects to
//!   sockets there;
//! * a command ([`EmulatedHost`]) asks for either, and is through the port (see [`super::mux`])
//!   connected with what it asked for.

mod agent;
mod children;
mod client;
mod files;
mod holder;
pub mod memory;
mod port;
mod request;

pub use agent::main as agent;
pub use client::{EmulatedHost, Wanted};
pub use holder::main as holder;
pub use request::{Census, Connection, Status};

/// Each connection takes a descriptor or two: as many as this process may have.
fn allow_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // With fewer it serves fewer.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
