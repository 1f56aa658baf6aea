//! What the image and the kernel's command line say about modules (modprobe.d(5)), and which others modules want.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::read;

use super::name::with_underscores;
use super::pattern;

/// The image's directories; a file in one hides those of the same name in what follows.
const DIRECTORIES: [&str; 5] = [
    "/etc/modprobe.d",
    "/run/modprobe.d",
    "/usr/local/lib/modprobe.d",
    "/usr/lib/modprobe.d",
    "/lib/modprobe.d",
];

/// The image's files are not to keep the kernel waiting: more than this is not read.
const FILE_LIMIT: usize = 256 << 10;
const FILES_LIMIT: usize = 256;

/// The disk's own list, of which real ones have a few kilobytes; read as if it were one of the image's files.
const SOFT_DEPENDENCIES: &str = "modules.softdep";

#[derive(Default)]
pub struct Rules {
    /// Patterns and what they stand for.
    aliases: Vec<(String, String)>,
    /// Not to be loaded for an alias.
    blacklisted: Vec<String>,
    /// Patterns of those with a command of the image's in the place of loading.
    replaced: Vec<String>,
    options: Vec<(String, String)>,
    soft: Vec<SoftDependency>,
}

struct SoftDependency {
    module: String,
    before: Vec<String>,
    after: Vec<String>,
}

impl Rules {
    /// Reads all there is. What cannot be read says nothing.
    pub fn read(disk: &OwnedFd) -> Rules {
        let mut rules = Rules::default();
        let files = files();
        let (before, after) =
            files.split_at(files.partition_point(|(name, _)| name.as_str() < SOFT_DEPENDENCIES));
        for (_, path) in before {
            rules.text(&file(CWD, path));
        }
        rules.text(&file(disk, SOFT_DEPENDENCIES));
        for (_, path) in after {
            rules.text(&file(CWD, path));
        }
        rules.command_line(&file(CWD, "/proc/cmdline"));
        rules
    }

    /// What the image says that `name` is, where it says so.
    pub fn aliases_of(&self, name: &str) -> Vec<String> {
        let matching =
            self.aliases.iter().filter(|(alias, _)| pattern::matches(alias.as_bytes(), name.as_bytes()));
        matching.map(|(_, module)| module.clone()).collect()
    }

    pub fn is_blacklisted(&self, module: &str) -> bool {
        self.blacklisted.iter().any(|listed| listed == module)
    }

    pub fn is_replaced(&self, module: &str) -> bool {
        self.replaced.iter().any(|replaced| pattern::matches(replaced.as_bytes(), module.as_bytes()))
    }

    /// The module's parameters in the order in which they were read, for the last one wins: the command line's.
    pub fn options(&self, module: &str) -> String {
        let options = self.options.iter().filter(|(of, _)| of == module).map(|(_, option)| option.as_str());
        options.collect::<Vec<_>>().join(" ")
    }

    /// What is wanted before the module, and after it, by the first line whose pattern it matches.
    pub fn soft_dependencies(&self, module: &str) -> (Vec<String>, Vec<String>) {
        let matching = |soft: &&SoftDependency| pattern::matches(soft.module.as_bytes(), module.as_bytes());
        let soft = self.soft.iter().find(matching);
        soft.map(|soft| (soft.before.clone(), soft.after.clone())).unwrap_or_default()
    }

    /// Lines of modprobe.d; a backslash at a line's end joins it with the next.
    fn text(&mut self, text: &str) {
        let joined = text.replace("\\\n", " ");
        for line in joined.lines() {
            let mut words = line.split_whitespace();
            let (Some(word), Some(first)) = (words.next(), words.next()) else { continue };
            let module = with_underscores(first);
            match word {
                "blacklist" => self.blacklisted.push(module),
                "install" => self.replaced.push(module),
                "alias" => self.aliases.extend(words.next().map(|of| (module, with_underscores(of)))),
                "options" => {
                    let options = words.collect::<Vec<_>>().join(" ");
                    self.options.push((module, options));
                }
                "softdep" => self.soft.push(soft_dependency(module, words)),
                _ => {}
            }
        }
    }

    /// `MODULE.PARAMETER=VALUE`, and `modprobe.blacklist=MODULE,MODULE`.
    fn command_line(&mut self, line: &str) {
        for word in line.split_whitespace().take_while(|word| *word != "--") {
            let Some((module, option)) = word.split_once('.') else { continue };
            if module.contains('=') {
                continue;
            }
            let module = with_underscores(module);
            match option.strip_prefix("blacklist=") {
                Some(listed) if module == "modprobe" => {
                    self.blacklisted.extend(listed.split(',').map(with_underscores));
                }
                _ => self.options.push((module, option.to_owned())),
            }
        }
    }
}

fn soft_dependency<'a>(module: String, words: impl Iterator<Item = &'a str>) -> SoftDependency {
    let mut soft = SoftDependency { module, before: Vec::new(), after: Vec::new() };
    let mut after = None;
    for word in words {
        match (word, after) {
            ("pre:", _) => after = Some(false),
            ("post:", _) => after = Some(true),
            (_, Some(false)) => soft.before.push(word.to_owned()),
            (_, Some(true)) => soft.after.push(word.to_owned()),
            (_, None) => {}
        }
    }
    soft
}

/// The image's files, by their names and in the order of these, and where they are.
fn files() -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = Vec::new();
    for directory in DIRECTORIES {
        let Ok(entries) = std::fs::read_dir(directory) else { continue };
        for entry in entries.flatten().take(FILES_LIMIT) {
            if let Ok(name) = entry.file_name().into_string()
                && name.ends_with(".conf")
                && !files.iter().any(|(known, _)| *known == name)
            {
                let path = [directory, "/", &name].concat();
                files.push((name, path));
            }
        }
    }
    files.sort();
    files
}

/// A file's text; nothing when it is none, however an image may have made it.
fn file(directory: impl AsFd, path: &str) -> String {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let Ok(file) = openat(directory, path, flags, Mode::empty()) else { return String::new() };
    let is_file =
        fstat(&file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
    let mut text = Vec::new();
    let mut piece = [0; 4096];
    while is_file && text.len() < FILE_LIMIT {
        match read(&file, &mut piece) {
            Ok(0) | Err(_) => break,
            Ok(count) => text.extend_from_slice(&piece[..count]),
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_can_forbid_rename_and_set() {
        let mut rules = Rules::default();
        rules.text(
            "# blacklist nothing\nblacklist usb-storage\ninstall cramfs /bin/false\n\
             alias net-pf-10 off\nalias block-major-7-* loop\noptions loop \\\n max_part=2\n\
             softdep nf_a pre: b c-d post: e\n",
        );
        rules.command_line("quiet loop.max_loop=3 modprobe.blacklist=floppy,pc-spkr root=a.b");
        assert!(rules.is_blacklisted("usb_storage") && rules.is_blacklisted("pc_spkr"));
        assert!(!rules.is_blacklisted("nothing"));
        assert!(rules.is_replaced("cramfs"));
        assert_eq!(rules.aliases_of("net_pf_10"), ["off"]);
        assert_eq!(rules.aliases_of("block_major_7_0"), ["loop"]);
        assert_eq!(rules.options("loop"), "max_part=2 max_loop=3");
        assert_eq!(rules.options("root=a"), "");
        let (before, after) = rules.soft_dependencies("nf_a");
        assert_eq!((before, after), (vec!["b".into(), "c-d".into()], vec!["e".into()]));
    }

    /// What `modprobe --show-depends` of kmod 30 makes of the same lines.
    #[test]
    fn the_last_option_and_the_first_dependency_are_the_modules() {
        let mut rules = Rules::default();
        rules.text("options loop max_part=1\noptions loop max_part=2\nsoftdep nf-* pre: a\n");
        rules.text("options loop max_part=3\nsoftdep nf_b pre: b\ninstall snd-* /bin/true\n");
        rules.command_line("loop.max_part=4");
        assert_eq!(rules.options("loop"), "max_part=1 max_part=2 max_part=3 max_part=4");
        assert_eq!(rules.soft_dependencies("nf_b"), (vec!["a".into()], vec![]));
        assert_eq!(rules.soft_dependencies("xt_b"), (vec![], vec![]));
        assert!(rules.is_replaced("snd_pcm") && !rules.is_replaced("sndx"));
    }
}
