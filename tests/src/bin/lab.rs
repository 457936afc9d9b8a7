//! What is it like on the hosts of a lab? Brings one up for a look, until the input ends:
//! `lab [BROKERS SERVERS]`.
#![expect(clippy::print_stdout, reason = "for a person at a terminal")]

use anyhow::Context as _;
use tests::binaries;
use tests::lab::{Lab, Plan, check_requirements};

fn main() -> anyhow::Result<()> {
    check_requirements()?;
    let mut numbers = std::env::args().skip(1).map(|word| word.parse::<u8>());
    let mut number = |or: u8| {
        numbers
            .next()
            .unwrap_or(Ok(or))
            .context("lab [BROKERS SERVERS]")
    };
    let plan = Plan {
        brokers: number(2)?,
        servers: number(3)?,
    };
    let lab = Lab::up(plan, &binaries::own_folder()?)?;
    for host in lab.hosts() {
        println!("{host}: {}", lab.way_in(host)?);
    }
    println!(
        "logs in {}",
        lab.shared().parent().unwrap_or(&lab.shared()).display()
    );
    println!("the lab is up after {:?}; ends with the input", lab.took());
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).context("reading the input")?;
    Ok(())
}
