//! The exit code says how the command ended, and whose fault it was.

use tests::machine;

#[test]
fn success_is_zero() {
    machine("busybox").command(["true"]).run().succeeds();
}

#[test]
fn the_commands_own_code_is_passed_on() {
    machine("debian").shell("exit 42").run().exits_with(42);
}

#[test]
fn a_fatal_signal_adds_128() {
    const SIGILL: i32 = 4;
    machine("busybox").command(["probe", "trap"]).run().exits_with(128 + SIGILL);
}

#[test]
fn a_command_that_is_not_there_is_127() {
    machine("busybox")
        .command(["no-such-command"])
        .run()
        .exits_with(127)
        .complains(&["no-such-command", "not found"]);
}

#[test]
fn a_command_that_is_no_program_is_126() {
    machine("busybox").command(["/data/text"]).run().exits_with(126).complains(&["/data/text"]);
}

#[test]
fn a_user_that_the_image_lacks_is_125() {
    machine("busybox").with(["--user", "nobody-here"]).command(["true"]).run().is_refused(&["nobody-here"]);
}
