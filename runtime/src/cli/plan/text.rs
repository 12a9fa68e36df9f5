//! A drawing as lines for a person.

use std::{
    borrow::Cow,
    fmt::{Result, Write},
};

use hb_core::{
    launch::shell,
    units::{Span, plural},
};

use super::drawing::{Drawing, DrawnServer, DrawnShare, DrawnTrial, Node};

/// The lines.
pub fn of(drawing: &Drawing) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write(drawing, &mut out);
    out
}

fn write(drawing: &Drawing, out: &mut String) -> Result {
    let [trials, nodes] =
        [(drawing.trials.len(), "trial"), (drawing.nodes.len(), "node")].map(|(count, what)| plural(count as u64, what));
    writeln!(out, "{}: {trials} on {nodes}", drawing.scenario)?;
    let most = if drawing.trials.iter().any(|trial| trial.search.is_some()) { "at most " } else { "" };
    match drawing.expected_seconds {
        Some(seconds) => {
            writeln!(out, "load takes {most}{} in all, beside the starts of servers", Span::from_secs(seconds.round() as u64))?
        }
        None => writeln!(out, "how long the load takes depends on the server: a trial ends after a count of requests")?,
    }
    if drawing.is_seed_drawn {
        writeln!(out, "each run draws its own seed, as `metadata.seed` is left out: its requests are due otherwise than here")?;
    }
    if drawing.are_clients_drawn_equal {
        writeln!(out, "client nodes are drawn as equal ones: in the run those with more cores have larger shares")?;
    }
    drawing.nodes.iter().try_for_each(|drawn| node(drawn, out))?;
    drawing.trials.iter().try_for_each(|drawn| trial(drawn, out))
}

fn node(node: &Node, out: &mut String) -> Result {
    let roles: Vec<String> = node.roles.iter().map(ToString::to_string).collect();
    let roles = if roles.is_empty() { "nothing".into() } else { roles.join(", ") };
    writeln!(out, "  {:<10} {roles}", node.node)?;
    node.command.iter().try_for_each(|command| writeln!(out, "    started by {}", line(command)))
}

fn trial(trial: &DrawnTrial, out: &mut String) -> Result {
    let mut load = trial.load_seconds.map_or_else(|| "until its count".into(), |seconds| format!("{seconds} s"));
    if trial.search.is_some() {
        load.push_str(" for the first probe");
    }
    let calibration = match trial.calibration_seconds {
        0.0 => String::new(),
        seconds => format!(", calibration before it at most {seconds} s"),
    };
    writeln!(out, "\n{} (seed {}, load {load}{calibration})", trial.id, trial.seed)?;
    let verb = if trial.restarts_servers { "starts" } else { "keeps" };
    trial.servers.iter().try_for_each(|drawn| server(drawn, verb, out))?;
    if let Some(search) = &trial.search {
        writeln!(out, "  searches {}", search.says)?;
    }
    if let Some(when) = &trial.ends_when {
        writeln!(out, "  ends sooner when {when}")?;
    }
    if let Some(together) = trial.together {
        writeln!(out, "  sends {together} requests at a time")?;
    }
    if !trial.stages.is_empty() {
        writeln!(out, "  stages: {}", trial.stages.join(", "))?;
    }
    trial.shares.iter().try_for_each(|drawn| share(drawn, out))
}

fn server(server: &DrawnServer, verb: &str, out: &mut String) -> Result {
    let command = line(&server.command);
    match server.port {
        Some(port) => writeln!(out, "  {verb} server {} on {} port {port}: {command}", server.server, server.node)?,
        None => writeln!(out, "  {verb} {} on {}: {command}", server.name, server.node)?,
    }
    if !server.environment.is_empty() {
        writeln!(out, "    with {} set", server.environment.join(", "))?;
    }
    Ok(())
}

fn share(share: &DrawnShare, out: &mut String) -> Result {
    let what = if share.first_due_seconds.is_empty() {
        plural(share.clients as u64, "client")
    } else {
        let due: Vec<String> = share.first_due_seconds.iter().map(|at| format!("{at:.3}")).collect();
        format!("requests due at {} s…", due.join(", "))
    };
    writeln!(out, "  executor {} on {}: {what}", share.executor, share.node)
}

/// A command as it would be given to a shell.
fn line(command: &[String]) -> String {
    let words: Vec<Cow<'_, str>> = command.iter().map(|word| shell(word)).collect();
    words.join(" ")
}
