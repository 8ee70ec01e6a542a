//! The table that is printed: measured figures, and beside them, marked as such, the goals and
//! what was measured earlier of the rivals.

use std::fmt::Write as _;
use std::net::IpAddr;

/// What was measured of one program in one row: one or two figures, or why there is none.
pub(crate) type Cell = Option<Result<Vec<f64>, String>>;

/// When a goal is reached.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// At most this, in the row's unit, for the first figures.
    AtMost(&'static [f64]),
    /// At least this, in the row's unit, for the first figures.
    AtLeast(&'static [f64]),
    /// At most this share of what the rival took.
    ShareOfRival(f64),
    /// More than the rival.
    MoreThanRival,
    /// At most this multiple of the bare loop's.
    TimesBare(f64),
    /// At most so much more than the bare loop's.
    AboveBare(f64),
}

/// One row: the same work for every program.
pub(crate) struct Row {
    /// What was measured, with its unit.
    pub(crate) work: &'static str,
    /// Digits after the point.
    pub(crate) digits: usize,
    pub(crate) denwa: Cell,
    pub(crate) rival: Cell,
    pub(crate) bare: Cell,
    pub(crate) goals: &'static [Goal],
    /// What earlier measurements of Asterisk and Kamailio on another machine gave.
    pub(crate) earlier: &'static str,
    /// A remark that belongs to the figures.
    pub(crate) note: Option<String>,
}

/// All rows.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) rows: Vec<Row>,
    /// What has to be said of all rows.
    pub(crate) remarks: Vec<String>,
}

impl Table {
    /// Whether each cell that was tried has a figure.
    pub(crate) fn complete(&self) -> bool {
        self.rows.iter().flat_map(|r| [&r.denwa, &r.rival, &r.bare]).all(|c| !matches!(c, Some(Err(_))))
    }

    /// The table as text.
    pub(crate) fn print(&self, build: &str, ip: &IpAddr) -> String {
        let mut lines = vec![
            [
                "work",
                "denwa",
                "Kamailio + rtpengine",
                "bare loop",
                "goal",
                "verdict",
                "earlier: Asterisk / Kamailio",
            ]
            .map(String::from),
        ];
        let mut notes = self.remarks.clone();
        for row in &self.rows {
            lines.push([
                row.work.into(),
                show(&row.denwa, row.digits),
                show(&row.rival, row.digits),
                show(&row.bare, row.digits),
                row.goals.iter().map(|g| g.text()).collect::<Vec<_>>().join(", "),
                row.verdict(),
                row.earlier.into(),
            ]);
            for (name, cell) in
                [("denwa", &row.denwa), ("Kamailio + rtpengine", &row.rival), ("bare loop", &row.bare)]
            {
                if let Some(Err(e)) = cell {
                    notes.push(format!("{}: {name} failed: {e}", row.work));
                }
            }
            notes.extend(row.note.iter().map(|n| format!("{}: {n}", row.work)));
        }
        let width = |column: usize| lines.iter().map(|l| l[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..7).map(width).collect();
        let mut out = format!(
            "\ndenwa: {build}; {ip}, UDP; servers on one processor; medians; CPU of all processes and threads\n\n"
        );
        for (i, line) in lines.iter().enumerate() {
            for (cell, width) in line.iter().zip(&widths) {
                let _ = write!(out, "| {cell:width$} ");
            }
            out.push_str("|\n");
            if i == 0 {
                for width in &widths {
                    let _ = write!(out, "|{:-<w$}", "", w = width + 2);
                }
                out.push_str("|\n");
            }
        }
        out.push_str("\nGoal and earlier are given, not measured in this run.\n");
        for note in notes {
            let _ = writeln!(out, "- {note}");
        }
        out
    }
}

impl Goal {
    fn text(self) -> String {
        match self {
            Goal::AtMost(limits) => format!("≤ {}", plain(limits)),
            Goal::AtLeast(limits) => format!("≥ {}", plain(limits)),
            Goal::ShareOfRival(share) => format!("< 1/{:.0} of the rival", 1.0 / share),
            Goal::MoreThanRival => "> the rival".into(),
            Goal::TimesBare(times) => format!("≤ {times} × bare"),
            Goal::AboveBare(more) => format!("≤ bare + {more}"),
        }
    }

    /// The most that `i`th figure may be (or, for `AtLeast` and `MoreThanRival`, the least).
    fn limit(self, i: usize, row: &Row) -> Option<f64> {
        let of = |cell: &Cell| cell.as_ref()?.as_ref().ok()?.get(i).copied();
        match self {
            Goal::AtMost(limits) | Goal::AtLeast(limits) => limits.get(i).copied(),
            Goal::ShareOfRival(share) => of(&row.rival).map(|r| r * share),
            Goal::MoreThanRival => of(&row.rival),
            Goal::TimesBare(times) => of(&row.bare).map(|b| b * times),
            Goal::AboveBare(more) => of(&row.bare).map(|b| b + more),
        }
    }
}

impl Row {
    /// `reached`, or by how much the worst goal is missed.
    fn verdict(&self) -> String {
        let Some(Ok(figures)) = &self.denwa else {
            return String::new();
        };
        let mut worst: Option<f64> = None;
        for goal in self.goals {
            for (i, figure) in figures.iter().enumerate() {
                let Some(limit) = goal.limit(i, self) else {
                    continue;
                };
                let excess = match goal {
                    Goal::AtLeast(_) | Goal::MoreThanRival => limit / figure,
                    _ => figure / limit,
                };
                // Nothing of nothing is what is wanted; else what is no number reaches nothing.
                let excess = if *figure == 0.0 && limit == 0.0 { 1.0 } else { excess };
                let excess = if excess.is_nan() { f64::INFINITY } else { excess };
                worst = Some(worst.unwrap_or(0.0).max(excess));
            }
        }
        match worst {
            None => String::new(),
            Some(excess) if excess <= 1.0 => "reached".into(),
            Some(excess) => format!("missed: {excess:.2} ×"),
        }
    }
}

fn show(cell: &Cell, digits: usize) -> String {
    match cell {
        None => "–".into(),
        Some(Ok(figures)) => join(figures, digits),
        Some(Err(_)) => "failed".into(),
    }
}

/// Goals as they were written.
fn plain(limits: &[f64]) -> String {
    limits.iter().map(f64::to_string).collect::<Vec<_>>().join(" / ")
}

fn join(figures: &[f64], digits: usize) -> String {
    figures.iter().map(|f| format!("{f:.digits$}")).collect::<Vec<_>>().join(" / ")
}
