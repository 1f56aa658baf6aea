//! What a kernel's build needs of the host.

use std::io;
use std::process::{Command, Stdio};

use super::Error;

/// Programs, and the Debian packages that have them.
const PROGRAMS: [(&str, &str); 6] = [
    ("gcc", "gcc"),
    ("ld", "binutils"),
    ("make", "make"),
    ("flex", "flex"),
    ("bison", "bison"),
    ("bc", "bc"),
];

/// Returns what the compiler and linker say of themselves: other ones make another kernel.
pub fn check() -> Result<String, Error> {
    let mut missing = Vec::new();
    let mut versions = String::new();
    for (program, package) in PROGRAMS {
        match version(program) {
            Ok(version) if matches!(program, "gcc" | "ld") => versions.push_str(&version),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push((program, package)),
            Err(cause) => return Err(Error::Run { program, cause }),
        }
    }
    if missing.is_empty() && !has_libelf()? {
        missing.push(("libelf's headers", "libelf-dev"));
    }
    if missing.is_empty() {
        return Ok(versions);
    }
    let (missing, packages): (Vec<_>, Vec<_>) = missing.into_iter().unzip();
    Err(Error::Tools { missing: missing.join(", "), packages: packages.join(" ") })
}

/// The first line of `PROGRAM --version`.
fn version(program: &str) -> io::Result<String> {
    let said = Command::new(program).arg("--version").env("LC_ALL", "C").stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    Ok(said.lines().next().unwrap_or_default().to_owned() + "\n")
}

/// The kernel's build checks its own code with a program that it builds on this library.
fn has_libelf() -> Result<bool, Error> {
    let compiled = Command::new("gcc")
        .args(["-fsyntax-only", "-include", "gelf.h", "-x", "c", "/dev/null"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    compiled.map(|status| status.success()).map_err(|cause| Error::Run { program: "gcc", cause })
}
