//! `hbnode plan`: what a recipe would run, drawn on nodes that need not be there.

mod drawing;
mod text;

use self::drawing::{Drawing, draw};
use super::{exit::Exit, recipe::checked, words::PlanWords};
use crate::lead::recipe::{read_files, show};

/// Draws a recipe.
pub fn run(words: &PlanWords) -> Exit {
    let (source, mut checked) = match checked(&words.recipe, &words.sets) {
        Ok(both) => both,
        Err(exit) => return exit,
    };
    show(&checked.warnings, &source);
    show(&checked.later, &source);
    if let Err(problem) = read_files(&source, &mut checked.trials) {
        show(&[problem], &source);
        return Exit::BadWords;
    }
    match draw(&checked.recipe, &checked.trials) {
        Ok(drawing) if words.json => print_json(&drawing),
        Ok(drawing) => print!("{}", text::of(&drawing)),
        Err(sentence) => {
            eprintln!("error: {sentence}");
            return Exit::BadWords;
        }
    }
    Exit::Ok
}

fn print_json(drawing: &Drawing) {
    match serde_json::to_string_pretty(drawing) {
        Ok(text) => println!("{text}"),
        Err(error) => eprintln!("error: {error}"),
    }
}
