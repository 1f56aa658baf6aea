//! The monitor with guests of a few instructions, which run even on a KVM that is only software.

mod ends;
mod guest;
mod jail;
