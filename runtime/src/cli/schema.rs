//! `hbnode schema`: what editors complete recipes with.

use super::exit::Exit;

/// Prints the schema as `schemas/recipe-format.yaml` has it.
pub fn run() -> Exit {
    print!("{}", hb_core::recipe::schema_text());
    Exit::Ok
}
