//! Where a matrix keeps what its cells wrote: KERNEL/IMAGE[/COMMAND]/stdout, stderr and kernel.log.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use rootfs_builder::image::format_time;

use super::plan::Plan;

/// The document that is always in a matrix's folder.
pub const DOCUMENT: &str = "matrix.json";

/// Where matrices are kept when nobody says where.
const DEFAULT: &str = "vmrun-matrix";

/// As many matrices may begin in one second.
const MOST_IN_A_SECOND: u32 = 100;

/// The longest name of a file, in bytes, with room for a number.
const LONGEST_NAME: usize = 200;

/// A matrix's folder.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    kernels: Vec<String>,
    images: Vec<String>,
    commands: Vec<String>,
}

impl Folder {
    /// Complains of a folder that was asked for and has something in it.
    pub fn check(asked: Option<&Path>) -> Result<()> {
        match asked {
            Some(path) if path.exists() => is_empty(path),
            _ => Ok(()),
        }
    }

    /// Makes the folder that was asked for, which has nothing in it, or one below `vmrun-matrix` in the current directory.
    pub fn make(asked: Option<&Path>, plan: &Plan) -> Result<Folder> {
        let path = match asked {
            Some(path) => empty(path)?,
            None => new_below(Path::new(DEFAULT))?,
        };
        let commands = plan.commands.iter().map(|command| command.name.clone().unwrap_or_default());
        Ok(Folder {
            path,
            // Beside them is the document.
            kernels: file_names(plan.kernels.iter().map(|kernel| kernel.name.clone()), &[DOCUMENT]),
            images: file_names(plan.images.iter().cloned(), &[]),
            commands: file_names(commands, &[]),
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A cell's own folder, below this one.
    pub fn of_cell(&self, kernel: usize, image: usize, command: usize) -> PathBuf {
        let folder = Path::new(&self.kernels[kernel]).join(&self.images[image]);
        // A command without a name is the only one.
        if self.commands[command].is_empty() { folder } else { folder.join(&self.commands[command]) }
    }
}

fn empty(path: &Path) -> Result<PathBuf> {
    let cannot = || format!("cannot make the folder {}", path.display());
    fs::create_dir_all(path).with_context(cannot)?;
    is_empty(path)?;
    Ok(path.to_owned())
}

fn is_empty(path: &Path) -> Result<()> {
    let mut entries =
        fs::read_dir(path).with_context(|| format!("cannot read the folder {}", path.display()))?;
    if entries.next().is_some() {
        bail!("{} has something in it: name another folder with --output, or empty it", path.display());
    }
    Ok(())
}

fn new_below(parent: &Path) -> Result<PathBuf> {
    let cannot = || format!("cannot make a folder in {}: name another one with --output", parent.display());
    fs::create_dir_all(parent).with_context(cannot)?;
    let time = format_time(SystemTime::now()).unwrap_or_default();
    let second = time.split(['.', 'Z', '+']).next().unwrap_or_default().replace(':', "-");
    for number in 1..MOST_IN_A_SECOND {
        let name = if number == 1 { second.clone() } else { format!("{second}-{number}") };
        match fs::create_dir(parent.join(&name)) {
            Ok(()) => return Ok(parent.join(name)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(cannot),
        }
    }
    bail!("{} has too many folders of this second: name one with --output", parent.display())
}

/// A name of one file for each of these, all different, and none of those that are taken.
fn file_names(names: impl Iterator<Item = String>, beside: &[&str]) -> Vec<String> {
    let mut taken: Vec<String> = Vec::new();
    for name in names {
        let is_fine = |character: char| character.is_ascii_alphanumeric() || "-_.:+@=,~".contains(character);
        let mut plain: String =
            name.chars().map(|character| if is_fine(character) { character } else { '_' }).collect();
        plain.truncate(LONGEST_NAME);
        if plain.starts_with('.') {
            plain.replace_range(..1, "_");
        }
        let mut free = plain.clone();
        let mut number = 2;
        while taken.contains(&free) || beside.contains(&free.as_str()) {
            free = format!("{plain}~{number}");
            number += 1;
        }
        taken.push(free);
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_one_file_s() {
        let names = ["debian:6.1", "a/b", "a_b", "..", ".", "", "é", &"x".repeat(900)];
        let files = file_names(names.iter().map(|name| (*name).to_owned()), &[]);
        assert_eq!(files[..7], ["debian:6.1", "a_b", "a_b~2", "_.", "_", "", "_~2"]);
        assert!(files.iter().all(|file| file.len() < 255 && !file.contains('/')));
        assert_eq!(file_names([DOCUMENT.to_owned()].into_iter(), &[DOCUMENT]), ["matrix.json~2"]);
    }

    #[test]
    fn nothing_of_the_user_s_is_written_over() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("new/below");
        assert_eq!(empty(&folder).unwrap(), folder);
        fs::write(folder.join("file"), "").unwrap();
        assert!(empty(&folder).unwrap_err().to_string().contains("--output"));
        assert!(Folder::check(Some(&folder)).is_err() && Folder::check(None).is_ok());
        assert!(Folder::check(Some(&directory.path().join("none"))).is_ok());
        assert!(empty(&folder.join("file")).is_err());
        let (one, other) = (new_below(directory.path()).unwrap(), new_below(directory.path()).unwrap());
        assert!(one != other && one.is_dir() && other.is_dir());
    }
}
