//! Mantela: what an exchange tells of itself by HTTP, and `denwa peer add`, by the real program.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod add;
#[path = "../folder/mod.rs"]
mod folder;
#[path = "../said/mod.rs"]
mod said;
mod serve;
