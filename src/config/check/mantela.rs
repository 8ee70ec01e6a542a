//! Whether what is to be published makes sense, and is whole.

use std::collections::BTreeMap;

use super::{Check, Numbers, said};
use crate::config::de::Said;
use crate::config::file::{MantelaKeys, WebPlace, YesNo};
use crate::config::mistake::Reason;
use crate::config::{Extension, Listen, MAX_MANTELA_LISTEN, MAX_PREFIXES, MAX_PUBLIC, Mantela, Number};

impl Check<'_> {
    /// `mantela.*`. `spoken` is where SIP is spoken, and the lines that say so.
    pub(super) fn mantela(
        &mut self,
        keys: MantelaKeys,
        domain: Option<&str>,
        spoken: &[(Listen, Option<u32>)],
        extensions: &BTreeMap<Number, Extension>,
        groups: &BTreeMap<Number, Vec<Number>>,
        numbers: &Numbers,
    ) -> Mantela {
        let line = keys.listen.first().map(|said| said.line);
        let mut web: Vec<(Listen, u32)> = Vec::new();
        for Said { line, value } in keys.listen {
            let Some(WebPlace(new)) = value else { continue };
            let others = spoken.iter().copied().chain(web.iter().map(|(place, line)| (*place, Some(*line))));
            match others.into_iter().find(|(old, _)| covers(old, &new)) {
                Some((old, first)) => {
                    let (word, with) = (new.to_string(), old.to_string());
                    // What is not said is the default of `listen`.
                    let reason = match first {
                        Some(first) if word == with => Reason::ListedTwice { word, first },
                        Some(first) => Reason::Overlap { word, with, first },
                        None => {
                            Reason::Value(format!("SIP is spoken on `{with}` unless `listen` says otherwise"))
                        }
                    };
                    self.wrong(line, "mantela.listen", reason);
                }
                None if web.len() == MAX_MANTELA_LISTEN => {
                    self.wrong(line, "mantela.listen", Reason::TooMany { most: MAX_MANTELA_LISTEN });
                    break;
                }
                None => web.push((new, line)),
            }
        }
        if let Some(beyond) = keys.prefix.get(MAX_PREFIXES) {
            self.wrong(beyond.line, "mantela.prefix", Reason::TooMany { most: MAX_PREFIXES });
        }
        let has_prefix = !keys.prefix.is_empty();
        let prefixes = keys.prefix.into_iter().filter_map(|said| said.value).collect();
        let has_identifier = keys.identifier.is_some();
        if let (Some(line), false) = (line, has_prefix) {
            self.wrong(line, "mantela.listen", Reason::NotSaid("mantela.prefix"));
        }
        let last = keys.numbers.last().map(|said| said.line);
        let public = self.known("mantela.numbers", keys.numbers, numbers);
        let of_themselves = |(number, extension): &(&Number, &Extension)| {
            extension.listing.is_public && !public.contains(number)
        };
        let members: usize = public.iter().filter_map(|number| groups.get(number)).map(Vec::len).sum();
        if public.len() + members + extensions.iter().filter(of_themselves).count() > MAX_PUBLIC {
            let reason = Reason::TooMany { most: MAX_PUBLIC };
            self.mistakes.add(last, if last.is_some() { "mantela.numbers" } else { "ext.N.public" }, reason);
        }
        let mantela = Mantela {
            listen: web.into_iter().map(|(place, _)| place).collect(),
            name: said(keys.name).map(|name| name.0),
            identifier: said(keys.identifier),
            prefixes,
            unavailable: said(keys.unavailable).is_some_and(|YesNo(yes)| yes),
            numbers: public,
        };
        if let (Some(line), None, false) = (line, mantela.identifier(domain), has_identifier) {
            self.wrong(line, "mantela.listen", Reason::NotSaid("mantela.identifier"));
        }
        mantela
    }
}

/// Whether two sockets cannot both be bound.
fn covers(old: &Listen, new: &Listen) -> bool {
    old.transport.is_stream()
        && old.port == new.port
        && (old.address == new.address || old.address.is_none() || new.address.is_none())
}
