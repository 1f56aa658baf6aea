//! A terminal in the guest that feels like the one in front of the person.

use rustix::termios::LocalModes;
use tests::{Terminal, machine};

#[test]
fn a_terminal_has_a_size_raw_mode_and_keys() {
    let command = machine("busybox").with(["-it"]).shell("stty size; tty; echo TERM $TERM; exec sh");
    let mut terminal = Terminal::start(33, 101, command);
    let before = terminal.settings();
    assert!(before.local_modes.contains(LocalModes::ICANON | LocalModes::ECHO));
    terminal.shows("33 101");
    terminal.shows("/dev/pts/");
    terminal.shows("TERM xterm");
    assert!(
        !terminal.settings().local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    );

    terminal.resize(44, 122);
    // The new size takes its way through the machine; a shell that asks again will see it.
    terminal.types("until [ \"$(stty size)\" = '44 122' ]; do sleep 0.1; done; echo resi''zed\r");
    terminal.shows("resized");

    terminal.types("sleep 1000 || echo inter''rupted\r");
    terminal.shows("sleep 1000");
    std::thread::sleep(std::time::Duration::from_secs(1));
    terminal.types("\x03");
    terminal.types("echo sta''tus $?\r");
    terminal.shows("status 130");

    terminal.types("exit 9\r");
    terminal.wait().exits_with(9);
    let after = terminal.settings();
    assert_eq!(after.local_modes, before.local_modes);
    assert_eq!((after.input_modes, after.output_modes), (before.input_modes, before.output_modes));
}

/// Its size is no signal for the process.
#[test]
fn a_terminal_is_resized_where_signals_are_not_passed_on() {
    let script = "until [ \"$(stty size)\" = '44 122' ]; do echo waiting; sleep 0.2; done";
    let mut terminal =
        Terminal::start(33, 101, machine("busybox").with(["-t", "--sig-proxy=false"]).shell(script));
    terminal.shows("waiting");
    terminal.resize(44, 122);
    terminal.wait().succeeds();
}

#[test]
fn the_end_of_input_ends_a_shell_and_its_terminal() {
    let mut terminal = Terminal::start(24, 80, machine("debian").with(["-it"]).command(["bash"]));
    terminal.shows("# ");
    terminal.types("\x04");
    terminal.wait().succeeds();
}

#[test]
fn a_terminal_is_refused_where_there_is_none() {
    machine("busybox").with(["-it"]).stdin("").run().is_refused(&["not a terminal"]);
}
