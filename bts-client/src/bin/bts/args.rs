//! The command line. Tuples and templates are parsed with it, so that a mistake in one is told
//! before anything is connected.

use std::path::PathBuf;
use std::time::Duration;

use bts_client::text::{ParseError, Replacement, parse_replacement, parse_template, parse_tuple};
use bts_client::{Config, SpaceName, Template, Tuple};
use clap::{Parser, Subcommand};

use crate::bench::{self, Bench};
use crate::exit::{Exit, Failure};

/// How long `status` waits for replicas that do not answer.
const STATUS_PATIENCE: Duration = Duration::from_secs(3);
/// How long `admin` waits for each of them.
const ADMIN_PATIENCE: Duration = Duration::from_secs(30);

const DEFAULT_SPACE: &str = "default";

const SYNTAX: &str = r#"Tuples and templates (quote them for the shell):
  ("task", 17, 3u, 0.5, true, x"00ff")   string, int, uint, float, bool, bytes
  ("task", int, _)                       template: a type (int uint float bool
                                         string bytes), or anything: _ * ?
  ["task", 17, {"uint": 3}]              the same as JSON; also {"bytes": "00ff"}
                                         and, in templates, {"type": "int"}, null

Exit codes:
  0  found, done; status: all replicas answer
  1  nothing matches (rdp, inp, swapp); status: degraded, but with a quorum
  2  mistake in the arguments, the settings or a file
  3  the timeout passed
  4  refused: by the policy, a limit, or for our certificate
  5  no quorum: too few replicas answer
  6  another failure
  130  interrupted; what was being taken is put back"#;

/// A Byzantine fault-tolerant tuple space, from the shell.
#[derive(Debug, Parser)]
#[command(name = "bts", version, after_help = SYNTAX)]
pub(crate) struct Args {
    /// Settings of this client: cluster file, certificate, key
    #[arg(
        long,
        global = true,
        env = "BTS_CONFIG",
        default_value = "client.toml",
        value_name = "FILE"
    )]
    pub(crate) config: PathBuf,
    /// The space
    #[arg(long, global = true, default_value = DEFAULT_SPACE, value_name = "NAME")]
    pub(crate) space: String,
    /// Seconds that an operation may take, or `none` [default: that of the settings]
    #[arg(long, global = true, value_name = "SECONDS", value_parser = timeout)]
    timeout: Option<Timeout>,
    /// Print JSON
    #[arg(long, global = true, num_args = 0, default_missing_value = "-")]
    json: Option<PathBuf>,
    /// Tell on stderr which replicas are connected
    #[arg(long, short, global = true)]
    verbose: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write tuples
    Out {
        #[arg(required = true, value_name = "TUPLE", value_parser = tuple)]
        tuples: Vec<Tuple>,
    },
    /// Print a matching tuple, waiting for one
    Rd {
        #[arg(value_parser = template)]
        template: Template,
    },
    /// Print a matching tuple, if there is one
    Rdp {
        #[arg(value_parser = template)]
        template: Template,
    },
    /// Take a matching tuple and print it, waiting for one
    In {
        #[arg(value_parser = template)]
        template: Template,
    },
    /// Take a matching tuple and print it, if there is one
    Inp {
        #[arg(value_parser = template)]
        template: Template,
    },
    /// Take a matching tuple, put others in its place in one step, and print the taken one
    Swap(Swap),
    /// As swap, if something matches
    Swapp(Swap),
    /// Write the tuples of a file (- is stdin): a JSON list of lists, or a tuple on each line
    Load { file: PathBuf },
    /// Print all tuples of the space, or all that match; not a snapshot. `load` reads it back
    Dump {
        #[arg(value_parser = template)]
        template: Option<Template>,
    },
    /// Show how each replica is
    Status,
    /// Measure how fast a cluster is: a throw-away one of its own on this machine, or a given one
    Bench(Bench),
    /// Change the cluster, as an operator of it
    #[command(subcommand)]
    Admin(Admin),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Admin {
    /// Replace a member of the cluster: by another host with another key, or by itself when its data is lost.
    ///
    /// All replicas stop, hand over what they hold, and begin anew with it; clients wait meanwhile, and then
    /// need the new cluster file. Interrupted or failed anywhere, run the same command again.
    Replace(Replace),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Replace {
    /// Index of the replica whose place is taken
    #[arg(long, value_name = "INDEX")]
    pub(crate) seat: u16,
    /// Certificate of who takes it [default: the same key, with a new data directory]
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: Option<PathBuf>,
    /// Where the new one listens, host:port [default: where the old one did]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) address: Option<String>,
    /// Replicas whose data is lost, or that are known to lie; at most as many as may be faulty
    #[arg(long, value_name = "INDEX", value_delimiter = ',')]
    pub(crate) lost: Vec<u16>,
    /// Where to keep what is done already; the new cluster file will be there [default: replace-INDEX]
    #[arg(long, value_name = "DIR")]
    pub(crate) work: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Swap {
    #[arg(value_parser = template)]
    pub(crate) template: Template,
    /// What comes in its place; $0, $1, ... are the fields of the taken tuple
    #[arg(required = true, value_name = "TUPLE", value_parser = replacement)]
    pub(crate) puts: Vec<Replacement>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Timeout {
    After(Duration),
    Never,
}

impl Args {
    /// Puts the timeout of the command line into settings.
    pub(crate) fn limit(&self) -> impl Fn(Config) -> Config + 'static {
        let timeout = self.timeout;
        move |config| match timeout {
            Some(Timeout::After(timeout)) => config
                .with_deadline(Some(timeout))
                .with_connect_deadline(timeout),
            Some(Timeout::Never) => config.with_deadline(None),
            None => config,
        }
    }

    /// Whether JSON is wanted instead of text. `bench` has its own of this name, with a file.
    pub(crate) fn json(&self) -> bool {
        self.json.is_some()
    }

    /// What is logged, unless the environment says something else. Replicas of a benchmark that lie are
    /// meant to.
    pub(crate) fn logs(&self) -> &'static str {
        match (self.verbose, &self.command) {
            (true, _) => "info",
            (false, Command::Bench(_)) => "error",
            (false, _) => "warn",
        }
    }

    /// What a benchmark has to know. Its space is one that nobody uses, unless the command line names
    /// another.
    pub(crate) fn bench_context(&self) -> Result<bench::Context, Failure> {
        let name = match self.space.as_str() {
            DEFAULT_SPACE => format!("bench-{:08x}", rand::random::<u32>()),
            name => name.to_owned(),
        };
        let space = SpaceName::new(&name).map_err(|error| Failure::new(Exit::Usage, error))?;
        Ok(bench::Context {
            space,
            limit: Box::new(self.limit()),
            is_limited: self.timeout.is_some(),
        })
    }

    pub(crate) fn status_patience(&self) -> Duration {
        self.patience(STATUS_PATIENCE)
    }

    pub(crate) fn admin_patience(&self) -> Duration {
        self.patience(ADMIN_PATIENCE)
    }

    fn patience(&self, usual: Duration) -> Duration {
        match self.timeout {
            Some(Timeout::After(timeout)) => timeout,
            Some(Timeout::Never) | None => usual,
        }
    }
}

fn timeout(text: &str) -> Result<Timeout, String> {
    if text == "none" {
        return Ok(Timeout::Never);
    }
    let seconds = text.parse().ok();
    let timeout = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    timeout
        .map(Timeout::After)
        .ok_or_else(|| "expected seconds, as 5 or 0.5, or `none`".into())
}

fn tuple(text: &str) -> Result<Tuple, String> {
    parse_tuple(text).map_err(|error| point_out(text, &error))
}

fn template(text: &str) -> Result<Template, String> {
    parse_template(text).map_err(|error| point_out(text, &error))
}

fn replacement(text: &str) -> Result<Replacement, String> {
    parse_replacement(text).map_err(|error| point_out(text, &error))
}

/// The error, and below the text a mark where it is.
fn point_out(text: &str, error: &ParseError) -> String {
    match error {
        ParseError::Syntax { column, .. } if *column <= 70 && !text.contains(char::is_control) => {
            let (shown, indent) = (text.chars().take(78).collect::<String>(), column - 1);
            format!("{error}\n\n  {shown}\n  {:indent$}^", "")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn args_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn args_json_is_a_flag_and_of_bench_a_file() {
        let parse = |line: &[&str]| Args::try_parse_from(line).map_err(|error| error.kind());
        let dump = parse(&["bts", "dump", "--json"]).expect("a flag");
        assert!(dump.json() && parse(&["bts", "--json", "dump"]).expect("anywhere").json());
        assert!(!parse(&["bts", "dump"]).expect("may be left out").json());
        let bench = parse(&["bts", "bench", "--json", "a.json", "out"]).expect("a file");
        assert!(matches!(bench.command, Command::Bench(_)));
        let missing = parse(&["bts", "bench", "--json"]).map(drop);
        assert_eq!(missing, Err(clap::error::ErrorKind::InvalidValue));
    }

    #[test]
    fn args_timeout_is_seconds_or_none() {
        assert_eq!(
            timeout("0.5"),
            Ok(Timeout::After(Duration::from_millis(500)))
        );
        assert_eq!(timeout("none"), Ok(Timeout::Never));
        for wrong in ["", "-1", "1s", "nan", "1e30"] {
            assert!(timeout(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn args_mistake_in_a_tuple_is_pointed_out() {
        let error = tuple(r#"("täsk", next)"#).expect_err("next has no quotes");
        let expected = "column 10: next is no value; text is written in quotes: \"next\"\n\
                        \n  (\"täsk\", next)\n           ^";
        assert_eq!(error, expected);
    }
}
