//! The first word: a verb, or the image of a `run` that is left out.
//!
//! What is neither, but looks like a verb, is not pulled from a registry and run: it may be one of Docker's that is not
//! here, or one that is mistyped.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Command;
use strsim::osa_distance;

/// Docker's verbs that are not here, and why, or what is instead. `node` is not among them: many run the image of that name.
const NOT_HERE: [(&[&str], &str); 9] = [
    (&["build", "builder", "buildx"], "build images elsewhere, and `vmrun load` them"),
    (&["compose", "network", "port", "volume"], "machines have no network and no volumes"),
    (&["search"], "look on the registry's own pages; `vmrun kernel search` is for kernels"),
    (&["info"], "`vmrun doctor` tells whether this host is ready"),
    (
        &["update"],
        "what a machine is built of does not change: make another one of its image, or of a `vmrun commit`",
    ),
    (&["checkpoint"], "a machine's memory is not saved; `vmrun pause` lets it stand still"),
    (&["manifest", "trust"], "`vmrun images --digests` lists what registries know images by"),
    (
        &["context", "plugin", "swarm", "service", "stack", "secret", "config"],
        "there is no daemon that this could manage",
    ),
    (&["scout", "scan", "sbom"], "`vmrun export` and `vmrun rootfs` write what other programs look through"),
];

/// The longest word that may be a verb, in bytes.
const LONGEST: usize = 32;

/// Puts in the `run` that `vmrun IMAGE` leaves out, and writes `help` and `version` as options. What is no verb and is not
/// to be run is told in a line. `is_image` knows, of a state directory that may have been named, what images it has.
pub fn with_verb(
    command: &Command,
    mut words: Vec<OsString>,
    is_image: impl FnOnce(Option<&Path>, &str) -> bool,
) -> Result<Vec<OsString>, String> {
    let (at, root) = globals(&words);
    let Some(word) = words.get(at).and_then(|word| word.to_str()) else {
        if words.len() > at {
            words.insert(at, "run".into());
        }
        return Ok(words);
    };
    match word {
        "-h" | "--help" | "-V" | "--version" => return Ok(words),
        "version" => words[at] = "--version".into(),
        "help" => ask_for_help(command, &mut words, at)?,
        word if command.find_subcommand(word).is_some() => {}
        // An option of the `run` that is left out.
        word if word.starts_with('-') => words.insert(at, "run".into()),
        word => {
            let complaint = match NOT_HERE.iter().find(|(verbs, _)| verbs.contains(&word)) {
                Some((_, instead)) => Some(format!(
                    "there is no `vmrun {word}`: {instead} (`vmrun run {word}` runs an image of that name)"
                )),
                None => nearest(command, word).map(|verb| {
                    format!(
                        "there is no verb '{word}', and no image of that name here: did you mean `vmrun {verb}`? \
                         (`vmrun run {word}` pulls and runs an image)"
                    )
                }),
            };
            if let Some(complaint) = complaint.filter(|_| !is_image(root.as_deref(), word)) {
                return Err(complaint);
            }
            words.insert(at, "run".into());
        }
    }
    Ok(words)
}

/// Where the first word after the global options is, and the state directory that they name.
fn globals(words: &[OsString]) -> (usize, Option<PathBuf>) {
    let (mut at, mut root) = (1, None);
    while let Some(word) = words.get(at).and_then(|word| word.to_str()) {
        if word == "--root" {
            root = words.get(at + 1).map(PathBuf::from);
            at += 2;
        } else if let Some(path) = word.strip_prefix("--root=") {
            root = Some(path.into());
            at += 1;
        } else {
            break;
        }
    }
    (at, root)
}

/// `help VERB` is `VERB --help`, and `help` alone is `--help`.
fn ask_for_help(command: &Command, words: &mut Vec<OsString>, at: usize) -> Result<(), String> {
    let verbs: Vec<OsString> =
        words.drain(at..).skip(1).filter(|word| !word.as_encoded_bytes().starts_with(b"-")).collect();
    let mut about = command;
    for verb in &verbs {
        let name = verb.to_string_lossy();
        about = match about.find_subcommand(verb) {
            Some(found) => found,
            None => {
                let near = nearest(about, &name).map(|near| format!(": did you mean '{near}'?"));
                let near = near.unwrap_or_else(|| ": `vmrun help` lists them".into());
                return Err(format!("there is no verb '{name}'{near}"));
            }
        };
    }
    words.extend(verbs);
    words.push("--help".into());
    Ok(())
}

/// The verb that was probably meant. In a word that is not long, one slip is all there can be: `ruby` is not `run`, and
/// `docker` is not `doctor`.
fn nearest<'a>(command: &'a Command, word: &str) -> Option<&'a str> {
    // Names of images are longer than any verb, and may be as long as the command line.
    if word.len() > LONGEST {
        return None;
    }
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    let names = verbs.flat_map(|verb| [verb.get_name()].into_iter().chain(verb.get_visible_aliases()));
    let (distance, verb) = names.map(|name| (osa_distance(word, name), name)).min()?;
    let slips = if verb.len() > 6 { 2 } else { 1 };
    (distance <= slips && word.len() > 1).then_some(verb)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::arguments::Arguments;

    /// What is made of a command line, where an image is stored that is called `crate`.
    fn read(words: &str) -> Result<String, String> {
        let words = words.split(' ').map(OsString::from).collect();
        let read = with_verb(&Arguments::command(), words, |_, name| name == "crate")?;
        Ok(read.join(" ".as_ref()).into_string().unwrap())
    }

    #[test]
    fn an_image_needs_no_verb() {
        for (said, meant) in [
            ("vmrun centos", "vmrun run centos"),
            ("vmrun -it alpine sh", "vmrun run -it alpine sh"),
            ("vmrun --kernel 6.1 alpine", "vmrun run --kernel 6.1 alpine"),
            ("vmrun -m 1g alpine", "vmrun run -m 1g alpine"),
            ("vmrun --root /x a", "vmrun --root /x run a"),
            ("vmrun --root=/x images", "vmrun --root=/x images"),
            ("vmrun images", "vmrun images"),
            ("vmrun --help", "vmrun --help"),
            ("vmrun", "vmrun"),
            ("vmrun node ls", "vmrun run node ls"),
        ] {
            assert_eq!(read(said).unwrap(), meant);
        }
        // Popular ones that are short, or near a verb.
        for image in [
            "ruby", "rust", "bash", "perl", "php", "nats", "mono", "redis", "go", "x", "debian", "docker",
            "expo",
        ] {
            assert_eq!(read(&format!("vmrun {image}")).unwrap(), format!("vmrun run {image}"));
        }
    }

    #[test]
    fn help_and_version_are_words_too() {
        for (said, meant) in [
            ("vmrun help", "vmrun --help"),
            ("vmrun --root x help run", "vmrun --root x run --help"),
            ("vmrun help kernel add", "vmrun kernel add --help"),
            ("vmrun help --help", "vmrun --help"),
            ("vmrun help run -h", "vmrun run --help"),
            ("vmrun version", "vmrun --version"),
        ] {
            assert_eq!(read(said).unwrap(), meant);
        }
        // Not the help of an image's command.
        assert!(read("vmrun help run ls").unwrap_err().contains("no verb 'ls'"));
        assert!(read("vmrun help strat").unwrap_err().ends_with("did you mean 'start'?"));
    }

    #[test]
    fn what_looks_like_a_verb_is_not_pulled() {
        for (said, meant) in [
            ("strat web", "start"),
            ("imgaes", "images"),
            ("pul", "pull"),
            ("psuh x", "push"),
            ("inpsect", "inspect"),
            ("sl", "ls"),
        ] {
            let error = read(&format!("vmrun {said}")).unwrap_err();
            assert!(error.contains(&format!("`vmrun {meant}`")) && !error.contains('\n'), "{error}");
        }
        assert_eq!(read("vmrun crate").unwrap(), "vmrun run crate");
        for (verbs, _) in NOT_HERE {
            for verb in verbs {
                assert!(
                    read(&format!("vmrun {verb} .")).unwrap_err().contains(&format!("no `vmrun {verb}`"))
                );
                assert!(Arguments::command().find_subcommand(verb).is_none(), "{verb} is here");
            }
        }
        assert_eq!(read("vmrun run strat").unwrap(), "vmrun run strat");
    }
}
