//! The commands that are not `run`.

mod devices;

use crate::args::{
    Arguments, Bench, CardCommand, Client, Command, FaultCommand, Place, RulesCommand, Sim,
    SimCommand,
};
use crate::bench::forward;
use crate::config::Config;
use crate::control::client::{AskError, ask};
use crate::control::path::{self, SocketError};
use crate::control::request::{Answer, FaultOrder, Request};
use crate::failure::Failure;
use crate::reproducer::Reproducer;
use crate::run::explain::{FlowStory, PacketStory, packet_story};
use crate::run::host::Order;
use crate::run::replace::Replaced;
use crate::statistics::Statistics;
use crate::view::flows::Flows;
use crate::{hold, output, run, view};
use anyhow::anyhow;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use twinpath_fallback::{Settings, SoftwarePath};
use twinpath_flow::card::Generation;
use twinpath_flow::port::{Port, PortTable};
use twinpath_flow::text::parse_packet;
use twinpath_host_driver::pci::bind::InUse;
use twinpath_offload::RuleStore;

/// Does what the command line says.
///
/// # Errors
/// What went wrong and whose fault it was.
pub(crate) fn execute(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::Run(arguments) => run::run(arguments),
        Command::Sim(arguments) => sim(arguments),
        Command::Hold(arguments) => hold::holder::hold(arguments),
        Command::Check { config } => check(config),
        Command::Stats { client } => show(client, &Request::Stats, |statistics: &Statistics| {
            view::stats::summary(statistics, None)
        }),
        Command::Flows { why: true, client, .. } => {
            show(client, &Request::Reasons, view::why::list)
        }
        Command::Flows { place, limit, client, .. } => {
            flows(client, place.map(|place: Place| place.name().to_owned()), *limit)
        }
        Command::Explain { what, device, client } => {
            let request = Request::Explain { what: what.clone(), device: device.clone() };
            show(client, &request, story)
        }
        Command::Rules { command } => rules(command),
        Command::Card { command } => card(command),
        Command::Reconcile { client } => show(client, &Request::Reconcile, view::stats::reading),
        Command::Events { client } => show(client, &Request::Events, view::events::list),
        Command::Bench { command: Bench::Forward(arguments) } => forward::run(arguments),
        Command::Replay { file, json } => replay(file, *json),
        Command::Devices { json, sysfs } => devices::list(sysfs, *json),
        Command::Bind { address, force, sysfs } => {
            let in_use = if *force { InUse::Take } else { InUse::Refuse };
            devices::bind(sysfs, *address, in_use)
        }
        Command::Unbind { address, sysfs } => devices::unbind(sysfs, *address),
        Command::Trace { rules, packet, config, device, json } => {
            let story = trace(rules, packet, config.as_deref(), device.as_deref())?;
            if *json { output::json(&story) } else { output::text(&view::explain::packet(&story)) }
        }
    }
}

/// Asks the running process and prints the answer as JSON or as `view` has it.
fn show<T: DeserializeOwned>(
    client: &Client,
    request: &Request,
    view: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    let value = fetch(client, request)?;
    if client.json {
        return output::json(&value);
    }
    output::text(&view(&serde_json::from_value(value).map_err(Failure::run)?))
}

/// Asks for all pages of a listing of flows and prints them as one.
fn flows(client: &Client, place: Option<String>, limit: usize) -> Result<(), Failure> {
    let mut all = Flows { total: 0, flows: Vec::new(), next: None };
    // Ends: a page behind another begins later, and a listing has an end.
    loop {
        let request = Request::Flows { place: place.clone(), limit, page: all.next };
        let page: Flows = serde_json::from_value(fetch(client, &request)?).map_err(Failure::run)?;
        all.flows.extend(page.flows);
        (all.total, all.next) = (page.total, page.next);
        if all.next.is_none() {
            break;
        }
    }
    if client.json { output::json(&all) } else { output::text(&view::flows::list(&all)) }
}

/// Asks the running process.
fn fetch(client: &Client, request: &Request) -> Result<Value, Failure> {
    let answer = ask(client.socket.as_deref(), request).map_err(|error| match error {
        AskError::Socket(error @ SocketError::SeveralRunning { .. }) => Failure::input(error),
        error => Failure::run(error),
    })?;
    match answer {
        Answer::Ok(value) => Ok(value),
        Answer::Refused(error) => Err(Failure::input(anyhow!(error))),
        Answer::Failed(error) => Err(Failure::run(anyhow!(error))),
    }
}

/// The answer to `explain`: a flow alone, or a packet and its flow.
fn story(answer: &Value) -> String {
    if answer.get("packet").is_none() {
        let flow: Option<FlowStory> = serde_json::from_value(answer["flow"].clone()).ok();
        let candidate = serde_json::from_value(answer["candidate"].clone()).ok();
        return view::explain::flow(flow.as_ref()) + &view::explain::candidate(candidate.as_ref());
    }
    match serde_json::from_value::<PacketStory>(answer.clone()) {
        Ok(story) => view::explain::packet(&story) + &view::explain::flow(story.flow.as_ref()),
        Err(_) => answer.to_string(),
    }
}

fn sim(arguments: &Sim) -> Result<(), Failure> {
    match (&arguments.command, &arguments.socket, &arguments.config) {
        (Some(SimCommand::Fault { command }), ..) => fault(command),
        (None, Some(socket), Some(config)) => run::serve::serve(socket, config),
        (None, ..) => Err(Failure::input(anyhow!("--socket PATH and CONFIG are needed"))),
    }
}

/// Nanoseconds of a time on the command line.
fn nanoseconds(time: Option<Duration>) -> Option<u64> {
    time.map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

fn fault(command: &FaultCommand) -> Result<(), Failure> {
    let (order, client) = match command {
        FaultCommand::List { client } => (FaultOrder::List, client),
        FaultCommand::Set { class, one_in, lasts, amount, seed, client } => {
            let amount = amount.or(nanoseconds(*lasts));
            let (class, one_in, seed) = (class.clone(), *one_in, *seed);
            (FaultOrder::Set { class, one_in, amount, seed }, client)
        }
        FaultCommand::Once { class, lasts, at, client } => {
            let after = nanoseconds(*at).unwrap_or(0);
            let lasts = nanoseconds(*lasts);
            (FaultOrder::Once { class: class.clone(), after, lasts, amount: None }, client)
        }
        FaultCommand::Clear { client } => (FaultOrder::Clear, client),
    };
    // The socket of a card leads to its control socket.
    let socket = client.socket.as_ref().map(|socket| {
        Some(path::of_card(socket)).filter(|path| path.exists()).unwrap_or_else(|| socket.clone())
    });
    let client = Client { socket, json: client.json };
    show(&client, &Request::Fault { order }, view::fault::list)
}

fn card(command: &CardCommand) -> Result<(), Failure> {
    let (request, client) = match command {
        CardCommand::Show { client } => (Request::Card, client),
        CardCommand::Drain { client } => (Request::CardOrder { order: Order::Drain }, client),
        CardCommand::Resume { client } => (Request::CardOrder { order: Order::Resume }, client),
        CardCommand::Reset { client } => (Request::CardOrder { order: Order::Reset }, client),
    };
    show(client, &request, view::card::story)
}

fn rules(command: &RulesCommand) -> Result<(), Failure> {
    match command {
        RulesCommand::Dump { client } => {
            show(client, &Request::RulesDump, |rules: &Vec<String>| {
                rules.iter().map(|rule| format!("{rule}\n")).collect()
            })
        }
        RulesCommand::Add { rules, client } => {
            let request = Request::RulesAdd { rules: rules.clone() };
            show(client, &request, |answer: &Value| {
                let warnings = answer["warnings"].as_array().into_iter().flatten();
                let warnings: Vec<_> = warnings.filter_map(Value::as_str).collect();
                warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
                format!("{} added\n", answer["added"])
            })
        }
        RulesCommand::Replace { file, dry_run, client } => {
            let (name, text) = rule_file(file)?;
            let request = Request::RulesReplace { name, text, dry_run: *dry_run };
            show(client, &request, |replaced: &Replaced| {
                replaced.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
                view::replace::summary(replaced)
            })
        }
        RulesCommand::Del { selection, strict, client } => {
            let request = Request::RulesDel { selection: selection.clone(), strict: *strict };
            show(client, &request, |answer: &Value| {
                let deleted = answer["deleted"].as_array().into_iter().flatten();
                let deleted: Vec<_> = deleted.filter_map(Value::as_str).collect();
                let mut text: String = deleted.iter().map(|rule| format!("{rule}\n")).collect();
                text += &format!("{} deleted\n", deleted.len());
                text
            })
        }
    }
}

/// Name and text of a rule file; `-` is standard input.
fn rule_file(path: &Path) -> Result<(String, String), Failure> {
    let (name, text) = if path == Path::new("-") {
        ("standard input".to_owned(), std::io::read_to_string(std::io::stdin()))
    } else {
        (path.display().to_string(), std::fs::read_to_string(path))
    };
    match text {
        Ok(text) => Ok((name, text)),
        Err(error) => Err(Failure::input(anyhow!("{name}: cannot read: {error}"))),
    }
}

fn check(path: &Path) -> Result<(), Failure> {
    let config = Config::load(path)?;
    let rules = run::rules::load(&config).map_err(Failure::input)?;
    run::sim::profile(&config)?;
    output::text(&format!(
        "{}: {} ports, {} rules, device {}\n",
        path.display(),
        config.ports.iter().count(),
        rules.len(),
        config.device.name()
    ))
}

/// Physical ports 1 to 64, for rules without a configuration; named as a configuration names those
/// that it gives no name.
pub(crate) fn numbered_ports() -> PortTable {
    let ports =
        (1..=64).map(|number| Port { name: format!("port{number}"), ..Port::physical(number) });
    PortTable::new(ports.collect()).expect("numbers and names differ")
}

fn replay(file: &Path, json: bool) -> Result<(), Failure> {
    let replayed = Reproducer::replay(file).map_err(Failure::input)?;
    if json {
        output::json(&replayed)?;
    } else {
        output::text(&view::replay::story(&replayed))?;
    }
    if replayed.confirmed { Ok(()) } else { Err(Failure::run(anyhow!("not confirmed"))) }
}

/// A packet's way through a rule file, and whether `device` would take its flow.
fn trace(
    rules: &Path,
    packet: &str,
    config: Option<&Path>,
    device: Option<&str>,
) -> Result<PacketStory, Failure> {
    let ports = match config {
        Some(path) => Config::load(path)?.ports,
        None => Arc::new(numbered_ports()),
    };
    let parsed = run::rules::read(rules, &ports).map_err(Failure::input)?;
    let mut store = RuleStore::new();
    store.replace(parsed);
    let packet = parse_packet(packet, &ports).map_err(Failure::input)?;
    let pipeline = Arc::new(store.pipeline(ports));
    let (mut story, key) = packet_story(&pipeline, &packet.frame, packet.in_port);
    if let Some(device) = device {
        let path = SoftwarePath::new(Settings::default(), Generation(0), Arc::clone(&pipeline));
        let flow = path.flow_for(&key);
        story.candidate = flow.and_then(|flow| run::candidate::judge(device, &flow, &pipeline));
    }
    Ok(story)
}

#[cfg(test)]
mod tests {
    use super::numbered_ports;

    #[test]
    fn ports_without_a_configuration_are_named_as_those_it_gives_no_name() {
        let ports = numbered_ports();
        let names: Vec<_> = ports.physical().map(|port| port.name.as_str()).collect();
        assert_eq!((names.len(), names[0], names[63]), (64, "port1", "port64"));
    }
}
