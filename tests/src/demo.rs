//! What does the product do? The demo shows it on one screen, with real programs.
//!
//! A farm on loopback: three agents, two replicas of the broker, certificates made for the
//! occasion. The demo itself plays the clients, and writes the session databases as
//! x2goserver would. Each sentence that it prints with a ✓ was checked; one ✗ and it ends
//! with exit code 1.
//!
//! * `options`: the command line; `interrupt`: Ctrl-C, also in the middle of a wait;
//! * `farm`: the processes and their files, of which `config` is the text and `log`
//!   reads what they say; `clients` asks the replicas as X2Go Client would;
//! * `steps`: the show; `tour`: what to try afterwards;
//! * `report`: what is printed and claimed; `table`: how it is laid out.

mod clients;
mod config;
mod farm;
mod interrupt;
mod log;
mod options;
mod report;
mod steps;
mod table;
mod tour;

use std::process::ExitCode;

use crate::wait::now;
use config::MEMBERS;
use farm::{Farm, Programs};
use interrupt::{Interrupt, Interrupted};
use options::Options;
use report::Report;

/// Runs the demo: 0 when all claims held, 1 when one did not, 2 for a wrong command line,
/// 130 when it was interrupted before its end.
#[must_use]
pub fn main() -> ExitCode {
    let mut report = Report::on_stdout();
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(complaint) => {
            report.text(&format!("{complaint}\n\n{}", options::HELP));
            return ExitCode::from(2);
        }
    };
    if options.help {
        report.text(options::HELP);
        return ExitCode::SUCCESS;
    }
    match run(options, &mut report) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) if error.is::<Interrupted>() => {
            report.text("\nInterrupted: all programs are stopped, the files are removed.");
            ExitCode::from(130)
        }
        Err(error) => {
            report.failed(&error);
            ExitCode::FAILURE
        }
    }
}

/// Returns whether all claims held.
fn run(options: Options, report: &mut Report) -> anyhow::Result<bool> {
    let begun = now();
    let interrupt = Interrupt::listen()?;
    let programs = Programs::find()?;
    report.text(steps::INTRODUCTION);
    let mut farm = Farm::prepare(programs, interrupt.clone())?;
    report.use_logs(farm.logs());
    if let Err(error) = steps::show(&mut farm, report) {
        if error.is::<Interrupted>() {
            return Err(error);
        }
        report.check(&MEMBERS, false, &format!("here the show ends: {error:#}"));
        return Ok(report.verdict(begun.elapsed()));
    }
    let all_held = report.verdict(begun.elapsed());
    if !options.once {
        report.text(&tour::text(&farm));
        interrupt.wait_until_set();
        report.text("\nStopping all programs and removing the files.");
    }
    Ok(all_held)
}
