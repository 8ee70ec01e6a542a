//! `denwa bans`: who is not heard.

use std::time::Duration;

use super::super::words::{Things, Time};
use super::Paint;
use super::table::Table;
use crate::switch::view::BanView;

/// A line for each source.
pub fn bans(bans: &[BanView], paint: Paint) -> String {
    if bans.is_empty() {
        return "everybody is heard\n".into();
    }
    let mut table = Table::new(["SOURCE", "STILL FOR", "WHY"]);
    for ban in bans {
        let why = match ban.wrong_passwords {
            None => "the operator said so (denwa ban)".into(),
            Some(failures) => format!("{} (ban)", Things(failures.into(), "wrong password")),
        };
        table.row([ban.source.clone(), Time(Duration::from_secs(ban.left_s)).to_string(), why]);
    }
    let mut out = String::new();
    for (at, line) in table.lines().into_iter().enumerate() {
        out += &if at == 0 { paint.bold(line).to_string() } else { line };
        out.push('\n');
    }
    out
}
