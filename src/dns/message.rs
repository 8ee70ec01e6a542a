//! DNS messages (RFC 1035 §4): how a question is written, and what of an answer is believed.
//!
//! An answer may have been made by anybody. What is looked at:
//!
//! | what | bound | what happens there |
//! |---|---|---|
//! | a message | 65,535 octets | that is all that a length says |
//! | records of the answer and the authority section | 512 each | the rest is not looked at |
//! | records of the kind asked for | [`MAX_RECORDS`] | the rest is not looked at |
//! | aliases in a row | [`MAX_ALIASES`] | [`Reply::TooManyAliases`] |
//! | a service's name in a NAPTR record | 32 octets | the record counts as not there |
//!
//! Additional records are not looked at: whoever wants to know an address asks for it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use domain::base::iana::{Class, Opcode, Rcode};
use domain::base::wire::ParseError;
use domain::base::{Message, MessageBuilder, Name as WireName, ParsedName, ParsedRecord, Rtype, ToName, Ttl};
use domain::dep::octseq::Array;
use domain::rdata::{A, Aaaa, Cname, Naptr as WireNaptr, Soa, Srv as WireSrv};

use super::record::{Answer, Content, Kind, Naptr, Question, Record, Srv};
use super::{MAX_ALIASES, MAX_RECORDS, Name};

/// The most octets of an answer by UDP that we say we take: no network cuts it into pieces
/// (RFC 6891; DNS Flag Day 2020).
pub(super) const UDP_ANSWER: u16 = 1232;

/// The most octets of a question: header, name, type and class, OPT.
const MAX_QUESTION: usize = 12 + 255 + 4 + 11;

/// The most records of a section that are looked at.
const MAX_LOOKED_AT: usize = 512;

/// The most octets of the name of a service; `SIPS+D2T` has eight.
const MAX_SERVICE: usize = 32;

/// What a message turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// An answer.
    Answer(Answer),
    /// It does not fit in a datagram, and is to be asked for by TCP.
    Truncated,
    /// The server fails, with this code.
    Failed(u8),
    /// Aliases that lead in a circle.
    AliasLoop,
    /// More aliases than are followed.
    TooManyAliases,
}

/// Why a message is no answer to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It answers another one, or nothing: whoever sent it does not know what was asked.
    Strange,
    /// It claims to be the answer, but lies about its lengths or otherwise makes no sense.
    Garbled,
}

impl From<ParseError> for Unfit {
    fn from(_: ParseError) -> Unfit {
        Unfit::Garbled
    }
}

/// A question as it is sent to somebody who is to find out (RD); `edns` says how much may come back (RFC 6891).
pub(super) fn ask(id: u16, question: &Question, edns: bool) -> Option<Array<MAX_QUESTION>> {
    let name = WireName::<Array<255>>::from_chars(question.name.as_str().chars()).ok()?;
    let mut message = MessageBuilder::from_target(Array::new()).ok()?;
    message.header_mut().set_id(id);
    message.header_mut().set_rd(true);
    let mut message = message.question();
    message.push((name, question.kind.rtype(), Class::IN)).ok()?;
    let mut message = message.additional();
    if edns {
        message
            .opt(|opt| {
                opt.set_udp_payload_size(UDP_ANSWER);
                Ok(())
            })
            .ok()?;
    }
    Some(message.finish())
}

/// What a message says to a question that was asked with this `id`.
///
/// # Errors
///
/// If it is no answer to it.
pub fn read(octets: &[u8], id: u16, question: &Question) -> Result<Reply, Unfit> {
    let message = Message::from_octets(octets).map_err(|_| Unfit::Strange)?;
    let header = message.header();
    if header.id() != id || !header.qr() || header.opcode() != Opcode::QUERY {
        return Err(Unfit::Strange);
    }
    // Who does not understand a question may not be able to repeat it (RFC 6891 §7).
    let says_nothing = message.header_counts().qdcount() == 0;
    if says_nothing && matches!(header.rcode(), Rcode::FORMERR | Rcode::NOTIMP) {
        return Ok(Reply::Failed(header.rcode().to_int()));
    }
    let asked = message.sole_question()?;
    let is_ours = name(asked.qname()).as_ref() == Some(&question.name)
        && asked.qtype() == question.kind.rtype()
        && asked.qclass() == Class::IN;
    if !is_ours {
        return Err(Unfit::Strange);
    }
    match header.rcode() {
        _ if header.tc() => Ok(Reply::Truncated),
        Rcode::NOERROR | Rcode::NXDOMAIN => follow(&message, question),
        other => Ok(Reply::Failed(other.to_int())),
    }
}

/// From alias to alias, to the records that were asked for.
fn follow(message: &Message<&[u8]>, question: &Question) -> Result<Reply, Unfit> {
    let rows = Rows::read(message, question.kind)?;
    let mut ttl = Duration::MAX;
    let mut at = &question.name;
    let mut aliases = 0;
    let mut records = Vec::new();
    loop {
        for (_, record, lasts) in rows.records.iter().filter(|(owner, ..)| owner == at) {
            if records.len() < MAX_RECORDS && !records.contains(record) {
                records.push(record.clone());
                ttl = ttl.min(*lasts);
            }
        }
        match rows.aliases.get(at) {
            Some((to, lasts)) if records.is_empty() => {
                // More steps than there are aliases visit one of them twice.
                if aliases >= rows.aliases.len() {
                    return Ok(Reply::AliasLoop);
                }
                if aliases >= MAX_ALIASES {
                    return Ok(Reply::TooManyAliases);
                }
                aliases += 1;
                ttl = ttl.min(*lasts);
                at = to;
            }
            _ => break,
        }
    }
    let is_missing = message.header().rcode() == Rcode::NXDOMAIN;
    let content = match rows.negative {
        _ if !records.is_empty() => Content::Records(records.into()),
        // Who says of an alias no more than that it is one leaves the rest to be asked for.
        None if aliases > 0 && !is_missing => Content::Alias(at.clone()),
        lasts => {
            ttl = ttl.min(lasts.unwrap_or_default());
            if is_missing { Content::NoSuchName } else { Content::NoRecords }
        }
    };
    Ok(Reply::Answer(Answer { content, aliases, ttl, server: None }))
}

/// What a message has of what can matter.
struct Rows {
    records: Vec<(Name, Record, Duration)>,
    aliases: BTreeMap<Name, (Name, Duration)>,
    /// How long it holds that something is not there (RFC 2308 §5).
    negative: Option<Duration>,
}

impl Rows {
    fn read(message: &Message<&[u8]>, kind: Kind) -> Result<Rows, Unfit> {
        let mut rows = Rows { records: Vec::new(), aliases: BTreeMap::new(), negative: None };
        for row in message.answer()?.take(MAX_LOOKED_AT) {
            let row = row?;
            if row.class() != Class::IN {
                continue;
            }
            let Some(owner) = name(&row.owner()) else { continue };
            let lasts = time(row.ttl());
            if row.rtype() == Rtype::CNAME {
                let alias = data::<Cname<_>>(&row)?.and_then(|data| name(data.cname()));
                if let Some(to) = alias {
                    rows.aliases.entry(owner).or_insert((to, lasts));
                }
            } else if row.rtype() == kind.rtype() {
                rows.records.extend(record(&row, kind)?.map(|record| (owner, record, lasts)));
            }
        }
        for row in message.authority()?.take(MAX_LOOKED_AT) {
            let row = row?;
            if let Some(soa) = data::<Soa<_>>(&row)? {
                rows.negative = Some(time(row.ttl()).min(time(soa.minimum())));
            }
        }
        Ok(rows)
    }
}

type Row<'a> = ParsedRecord<'a, &'a [u8]>;

/// A record's data, if it is of this type.
fn data<'a, Data>(row: &ParsedRecord<'a, &'a [u8]>) -> Result<Option<Data>, Unfit>
where
    Data: domain::base::ParseRecordData<'a, &'a [u8]>,
{
    Ok(row.to_record::<Data>()?.map(|record| record.into_data()))
}

/// A record of the kind that was asked for; `None` if nobody can be reached by what it says.
fn record(row: &Row<'_>, kind: Kind) -> Result<Option<Record>, Unfit> {
    Ok(match kind {
        Kind::A => data::<A>(row)?.and_then(|a| address(a.addr().into())),
        Kind::Aaaa => data::<Aaaa>(row)?.and_then(|aaaa| address(aaaa.addr().into())),
        Kind::Srv => data::<WireSrv<ParsedName<_>>>(row)?.and_then(|srv| {
            let (priority, weight, port) = (srv.priority(), srv.weight(), srv.port());
            let target = match srv.target().is_root() {
                true => None,
                false => Some(name(srv.target()).filter(|_| port != 0)?),
            };
            Some(Record::Srv(Srv { priority, weight, port, target }))
        }),
        Kind::Naptr => data::<WireNaptr<_, ParsedName<_>>>(row)?.and_then(|naptr| {
            let is_final = naptr.flags().as_slice().eq_ignore_ascii_case(b"s");
            let service = std::str::from_utf8(naptr.services().as_slice()).ok()?;
            if !is_final || service.len() > MAX_SERVICE || !naptr.regexp().is_empty() {
                return None;
            }
            Some(Record::Naptr(Naptr {
                order: naptr.order(),
                preference: naptr.preference(),
                service: service.to_ascii_uppercase(),
                replacement: name(naptr.replacement())?,
            }))
        }),
    })
}

/// An address that belongs to one machine.
fn address(address: IpAddr) -> Option<Record> {
    let is_somebodys = match address.to_canonical() {
        IpAddr::V4(address) => {
            !address.is_unspecified() && !address.is_multicast() && address != Ipv4Addr::BROADCAST
        }
        IpAddr::V6(address) => address != Ipv6Addr::UNSPECIFIED && !address.is_multicast(),
    };
    is_somebodys.then(|| Record::Address(address.to_canonical()))
}

/// A name that a host or a service can have.
fn name(name: &impl ToName) -> Option<Name> {
    let mut text = String::with_capacity(super::MAX_NAME);
    for label in name.iter_labels().filter(|label| !label.is_root()) {
        if label.as_slice().contains(&b'.') {
            return None;
        }
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(std::str::from_utf8(label.as_slice()).ok()?);
    }
    Name::new(&text)
}

/// A time; one with the highest bit is none (RFC 2181 §8).
fn time(ttl: Ttl) -> Duration {
    let seconds = ttl.as_secs();
    Duration::from_secs(if seconds > i32::MAX as u32 { 0 } else { seconds.into() })
}
