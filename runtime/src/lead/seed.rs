//! The seed of a run whose recipe writes none.

use hb_core::recipe::Recipe;
use uuid::Uuid;

use super::{recipe::Checked, resume::recipe_of};
use crate::results::KeptRun;

/// Whether each run of this recipe draws a seed of its own.
#[must_use]
pub fn is_drawn(recipe: &Recipe) -> bool {
    recipe.seed().is_none() && recipe.has_endpoints()
}

/// Writes a seed into a recipe that has none: that of the run that goes on, else a fresh one where servers outlive the run
/// and may keep the prompts of the run before. Servers that the run starts have seen nothing, and get the same each time.
pub fn fill(checked: &mut Checked, kept: Option<&KeptRun>) {
    if checked.recipe.seed().is_some() {
        return;
    }
    let seed = match kept {
        // What cannot be read is refused where the recipes are compared.
        Some(kept) => recipe_of(kept).ok().as_ref().and_then(Recipe::seed),
        None => is_drawn(&checked.recipe).then(fresh),
    };
    if let Some(seed) = seed {
        checked.recipe.set_seed(seed, &mut checked.trials);
    }
}

/// Short enough to be typed again. The end of such a number is random.
fn fresh() -> u64 {
    u64::from(Uuid::now_v7().as_u128() as u32)
}

#[cfg(test)]
mod tests {
    use hb_core::recipe::resolved_text;

    use super::*;
    use crate::lead::recipe::{Source, check};

    const ENDPOINTS: &str = "scenario: s\norchestration: {mode: local}\nservers: {endpoints: [\"http://h\"]}\n\
                             workload: {service: openai, model: m, concurrency: [1, 2]}\n";

    fn checked(text: &str) -> Checked {
        check(&Source { name: "r".into(), bytes: text.into() }, &[]).unwrap_or_else(|problems| panic!("{problems:#?}"))
    }

    fn filled(text: &str, kept: Option<&KeptRun>) -> Checked {
        let mut checked = checked(text);
        fill(&mut checked, kept);
        checked
    }

    fn kept(recipe: &Recipe) -> KeptRun {
        let resolved = resolved_text(recipe);
        KeptRun { path: "/r".into(), recipe: Vec::new(), resolved, finished: Vec::new(), report: None }
    }

    #[test]
    fn servers_that_outlive_a_run_get_a_fresh_seed_and_others_keep_theirs() {
        let [one, other] = [filled(ENDPOINTS, None), filled(ENDPOINTS, None)];
        assert!(one.recipe.seed().is_some() && one.recipe.seed() != other.recipe.seed());
        assert!(one.trials.iter().zip(&other.trials).all(|(one, other)| one.seed != other.seed));
        // What is written down draws the same again.
        assert_eq!(checked(&resolved_text(&one.recipe)).trials, one.trials);
        let written = format!("{ENDPOINTS}metadata: {{seed: 7}}\n");
        assert_eq!(filled(&written, None).trials, checked(&written).trials);
        let started = include_str!("../../../recipes/dummy_cluster.yaml");
        assert_eq!(filled(started, None).trials, checked(started).trials);
    }

    #[test]
    fn a_run_that_goes_on_keeps_the_seed_that_was_drawn_for_it() {
        let begun = filled(ENDPOINTS, None);
        assert_eq!(filled(ENDPOINTS, Some(&kept(&begun.recipe))).trials, begun.trials);
        // Runs of old drew from 0 and wrote nothing.
        let old = checked(ENDPOINTS);
        assert_eq!(filled(ENDPOINTS, Some(&kept(&old.recipe))).trials, old.trials);
    }
}
