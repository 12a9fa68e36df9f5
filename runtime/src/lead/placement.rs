//! Roles on named nodes, as the old orchestrator's `--server-nodes` and `--client-nodes` place them: inside a job on tasks of
//! its step, elsewhere on hosts that are reached over ssh.

use crate::cli::LeadWords;

/// The nodes that are named. The same list twice means that both roles share them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    servers: Vec<String>,
    clients: Vec<String>,
}

impl Placement {
    /// What the words name, if they name nodes.
    ///
    /// # Errors
    /// Nodes that cannot have the roles that they are named for.
    pub fn of(words: &LeadWords, has_endpoints: bool) -> Result<Option<Self>, String> {
        let Self { servers, clients } = Self { servers: words.server_nodes.clone(), clients: words.client_nodes.clone() };
        if servers.is_empty() && clients.is_empty() {
            return Ok(None);
        }
        if clients.is_empty() {
            return Err("--server-nodes is said without --client-nodes: name the nodes that send the load, too".to_owned());
        }
        if servers.is_empty() && !has_endpoints {
            return Err("--client-nodes is said without --server-nodes, and the recipe has no servers.endpoints: name the nodes that run \
                        the servers, too"
                .to_owned());
        }
        if !servers.is_empty() && has_endpoints {
            return Err(
                "--server-nodes is said for a recipe whose servers run already (servers.endpoints): leave one of them out"
                    .to_owned(),
            );
        }
        for list in [&servers, &clients] {
            if let Some((at, name)) = list.iter().enumerate().find(|(at, name)| list[..*at].contains(name)) {
                return Err(format!("`{name}` is named twice, at places {} and {}", at, at + 1));
            }
        }
        if servers != clients
            && let Some(both) = servers.iter().find(|name| clients.contains(name))
        {
            return Err(format!(
                "`{both}` is among the --server-nodes and the --client-nodes: name the same nodes in both, which then share them, or \
                 different ones"
            ));
        }
        Ok(Some(Self { servers, clients }))
    }

    /// All nodes, in the order of roles.
    fn nodes(&self) -> Vec<&str> {
        let further = if self.is_shared() { &[][..] } else { &self.clients[..] };
        self.servers.iter().chain(further).map(String::as_str).collect()
    }

    fn is_shared(&self) -> bool {
        self.servers == self.clients
    }

    /// The settings of recipe fields that this amounts to. Over ssh the nodes are the recipe's own list.
    #[must_use]
    pub fn sets(&self, is_over_ssh: bool) -> Vec<(String, String)> {
        let block = "orchestration.node_allocation";
        let nodes = self.nodes();
        let mut sets = vec![
            (format!("{block}.monitors.nodes"), "0".to_owned()),
            (format!("{block}.clients.nodes"), self.clients.len().to_string()),
            (format!("{block}.clients.share_servers"), self.is_shared().to_string()),
            ("orchestration.total_nodes".to_owned(), nodes.len().to_string()),
        ];
        if !self.servers.is_empty() {
            sets.push((format!("{block}.servers.nodes"), self.servers.len().to_string()));
        }
        if is_over_ssh {
            sets.push(("orchestration.mode".to_owned(), "ssh".to_owned()));
            // JSON is YAML that reads every name as text.
            sets.push(("orchestration.nodes".to_owned(), serde_json::Value::from(nodes).to_string()));
        }
        sets
    }

    /// The place of a host in the order of roles. One that is not named comes after all that are, and has none.
    #[must_use]
    pub fn ordinal(&self, host: &str, rank: u32) -> u32 {
        let nodes = self.nodes();
        let place = nodes.iter().position(|name| is_same_host(name, host));
        let after = || u32::try_from(nodes.len()).unwrap_or(u32::MAX).saturating_add(rank);
        place.and_then(|place| u32::try_from(place).ok()).unwrap_or_else(after)
    }

    /// The nodes that are named and are not among these hosts.
    #[must_use]
    pub fn missing(&self, hosts: &[String]) -> Vec<&str> {
        self.nodes().into_iter().filter(|name| !hosts.iter().any(|host| is_same_host(name, host))).collect()
    }
}

/// Names with and without their domain are one host.
fn is_same_host(one: &str, other: &str) -> bool {
    let short = |name: &str| name.split('.').next().map(str::to_owned);
    one == other || short(one) == short(other)
}

/// The hosts of this step, as Slurm's variables list them; nothing where they do not.
#[must_use]
pub fn hosts_of_step(variable: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let components = variable("SLURM_HET_SIZE").and_then(|size| size.parse::<u32>().ok()).unwrap_or(0);
    let mut names: Vec<String> = (0..components).map(|component| format!("SLURM_JOB_NODELIST_HET_GROUP_{component}")).collect();
    if names.is_empty() {
        names =
            vec![if variable("SLURM_STEP_NODELIST").is_some() { "SLURM_STEP_NODELIST" } else { "SLURM_JOB_NODELIST" }.to_owned()];
    }
    names.iter().filter_map(|name| hb_core::launch::expand(&variable(name)?).ok()).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(servers: &[&str], clients: &[&str], has_endpoints: bool) -> Result<Option<Placement>, String> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let words = LeadWords { server_nodes: owned(servers), client_nodes: owned(clients), ..LeadWords::default() };
        Placement::of(&words, has_endpoints)
    }

    #[test]
    fn named_nodes_become_the_recipes_own_list_in_the_order_of_roles() {
        let placement = placed(&["a"], &["b", "c"], false).unwrap().unwrap();
        let sets = placement.sets(true);
        let value = |path: &str| sets.iter().find(|(set, _)| set.ends_with(path)).map(|(_, value)| value.as_str());
        assert_eq!(value("orchestration.nodes"), Some(r#"["a","b","c"]"#));
        assert_eq!((value("servers.nodes"), value("clients.nodes"), value("total_nodes")), (Some("1"), Some("2"), Some("3")));
        assert_eq!(value("share_servers"), Some("false"));
        assert!(placement.sets(false).iter().all(|(path, _)| path != "orchestration.mode" && path != "orchestration.nodes"));
    }

    #[test]
    fn the_same_nodes_twice_share_both_roles() {
        let placement = placed(&["a", "b"], &["a", "b"], false).unwrap().unwrap();
        assert!(placement.sets(true).contains(&("orchestration.nodes".into(), r#"["a","b"]"#.into())));
        assert!(placed(&["a", "b"], &["b", "c"], false).unwrap_err().contains("`b` is among"));
    }

    #[test]
    fn what_cannot_be_placed_is_told() {
        assert_eq!(placed(&[], &[], false), Ok(None));
        assert!(placed(&["a"], &[], false).unwrap_err().contains("without --client-nodes"));
        assert!(placed(&[], &["a"], false).unwrap_err().contains("without --server-nodes"));
        assert!(placed(&[], &["a"], true).unwrap().is_some());
        assert!(placed(&["a"], &["b"], true).unwrap_err().contains("run already"));
        assert!(placed(&["a", "a"], &["b"], false).unwrap_err().contains("named twice"));
    }

    #[test]
    fn tasks_take_the_places_that_their_hosts_are_named_for() {
        let placement = placed(&["n3"], &["n1.site.org"], false).unwrap().unwrap();
        let ordinals = ["n1", "n2", "n3"].iter().zip(0..).map(|(host, rank)| placement.ordinal(host, rank));
        assert_eq!(ordinals.collect::<Vec<_>>(), [1, 3, 0]);
        assert_eq!(placement.missing(&["n1".into(), "n2".into()]), ["n3"]);
    }

    #[test]
    fn the_hosts_of_a_step_are_those_of_all_its_components() {
        let step = |variables: &[(&str, &str)]| {
            hosts_of_step(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
        };
        assert_eq!(step(&[("SLURM_JOB_NODELIST", "n[1-3]"), ("SLURM_STEP_NODELIST", "n[1-2]")]), ["n1", "n2"]);
        let mixed =
            [("SLURM_HET_SIZE", "2"), ("SLURM_JOB_NODELIST_HET_GROUP_0", "a1"), ("SLURM_JOB_NODELIST_HET_GROUP_1", "b[1-2]")];
        assert_eq!(step(&mixed), ["a1", "b1", "b2"]);
        assert!(step(&[]).is_empty());
    }
}
