//! `cargo xtask`: build, render, test and measure Dualstep.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::{bench, bundle, demo, dist, install, pictures, render, test};

/// Build, render, test and measure Dualstep.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Pictures(pictures::Args),
    Test(test::Args),
    Render(Box<render::Args>),
    Bundle(bundle::Args),
    /// Builds the plugin and copies it to your plugin folders
    Install,
    /// Removes what `install` copied
    Uninstall,
    Dist(dist::Args),
    Bench(bench::Args),
    /// Checks the Rust networks against the vectors that the training code wrote
    Golden,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Pictures(args) => pictures::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Render(args) => render::run(&args),
        Command::Bundle(args) => bundle::run(&args),
        Command::Install => install::install(),
        Command::Uninstall => install::uninstall(),
        Command::Dist(args) => dist::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Golden => bench::golden(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn mistakes_in_parameters_are_explained() {
        let error = Cli::try_parse_from(["cargo xtask", "render", "a.wav", "b.wav", "--set", "stagee1=3"]);
        assert!(error.is_err_and(|e| e.to_string().contains("did you mean \"stage1\"?")));
        assert!(Cli::try_parse_from(["cargo xtask", "render", "a", "b", "--block", "0"]).is_err());
        assert!(Cli::try_parse_from(["cargo xtask", "render", "a", "b", "--set", "output=-3", "--live"]).is_ok());
    }
}
