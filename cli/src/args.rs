//! The command line.

use crate::config::WORKERS_MAX;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;
use twinpath_host_driver::pci::Address;

/// Devices to judge flows by.
const DEVICES: [&str; 5] = crate::run::candidate::NAMES;

/// Forwards packets by flow tables, in a SmartNIC where it can and in software where it must.
#[derive(Debug, Parser)]
#[command(name = "twinpath", version, max_term_width = 100)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Forwards packets until the sources are drained, --duration has passed or Ctrl-C
    #[command(after_help = "\
Examples:
  twinpath run examples/gateway.toml
  twinpath run examples/gateway.toml --json | jq .offload_ratio
  twinpath run examples/switch.toml --duration 30s
  twinpath run router.toml --workers 4       four threads, without a card

The live line and the log go to standard error (TWINPATH_LOG=debug for more).
SIGHUP reads the rule file again; SIGINT and SIGTERM end the run with its summary.")]
    Run(Run),
    /// Serves the simulated card of a configuration to another process, over vfio-user
    #[command(after_help = "\
Examples:
  twinpath sim --socket /run/card.sock examples/switch.toml
  twinpath run with device = \"vfio-user:/run/card.sock\" drives it

Wires and [sim] are those of the file, its device and rules are not looked at. Ends with SIGINT
or SIGTERM.")]
    Sim(Sim),
    /// Holds what a card needs while the daemon restarts: hold = "PATH" in its configuration
    #[command(after_help = "\
Examples:
  twinpath hold --socket /run/twinpath/hold.sock
  twinpath run with hold = \"/run/twinpath/hold.sock\" may then be killed and started again

A unit of systemd needs none: hold = \"systemd\". See docs/restart.md. Ends with SIGINT or SIGTERM;
what it held is then closed, and the card is reset.")]
    Hold(Hold),
    /// Checks a configuration and its rules, and opens nothing
    #[command(after_help = "Examples:\n  twinpath check examples/gateway.toml")]
    Check {
        /// Configuration file
        config: PathBuf,
    },
    /// Shows packets by card and software, ports, rules and tables of the running process
    #[command(after_help = "Examples:\n  twinpath stats\n  twinpath stats --json | jq .packets")]
    Stats {
        #[command(flatten)]
        client: Client,
    },
    /// Lists flows: what they match and do, where they live, and why not in the card
    #[command(after_help = "\
Examples:
  twinpath flows
  twinpath flows --where software      what is not in the card, and the reason
  twinpath flows --why                 the reasons in sums, weighted by packets
  twinpath flows --json --limit 100")]
    Flows {
        /// Only flows that live there
        #[arg(long = "where", value_name = "PLACE")]
        place: Option<Place>,
        /// Instead of flows, the reasons why packets go through software, in sums
        #[arg(long, conflicts_with = "place")]
        why: bool,
        /// Most flows listed, busiest first
        #[arg(long, default_value_t = 1000)]
        limit: usize,
        #[command(flatten)]
        client: Client,
    },
    /// Tells the tables a packet passes, its flow, where that lives and why
    #[command(after_help = "\
Examples:
  twinpath explain in_port=1,udp,nw_dst=10.0.0.1
  twinpath explain 'in_port=1 ffffffffffff0200000000010800…'
  twinpath explain 17                  a flow by its number, as `twinpath flows` shows it
  twinpath explain 17 --device rocker  whether that device would take it")]
    Explain {
        /// Flow number, packet as for `ovs-appctl ofproto/trace`, or `in_port=N HEX`
        #[arg(value_name = "FLOW-OR-PACKET")]
        what: String,
        /// Also says whether this device, empty, would take the flow
        #[arg(long, value_parser = DEVICES)]
        device: Option<String>,
        #[command(flatten)]
        client: Client,
    },
    /// Shows or changes the rules of the running process
    Rules {
        /// Which way.
        #[command(subcommand)]
        command: RulesCommand,
    },
    /// Shows the card, takes its flows out, gives them back, or resets it
    #[command(after_help = "\
Examples:
  twinpath card show                   its health, and whether it is trusted
  twinpath card drain                  all flows to software without a loss, then maintain it
  twinpath card resume                 flows again, also to a card left out for its failures
  twinpath card reset                  as if it had failed; frames inside it are lost")]
    Card {
        /// What to do
        #[command(subcommand)]
        command: CardCommand,
    },
    /// Tells whether the card holds what it should: what was read back, found and mended
    #[command(after_help = "\
Examples:
  twinpath reconcile
  twinpath reconcile --json            `read` is null for a card that cannot be read")]
    Reconcile {
        #[command(flatten)]
        client: Client,
    },
    /// Shows what happened lately: changes, expiries, refusals, packets for the controller
    #[command(after_help = "Examples:\n  twinpath events\n  twinpath events --json")]
    Events {
        #[command(flatten)]
        client: Client,
    },
    /// Runs a packet again that a card treated otherwise than the rules
    #[command(after_help = "\
Examples:
  twinpath replay divergence-1.json

Such files are written when a sample of what the card forwarded differs from the rules; see
[shadow] in docs/running.md. Exit code 0: confirmed; 1: specification or software path now do
what the card did.")]
    Replay {
        /// The file
        file: PathBuf,
        /// One JSON object instead of text
        #[arg(long)]
        json: bool,
    },
    /// Measures the software path on this machine
    Bench {
        /// What to measure
        #[command(subcommand)]
        command: Bench,
    },
    /// Lists PCI network functions: driver, IOMMU group, and what keeps VFIO from them
    #[command(after_help = "\
Examples:
  twinpath devices
  twinpath devices --json | jq '.functions[] | select(.ready).address'

A function that is ready is used by device = \"vfio:ADDRESS\" in the configuration.")]
    Devices {
        /// One JSON object instead of text
        #[arg(long)]
        json: bool,
        /// Root of the kernel's files, for tests
        #[arg(long, hide = true, default_value = "/")]
        sysfs: PathBuf,
    },
    /// Gives a PCI function to VFIO, and remembers the driver it had
    #[command(after_help = "\
Examples:
  twinpath bind 0000:03:00.0
  twinpath bind 03:00.0 --force        even if its interface is up; that interface vanishes

Refuses a function whose interface is up or carries the default route. Needs root.")]
    Bind {
        /// Address of the function, as `twinpath devices` shows it
        address: Address,
        /// Also if an interface of it is in use
        #[arg(long)]
        force: bool,
        /// Root of the kernel's files, for tests
        #[arg(long, hide = true, default_value = "/")]
        sysfs: PathBuf,
    },
    /// Gives a PCI function back to the driver it had
    #[command(after_help = "\
Examples:
  twinpath unbind 0000:03:00.0

Without a driver remembered, the kernel chooses. Needs root.")]
    Unbind {
        /// Address of the function, as `twinpath devices` shows it
        address: Address,
        /// Root of the kernel's files, for tests
        #[arg(long, hide = true, default_value = "/")]
        sysfs: PathBuf,
    },
    /// Follows one packet through a rule file, without a running process
    #[command(after_help = "\
Examples:
  twinpath trace gateway.flows in_port=1,tcp,nw_src=10.0.0.1,tp_dst=80
  twinpath trace gateway.flows 'in_port=1 HEX' --config gateway.toml
  twinpath trace gateway.flows in_port=1,ip --device rocker     would the card take it?")]
    Trace {
        /// Rule file
        rules: PathBuf,
        /// Packet as for `ovs-appctl ofproto/trace`, or `in_port=N HEX`
        packet: String,
        /// Configuration whose ports are meant; without it there are ports 1 to 64
        #[arg(long)]
        config: Option<PathBuf>,
        /// Also says whether this device, empty, would take the packet's flow
        #[arg(long, value_parser = DEVICES)]
        device: Option<String>,
        /// One JSON object instead of text
        #[arg(long)]
        json: bool,
    },
}

/// `twinpath run`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Configuration file
    pub config: PathBuf,
    /// Ends after this time of the run, for instance 500ms, 30s, 5m
    #[arg(long, value_parser = duration)]
    pub duration: Option<Duration>,
    /// Becomes this user once everything is open; overrides `user` of the file
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Overrides `workers` of the file
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=i64::from(WORKERS_MAX)))]
    pub workers: Option<u16>,
    /// Prints the summary as one JSON object and nothing else
    #[arg(long)]
    pub json: bool,
}

/// `twinpath sim`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Sim {
    /// Socket to serve the card on
    #[arg(long, value_name = "PATH", required = true)]
    pub socket: Option<PathBuf>,
    /// Configuration file
    #[arg(required = true)]
    pub config: Option<PathBuf>,
    /// Or something else.
    #[command(subcommand)]
    pub command: Option<SimCommand>,
}

/// `twinpath sim fault`.
#[derive(Debug, Subcommand)]
pub(crate) enum SimCommand {
    /// Makes a simulated card fail, in a run with device = "sim" or one that is served
    #[command(after_help = "\
Examples:
  twinpath sim fault list                              classes, rates, how often each fired
  twinpath sim fault set completion-lost --one-in 1000
  twinpath sim fault set command-slow --one-in 1 --for 20ms
  twinpath sim fault once heartbeat-stopped --for 50ms
  twinpath sim fault once removed --for 2s --at 10s --socket /run/card.sock
  twinpath sim fault clear                             ends all faults and mends the card

What each class is, and what Twinpath does about it: docs/faults.md.")]
    Fault {
        /// What to do
        #[command(subcommand)]
        command: FaultCommand,
    },
}

/// How a simulated card is reached.
#[derive(Debug, Args)]
pub(crate) struct CardClient {
    /// Control socket of a run, or the socket a card is served on; without it, the only running
    /// process is meant
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// `twinpath sim fault`.
#[derive(Debug, Subcommand)]
pub(crate) enum FaultCommand {
    /// Lists all classes with their rates and how often each fired
    #[command(after_help = "Examples:\n  twinpath sim fault list --json | jq '.faults[].class'")]
    List {
        #[command(flatten)]
        client: CardClient,
    },
    /// Sets how often a class strikes by chance
    #[command(after_help = "Examples:\n  twinpath sim fault set completion-lost --one-in 1000")]
    Set {
        /// Class, as `list` shows it
        class: String,
        /// One chance in so many; 0 for never
        #[arg(long, value_name = "N")]
        one_in: u32,
        /// How long, where `list` shows a time
        #[arg(long = "for", value_name = "TIME", value_parser = duration)]
        lasts: Option<Duration>,
        /// How many, where `list` shows a number
        #[arg(long, value_name = "N", conflicts_with = "lasts")]
        amount: Option<u64>,
        /// Where draws come from, if no fault was set before
        #[arg(long, default_value_t = 0)]
        seed: u64,
        #[command(flatten)]
        client: CardClient,
    },
    /// Makes one happen: at the next chance, or at every chance for a time
    #[command(after_help = "\
Examples:
  twinpath sim fault once completion-lost
  twinpath sim fault once heartbeat-stopped --for 50ms --at 2s")]
    Once {
        /// Class, as `list` shows it
        class: String,
        /// For so long, resets notwithstanding
        #[arg(long = "for", value_name = "TIME", value_parser = duration)]
        lasts: Option<Duration>,
        /// From now
        #[arg(long, value_name = "TIME", value_parser = duration)]
        at: Option<Duration>,
        #[command(flatten)]
        client: CardClient,
    },
    /// Ends all faults and mends the card
    #[command(after_help = "Examples:\n  twinpath sim fault clear")]
    Clear {
        #[command(flatten)]
        client: CardClient,
    },
}

/// `twinpath hold`.
#[derive(Debug, Args)]
pub(crate) struct Hold {
    /// Socket to listen on
    #[arg(long, value_name = "PATH")]
    pub socket: PathBuf,
}

/// How a command reaches the running process and answers.
#[derive(Debug, Args)]
pub(crate) struct Client {
    /// Control socket; without it, the only running process is meant
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Where a flow lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Place {
    /// In the card.
    Card,
    /// In software.
    Software,
}

impl Place {
    /// As written.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Card => "card",
            Self::Software => "software",
        }
    }
}

/// `twinpath card`.
#[derive(Debug, Subcommand)]
pub(crate) enum CardCommand {
    /// Shows its health, failures and standing
    #[command(after_help = "Examples:\n  twinpath card show --json | jq .standing")]
    Show {
        #[command(flatten)]
        client: Client,
    },
    /// Lets software forward everything; the card is a plain network card until `resume`
    #[command(after_help = "\
Examples:
  twinpath card drain

Packets go to software in their order, counters are read a last time, then the entries are
forgotten. Nothing is lost.")]
    Drain {
        #[command(flatten)]
        client: Client,
    },
    /// Ends `drain`, and trusts a card that was left out: it is reset and gets its flows again
    #[command(after_help = "Examples:\n  twinpath card resume")]
    Resume {
        #[command(flatten)]
        client: Client,
    },
    /// Resets it; its flows come back at once, the hottest first, unless it is drained
    #[command(after_help = "Examples:\n  twinpath card reset")]
    Reset {
        #[command(flatten)]
        client: Client,
    },
}

/// `twinpath rules`.
#[derive(Debug, Subcommand)]
pub(crate) enum RulesCommand {
    /// Prints the rules in place; the output can be loaded again
    #[command(after_help = "Examples:\n  twinpath rules dump > now.flows")]
    Dump {
        #[command(flatten)]
        client: Client,
    },
    /// Adds rules; one with the same table, priority and match is replaced. Not written back
    #[command(after_help = "\
Examples:
  twinpath rules add 'priority=10,ip,actions=output:2'")]
    Add {
        /// Rules, each one argument
        #[arg(required = true)]
        rules: Vec<String>,
        #[command(flatten)]
        client: Client,
    },
    /// Makes a rule file the rules in place, all at once: each packet sees the old or the new ones
    #[command(after_help = "\
Examples:
  twinpath rules replace gateway.flows
  twinpath rules replace --dry-run new.flows     says what would change, and changes nothing
  generate-rules | twinpath rules replace -

A rule that is in both keeps its counters; a flow whose treatment is the same keeps its place in
the card. A file with an error changes nothing. Not written back; SIGHUP does the same with the
configuration's own file.")]
    Replace {
        /// Rule file; - for standard input
        file: PathBuf,
        /// Says what would change, and changes nothing
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        client: Client,
    },
    /// Deletes the rules that match at least this specifically. Not written back
    #[command(after_help = "\
Examples:
  twinpath rules del ip,nw_dst=10.0.0.0/8
  twinpath rules del --strict 'priority=10,ip'
  twinpath rules del ''                all rules")]
    Del {
        /// Match, with table and cookie=VALUE/MASK if wanted
        selection: String,
        /// Only the rule with exactly this match and priority
        #[arg(long)]
        strict: bool,
        #[command(flatten)]
        client: Client,
    },
}

/// Reads `10`, `10s`, `500ms`, `2m` or `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "" | "s" => 1.0,
        "ms" => 1e-3,
        "us" => 1e-6,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("unknown unit {unit:?}; expected us, ms, s, m or h")),
    };
    let number: f64 = number.parse().map_err(|_| "expected a number, then us, ms, s, m or h")?;
    Duration::try_from_secs_f64(number * scale).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn durations_carry_their_unit() {
        assert_eq!(duration("10"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(duration("ten").is_err());
        assert!(duration("10 parsecs").is_err());
    }
}

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Packets a second from memory to nowhere, on one core or several
    #[command(after_help = "\
Examples:
  twinpath bench forward
  twinpath bench forward --flows 100000 --rules my.flows
  twinpath bench forward --capture trace.pcap --workers 2 --json
  twinpath bench forward --kernel scalar --frame-size imix

Each packet is copied into a fresh buffer, looked up, counted, edited and given to a sink, as by a
driver that costs nothing else. Every worker has all frames and its own flow tables. --cold measures
the making of flows: each run begins without any and goes through the frames once.")]
    Forward(Forward),
}

/// 1 to 64.
fn workers(text: &str) -> Result<usize, String> {
    let number: Option<usize> = text.parse().ok();
    number.filter(|number| (1..=64).contains(number)).ok_or_else(|| "expected 1 to 64".to_owned())
}

/// `twinpath bench forward`.
#[derive(Debug, Args)]
pub(crate) struct Forward {
    /// Distinct UDP flows, one frame each
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=4_000_000))]
    pub flows: u32,
    /// Frames of this capture instead
    #[arg(long, conflicts_with_all = ["flows", "frame_size"])]
    pub capture: Option<PathBuf>,
    /// Rule file; otherwise one rule that sends all out of port 1
    #[arg(long)]
    pub rules: Option<PathBuf>,
    /// Port the frames come in on
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub in_port: u16,
    /// Port 12 is a GTP-U tunnel with this address over the input port
    #[arg(long, value_name = "LOCAL_IP")]
    pub gtpu: Option<std::net::Ipv4Addr>,
    /// Bytes of a frame with its FCS, 64 to 9000, or imix
    #[arg(long, default_value = "64")]
    pub frame_size: String,
    /// Instructions: auto, scalar, avx2, avx512
    #[arg(long, default_value = "auto")]
    pub kernel: String,
    /// Threads, each with its own source and flow tables
    #[arg(long, default_value_t = 1, value_parser = workers)]
    pub workers: usize,
    /// Seconds of a run
    #[arg(long, default_value_t = 1.0)]
    pub seconds: f64,
    /// Runs; the median counts
    #[arg(long, default_value_t = 5)]
    pub runs: usize,
    /// How frames lie in memory
    #[arg(long, value_enum, default_value = "dpdk")]
    pub layout: crate::bench::Layout,
    /// First CPU to run on; any when absent
    #[arg(long)]
    pub cpu: Option<usize>,
    /// Begin each run without flows, and go through the frames once
    #[arg(long)]
    pub cold: bool,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}
