//! `vmrun commit`: an image of what was changed in a machine.

use std::io::Write;

use anyhow::Result;
use guest_protocol::files::Request;
use rootfs_builder::image::ImageConfig;
use rootfs_builder::instruction::Instruction;
use rootfs_builder::reference::Reference;
use rootfs_builder::store::Commit;

use crate::arguments::CommitArguments;
use crate::files::{OpenMachine, TarStream};
use crate::home::Home;
use crate::machine::MachineConfig;
use crate::output::{stdout, warn};
use crate::progress::LayerBars;

pub fn commit(home: &Home, arguments: &CommitArguments) -> Result<u8> {
    let name = arguments.name.as_deref().map(str::parse::<Reference>).transpose()?;
    let store = home.images()?;
    let machine = OpenMachine::open(home, &arguments.machine)?;
    let base = store.resolve(&machine.config.image_id)?;
    let commit = Commit {
        settings: settings(&machine.config, base.config()),
        changes: arguments.change.clone(),
        author: arguments.author.clone(),
        message: arguments.message.clone(),
        created_by: machine.config.command(),
        created: None,
    };
    let prepared = store.prepare_commit(&base, &commit)?;
    let freeze = arguments.pause && !arguments.no_pause && machine.is_running();
    let answer = machine.guest.ask(&Request::Layer { freeze })?;
    let mut warning = |text: String| machine.guest.warning(&text);
    let mut layer = TarStream::new(answer, &mut warning);
    let committed = store.commit(prepared, &mut layer, name.as_ref(), &LayerBars::new(arguments.quiet));
    // What the machine has to say of a failure comes first.
    layer.outcome(Ok(()), &machine.guest)?;
    let committed = committed?;
    for text in &committed.warnings {
        warn(&format!("vmrun: {text}"));
    }
    writeln!(stdout(), "{}", committed.id)?;
    Ok(0)
}

/// As in Docker, the new image runs what the machine ran, as it ran it.
fn settings(machine: &MachineConfig, image: &ImageConfig) -> Vec<Instruction> {
    // Documents are text: what is none cannot be in one.
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let mut settings = Vec::new();
    let args: Option<Vec<String>> = machine.args.iter().map(|word| text(&word.0)).collect();
    if let Some(args) = args {
        match args.strip_prefix(image.entrypoint.as_slice()) {
            Some(command) => settings.push(Instruction::Cmd(command.to_vec())),
            None => settings.extend([Instruction::Entrypoint(Vec::new()), Instruction::Cmd(args)]),
        }
    }
    // Not the image's, and not the user's.
    let is_ours = |name: &str| name == "TERM" && machine.tty;
    let pair =
        |variable: String| variable.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    let variables = machine.env.iter().filter_map(|variable| pair(text(&variable.0)?));
    settings.push(Instruction::Env(variables.filter(|(name, _)| !is_ours(name)).collect()));
    if machine.user != image.user {
        settings.push(Instruction::User(machine.user.clone()));
    }
    if machine.workdir != image.workdir {
        settings.push(Instruction::Workdir(machine.workdir.clone()));
    }
    settings.push(Instruction::Label(machine.labels.clone().into_iter().collect()));
    settings
}
