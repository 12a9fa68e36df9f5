//! Placeholder: recipe.
