//! Faults of the simulated card, asked for over a control socket or by the configuration.

use crate::control::request::{Answer, FaultOrder};
use crate::view::fault::{FaultLine, FaultList, Scripted};
use twinpath_abi::bus::CardMemory;
use twinpath_flow::time::Time;
use twinpath_hw_sim::Card;
use twinpath_hw_sim::fault::{Class, Incident, Plan, Rate};

/// Does what is asked, and tells of all classes.
pub(crate) fn answer<M: CardMemory>(card: &mut Card<M>, order: &FaultOrder, now: Time) -> Answer {
    match obey(card, order, now) {
        Ok(()) => super::answer::ok(&list(card)),
        Err(error) => Answer::Refused(error),
    }
}

fn obey<M: CardMemory>(card: &mut Card<M>, order: &FaultOrder, now: Time) -> Result<(), String> {
    let class = |name: &str| name.parse::<Class>().map_err(|error| error.to_string());
    match order {
        FaultOrder::List => {}
        FaultOrder::Set { class: name, one_in, amount, seed } => {
            card.set_fault(class(name)?, Rate { one_in: *one_in, amount: *amount }, *seed);
        }
        FaultOrder::Once { class: name, after, lasts, amount } => {
            let at = now.0.saturating_add(*after);
            let incident = Incident { class: class(name)?, at, lasts: *lasts, amount: *amount };
            card.inject(incident).map_err(|error| error.to_string())?;
        }
        FaultOrder::Clear => card.clear_faults(),
    }
    Ok(())
}

fn list<M: CardMemory>(card: &Card<M>) -> FaultList {
    let none = Plan::new(0);
    let plan = card.faults().unwrap_or(&none);
    let line = |(class, fired): (Class, u64)| {
        let rate = plan.rate(class);
        FaultLine {
            class: class.name().to_owned(),
            one_in: rate.one_in,
            chance: class.chance().describe().to_owned(),
            amount: rate.amount.unwrap_or_else(|| class.default_amount()),
            is_time: class.is_timed(),
            fired,
            what: class.describe().to_owned(),
        }
    };
    let scripted = |incident: &Incident| Scripted {
        class: incident.class.name().to_owned(),
        at: incident.at,
        lasts: incident.lasts,
    };
    FaultList {
        faults: card.fired().iter().map(line).collect(),
        script: plan.script().iter().map(scripted).collect(),
    }
}

/// The plan of a configuration, its script from `now` on.
pub(crate) fn begin<M: CardMemory>(card: &mut Card<M>, plan: &crate::config::Faults, now: Time) {
    if plan.is_empty() {
        return;
    }
    let mut wanted = Plan::new(plan.seed);
    plan.rates.iter().for_each(|(class, rate)| wanted.set_rate(*class, *rate));
    for incident in &plan.script {
        let at = now.0.saturating_add(incident.at);
        wanted.push(Incident { at, ..*incident }).expect("the configuration was checked");
    }
    card.set_faults(wanted);
}
