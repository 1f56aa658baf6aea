//! Measures a start: `stopwatch EXPECTED COMMAND…` prints how long it took from the command's exec
//! to the first byte of its output and to its end, in milliseconds of the clock of the machine it
//! runs on. The first line of the output must be EXPECTED.

use std::error::Error;
use std::io::Read;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [expected, program, arguments @ ..] = &words[..] else {
        eprintln!("stopwatch EXPECTED COMMAND…");
        return ExitCode::from(2);
    };
    match measure(expected, Command::new(program).args(arguments)) {
        Ok((first, exit)) => {
            println!("{first:.1} {exit:.1}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("stopwatch: {program}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(expected: &str, command: &mut Command) -> Result<(f64, f64), Box<dyn Error>> {
    let begun = Instant::now();
    let elapsed = || begun.elapsed().as_secs_f64() * 1000.0;
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut stdout = child.stdout.take().ok_or("has no output")?;
    let mut output = vec![0; 4096];
    let length = stdout.read(&mut output)?;
    let first = elapsed();
    output.truncate(length);
    stdout.read_to_end(&mut output)?;
    let status = child.wait()?;
    let exit = elapsed();
    let output = String::from_utf8_lossy(&output);
    if output.lines().next().unwrap_or_default() != expected || !status.success() {
        return Err(format!("ended with {status} after {output:?}").into());
    }
    Ok((first, exit))
}
