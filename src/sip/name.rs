//! Header names, long and compact (RFC 3261 §7.3.3 and the extensions' own).

/// A header that denwa reads or writes; all others are [`Name::Other`] and pass untouched.
#[allow(missing_docs)] // each is its header's name
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    Authorization,
    CallId,
    Contact,
    ContentEncoding,
    ContentLength,
    ContentType,
    CSeq,
    Event,
    Expires,
    From,
    MaxForwards,
    PAssertedIdentity,
    PPreferredIdentity,
    Path,
    Privacy,
    ProxyAuthorization,
    ProxyRequire,
    Reason,
    RecordRoute,
    ReferTo,
    RemotePartyId,
    Replaces,
    Require,
    Route,
    Supported,
    To,
    UserAgent,
    Via,
    Other,
}

impl Name {
    /// Reads a name, long or compact, in any case.
    pub fn parse(name: &[u8]) -> Name {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        match name.len() {
            1 => match name[0].to_ascii_lowercase() {
                b'c' => Name::ContentType,
                b'e' => Name::ContentEncoding,
                b'f' => Name::From,
                b'i' => Name::CallId,
                b'k' => Name::Supported,
                b'l' => Name::ContentLength,
                b'm' => Name::Contact,
                b'o' => Name::Event,
                b'r' => Name::ReferTo,
                b't' => Name::To,
                b'v' => Name::Via,
                _ => Name::Other,
            },
            2 if is("To") => Name::To,
            3 if is("Via") => Name::Via,
            4 if is("From") => Name::From,
            4 if is("CSeq") => Name::CSeq,
            4 if is("Path") => Name::Path,
            5 if is("Route") => Name::Route,
            5 if is("Event") => Name::Event,
            6 if is("Reason") => Name::Reason,
            7 if is("Call-ID") => Name::CallId,
            7 if is("Contact") => Name::Contact,
            7 if is("Expires") => Name::Expires,
            7 if is("Privacy") => Name::Privacy,
            7 if is("Require") => Name::Require,
            8 if is("Refer-To") => Name::ReferTo,
            8 if is("Replaces") => Name::Replaces,
            9 if is("Supported") => Name::Supported,
            10 if is("User-Agent") => Name::UserAgent,
            12 if is("Content-Type") => Name::ContentType,
            12 if is("Max-Forwards") => Name::MaxForwards,
            12 if is("Record-Route") => Name::RecordRoute,
            13 if is("Authorization") => Name::Authorization,
            13 if is("Proxy-Require") => Name::ProxyRequire,
            14 if is("Content-Length") => Name::ContentLength,
            15 if is("Remote-Party-ID") => Name::RemotePartyId,
            16 if is("Content-Encoding") => Name::ContentEncoding,
            19 if is("P-Asserted-Identity") => Name::PAssertedIdentity,
            19 if is("Proxy-Authorization") => Name::ProxyAuthorization,
            20 if is("P-Preferred-Identity") => Name::PPreferredIdentity,
            _ => Name::Other,
        }
    }
}
