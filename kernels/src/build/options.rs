//! The options that a version of the kernel has at all.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;

use super::Error;

/// Directories of a kernel's source that describe no options of the kernel.
const WITHOUT: [&str; 5] = [".git", "Documentation", "LICENSES", "tools", "scripts"];

pub struct Options(HashSet<String>);

impl Options {
    /// Reads every Kconfig file of a kernel's source.
    pub fn of(tree: &Path) -> Result<Options, Error> {
        let mut names = HashSet::new();
        read(tree, &mut names).map_err(|cause| Error::Read { path: tree.to_owned(), cause })?;
        Ok(Options(names))
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}

fn read(directory: &Path, names: &mut HashSet<String>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if kind.is_dir() && !WITHOUT.contains(&name.as_ref()) {
            read(&entry.path(), names)?;
        } else if kind.is_file() && name.starts_with("Kconfig") {
            let text = fs::read(entry.path())?;
            names.extend(String::from_utf8_lossy(&text).lines().filter_map(defined));
        }
    }
    Ok(())
}

/// NAME of `config NAME` and `menuconfig NAME`.
fn defined(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some("config" | "menuconfig"), Some(name), None) => Some(name.into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_found_where_they_are_defined() {
        let tree = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("Kconfig", "mainmenu \"x\"\nconfig A\n\tbool\n"),
            ("arch/x86/Kconfig.cpu", "  menuconfig B\n\thelp\n\t  config of C\n"),
            ("tools/Kconfig", "config D\n"),
            ("drivers/notes", "config E\n"),
        ] {
            let path = tree.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let options = Options::of(tree.path()).unwrap();
        assert!(options.has("A") && options.has("B"));
        assert!(!options.has("of") && !options.has("D") && !options.has("E"));
    }
}
