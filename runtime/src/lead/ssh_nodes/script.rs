//! The shell scripts that run on a node, and what they answer. What varies in them is quoted.

use std::{collections::BTreeMap, net::IpAddr};

use hb_core::launch::shell;

use crate::cli::NodeWords;

/// Marks the line with the node's process.
const PROCESS: &str = "=process ";

/// What a node's process is started with.
#[derive(Debug, Clone)]
pub struct Start<'a> {
    /// The binary there.
    pub binary: &'a str,
    /// Its place in the order of roles.
    pub ordinal: usize,
    /// The address under which the others reach it, where it is known.
    pub address: Option<IpAddr>,
    /// How long it looks for the leader, seconds.
    pub wait: u64,
    /// The leader's own words about nodes.
    pub words: &'a NodeWords,
    /// The first port of endpoints that is tried, where none was asked for.
    pub port_from: u16,
}

impl Start<'_> {
    /// The script. Variables come first on standard input, then the way in; both stay out of the command line.
    #[must_use]
    pub fn script(&self) -> String {
        let mut words = vec!["--join-stdin".to_owned(), "--while-stdin".to_owned()];
        words.extend([format!("--ordinal={}", self.ordinal), format!("--wait={}", self.wait)]);
        words.push(match self.words.endpoints.client_port {
            Some(port) => format!("--client-port={port}"),
            None => format!("--client-port-from={}", self.port_from),
        });
        words.push(match (&self.words.endpoints.interface, self.address) {
            (Some(name), _) => format!("--interface={}", shell(name)),
            (None, Some(address)) => format!("--address={address}"),
            (None, None) => String::new(),
        });
        words.retain(|word| !word.is_empty());
        // The same folder as the leader's, where there is one, so that relative paths mean the same.
        let folder = std::env::current_dir().map(|folder| folder.display().to_string()).unwrap_or_default();
        format!(
            "unset HBNODE_LEADER HBNODE_JOIN_FILE HBNODE_STATE; \
             while IFS= read -r line && [ -n \"$line\" ]; do export \"$line\"; done; \
             cd -- {} 2>/dev/null; echo \"{PROCESS}$$\"; exec {} {}",
            shell(&folder),
            shell(self.binary),
            words.join(" ")
        )
    }
}

/// What the script reads: variables, an empty line, the way in. A value with a line break in it cannot be handed over.
///
/// # Errors
/// The name of such a variable.
pub fn input(variables: &BTreeMap<String, String>, way_in: &str) -> Result<Vec<u8>, String> {
    let mut text = String::new();
    for (name, value) in variables {
        if value.contains(['\n', '\0']) {
            return Err(format!("the variable `{name}` has a line break in it, and cannot be handed over to nodes"));
        }
        text.push_str(&format!("{name}={value}\n"));
    }
    Ok(format!("{text}\n{way_in}\n").into_bytes())
}

/// The node's process, where this line of its output tells it.
#[must_use]
pub fn process(line: &str) -> Option<u32> {
    line.strip_prefix(PROCESS)?.trim().parse().ok()
}

/// The script that ends a node's process, which is that session's child still.
#[must_use]
pub fn end(process: u32) -> String {
    format!("kill -KILL {process} 2>/dev/null; exit 0")
}

/// The script that looks at a node: by which address it was reached, and which build lies at the leader's own path.
#[must_use]
pub fn look(binary: &str) -> String {
    let binary = shell(binary);
    format!(
        "echo \"=connection $SSH_CONNECTION\"\n\
         [ ! -x {binary} ] || echo \"=build $({binary} --version 2>/dev/null | head -n 1)\"\nexit 0"
    )
}

/// What a node is.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// The address by which it was reached, unless that is one of its own alone.
    pub address: Option<IpAddr>,
    /// What the binary at the leader's path says of itself.
    pub build: Option<String>,
}

/// Reads the answer; what a login file prints beside is passed over.
#[must_use]
pub fn looked(said: &str) -> Looked {
    let value = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let address = value("=connection ").and_then(|ends| ends.split(' ').nth(2)?.parse::<IpAddr>().ok());
    // Behind a forwarded port a node is reached by its loopback, which nobody else can use.
    Looked { address: address.filter(|address| !address.is_loopback()), build: value("=build ").map(str::to_owned) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_tells_by_which_address_it_was_reached_and_which_build_it_has() {
        let found = looked("Welcome!\n=connection 10.0.0.1 40000 10.0.0.7 22\n=build hbnode 1 (x)\n");
        assert_eq!(found, Looked { address: Some("10.0.0.7".parse().unwrap()), build: Some("hbnode 1 (x)".into()) });
        assert_eq!(looked("=connection 127.0.0.1 1 127.0.0.1 22\n"), Looked::default());
        assert_eq!(looked("=connection \n"), Looked::default());
        assert_eq!(looked("=connection fe80::1%eth0 1 fe80::2%eth0 22\n"), Looked::default());
    }

    #[test]
    fn secrets_go_by_standard_input_and_a_value_of_two_lines_is_refused() {
        let variables = |value: &str| BTreeMap::from([("KEY".to_owned(), value.to_owned())]);
        assert_eq!(input(&variables("a b'$x"), "{}").unwrap(), b"KEY=a b'$x\n\n{}\n");
        assert!(input(&variables("a\nb"), "{}").unwrap_err().contains("`KEY`"));
    }

    #[test]
    fn a_hostile_path_stays_a_path() {
        let words = NodeWords::default();
        let start = Start { binary: "/x/$(id) 'a", ordinal: 1, address: None, wait: 15, words: &words, port_from: 6000 };
        let script = start.script();
        assert!(
            script.ends_with(r"exec '/x/$(id) '\''a' --join-stdin --while-stdin --ordinal=1 --wait=15 --client-port-from=6000"),
            "{script}"
        );
    }
}
