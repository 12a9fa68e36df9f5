//! What will pend for ever, or be refused, as far as the scheduler has told about its partitions.

use super::{components::components, limit::clock};
use crate::{recipe::Recipe, units::Span};

/// What `sinfo` tells of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its name.
    pub name: String,
    /// How many nodes it has.
    pub nodes: u32,
    /// The longest time a job may have; nothing where it is unlimited.
    pub longest: Option<Span>,
    /// Its generic resources, such as `gpu:a100:4`; empty where it has none.
    pub gres: String,
}

impl Partition {
    /// Reads the lines of `sinfo -h -o '%R|%D|%l|%G'`; nodes of one partition that differ stand in several lines.
    #[must_use]
    pub fn read_all(text: &str) -> Vec<Self> {
        let mut partitions: Vec<Self> = Vec::new();
        for line in text.lines() {
            let fields: Vec<&str> = line.trim().split('|').collect();
            let [name, nodes, longest, gres] = fields.as_slice() else { continue };
            let Ok(nodes) = nodes.parse::<u32>() else { continue };
            let gres = if *gres == "(null)" { "" } else { gres };
            match partitions.iter_mut().find(|partition| partition.name == *name) {
                Some(known) => {
                    known.nodes += nodes;
                    known.gres.push_str(gres);
                }
                None => partitions.push(Self {
                    name: (*name).to_owned(),
                    nodes,
                    longest: longest.parse().ok(),
                    gres: gres.to_owned(),
                }),
            }
        }
        partitions
    }
}

/// What makes this recipe's job pend for ever on the partition it names.
#[must_use]
pub fn doubts(recipe: &Recipe, partitions: &[Partition]) -> Vec<String> {
    // A scheduler that tells nothing raises no doubt.
    let Some(name) = recipe.partition.as_deref().filter(|_| !partitions.is_empty()) else { return Vec::new() };
    let Some(partition) = partitions.iter().find(|partition| partition.name == name) else {
        let known: Vec<&str> = partitions.iter().map(|partition| partition.name.as_str()).collect();
        return vec![format!("partition: there is no `{name}`; the scheduler has {}", known.join(", "))];
    };
    let mut doubts = Vec::new();
    let components = components(recipe);
    let nodes: u32 = components.iter().map(|component| component.nodes).sum();
    if nodes > partition.nodes {
        doubts.push(format!(
            "{nodes} nodes are asked for, and the partition `{name}` has {}: the job would never start",
            partition.nodes
        ));
    }
    let limit = recipe.orchestration.job_config.as_ref().and_then(|job| job.time_limit);
    if let (Some(limit), Some(longest)) = (limit, partition.longest)
        && limit > longest
    {
        doubts.push(format!(
            "orchestration.job_config.time_limit is {}, and the partition `{name}` allows {}: the job would never start",
            clock(limit),
            clock(longest)
        ));
    }
    if components.iter().any(|component| component.needs.gpus.is_some()) && !partition.gres.contains("gpu") {
        doubts.push(format!(
            "GPUs are asked for, and no node of the partition `{name}` has one: the job would be refused or never start"
        ));
    }
    doubts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        recipe::{KnownService, read},
        trial::Api,
    };

    #[test]
    fn lines_of_one_partition_are_added_up() {
        let read = Partition::read_all("cpu|3|2-00:00:00|(null)\ngpu|2|infinite|gpu:a100:4\ngpu|1|infinite|(null)\nrubbish\n");
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].nodes, read[0].longest, read[0].gres.as_str()), (3, Some(Span::from_secs(172_800)), ""));
        assert_eq!((read[1].nodes, read[1].longest, read[1].gres.as_str()), (3, None, "gpu:a100:4"));
    }

    fn check(sets: &[(&str, &str)], expected: &[&str]) {
        let sets: Vec<_> = sets.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect();
        let services = [KnownService { name: "dummy", default_api: Api::Completions, is_started: true }];
        let text = include_str!("../../../../recipes/dummy_cluster.yaml");
        let recipe = read(text.as_bytes(), &sets, &services).recipe.unwrap();
        let partitions = Partition::read_all("cpu|3|1:00:00|(null)\nbig|9|infinite|gpu:4\n");
        let found = doubts(&recipe, &partitions);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        assert!(found.iter().zip(expected).all(|(found, part)| found.contains(part)), "{found:?}");
        assert!(doubts(&recipe, &[]).is_empty());
    }

    #[test]
    fn what_can_never_start_is_named_before_it_waits() {
        check(&[], &[]);
        check(&[("orchestration.total_nodes", "4")], &["4 nodes are asked for"]);
        check(&[("orchestration.job_config.time_limit", "02:00:00")], &["allows 01:00:00"]);
        check(&[("resources.servers.gpus", "1")], &["no node of the partition `cpu`"]);
        check(&[("resources.servers.gpus", "1"), ("partition", "big")], &[]);
        check(&[("partition", "cpus")], &["the scheduler has cpu, big"]);
    }
}
