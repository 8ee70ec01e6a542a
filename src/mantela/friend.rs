//! Reading somebody else's document: what is not known is read over, what is known must be of its type.

use std::fmt;

use serde::de::Unexpected;
use serde_json::Value;

use super::document::Coordinates;
use super::text::Text;
use super::{AboutMe, Document, Extension, MAX_DOCUMENT, Prefixes, Provider};

/// Why somebody else's document is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FriendError {
    /// It has more than [`MAX_DOCUMENT`] octets.
    TooLarge,
    /// It is no JSON, for this reason.
    NotJson(Text),
    /// Something in it is not as the schema wants it.
    Field {
        /// Where: `aboutMe.name`, `extensions[3].type`; `.` for all of it.
        path: Text,
        /// What is wrong there.
        why: Text,
    },
    /// It follows another version of the schema.
    Version(Text),
}

impl std::error::Error for FriendError {}

impl fmt::Display for FriendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FriendError::TooLarge => {
                write!(f, "it is larger than {} KiB, and no mantela.json is", MAX_DOCUMENT >> 10)
            }
            FriendError::NotJson(why) => write!(f, "it is not JSON: {why}"),
            FriendError::Field { path, why } if path.as_str() == "." => {
                write!(f, "it is no mantela.json: {why}")
            }
            FriendError::Field { path, why } => write!(f, "its {path} is wrong: {why}"),
            FriendError::Version(version) => {
                write!(f, "it is of version {}, and denwa reads 0.1.x", version.shortened(20))
            }
        }
    }
}

/// Reads a document. Every text in it is bounded and harmless then.
///
/// # Errors
///
/// What is wrong with it first.
pub fn read(octets: &[u8]) -> Result<Document, FriendError> {
    if octets.len() > MAX_DOCUMENT {
        return Err(FriendError::TooLarge);
    }
    // Web servers of some systems put the mark in front.
    let octets = octets.strip_prefix(b"\xef\xbb\xbf").unwrap_or(octets);
    let tree: Value = serde_json::from_slice(octets)
        .map_err(|error| FriendError::NotJson(Text::new(&error.to_string())))?;
    let document = At { value: &tree, path: String::new() }.document()?;
    match document.version.as_str().starts_with("0.1.") {
        true => Ok(document),
        false => Err(FriendError::Version(document.version)),
    }
}

/// A value, and where it is in the document.
struct At<'a> {
    value: &'a Value,
    /// Empty for all of it.
    path: String,
}

impl<'a> At<'a> {
    fn wrong(&self, why: &str) -> FriendError {
        let path = if self.path.is_empty() { "." } else { &self.path };
        FriendError::Field { path: Text::new(path), why: Text::new(why) }
    }

    fn no(&self, expected: &str) -> FriendError {
        let other = match self.value {
            Value::Null => Unexpected::Other("null"),
            Value::Bool(value) => Unexpected::Bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => Unexpected::Unsigned(number),
                (None, Some(number)) => Unexpected::Signed(number),
                (None, None) => Unexpected::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => Unexpected::Str(text),
            Value::Array(_) => Unexpected::Seq,
            Value::Object(_) => Unexpected::Map,
        };
        self.wrong(&format!("invalid type: {other}, expected {expected}"))
    }

    /// A field that may be absent.
    fn given(&self, name: &str) -> Result<Option<At<'a>>, FriendError> {
        let Value::Object(fields) = self.value else { return Err(self.no("an object")) };
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Ok(fields.get(name).map(|value| At { value, path }))
    }

    fn field(&self, name: &str) -> Result<At<'a>, FriendError> {
        self.given(name)?.ok_or_else(|| self.wrong(&format!("missing field `{name}`")))
    }

    /// What a field that may be absent or null says.
    fn maybe<T>(
        &self,
        name: &str,
        read: fn(&At<'a>) -> Result<T, FriendError>,
    ) -> Result<Option<T>, FriendError> {
        self.given(name)?.filter(|at| !at.value.is_null()).map(|at| read(&at)).transpose()
    }

    fn text(&self) -> Result<Text, FriendError> {
        self.value.as_str().map(Text::new).ok_or_else(|| self.no("a string"))
    }

    fn yes_or_no(&self) -> Result<bool, FriendError> {
        self.value.as_bool().ok_or_else(|| self.no("a boolean"))
    }

    fn degrees(&self) -> Result<f64, FriendError> {
        self.value.as_f64().ok_or_else(|| self.no("a number"))
    }

    fn list<T>(&self, read: fn(&At<'a>) -> Result<T, FriendError>) -> Result<Vec<T>, FriendError> {
        let Value::Array(all) = self.value else { return Err(self.no("an array")) };
        let one = |(at, value)| read(&At { value, path: format!("{}[{at}]", self.path) });
        all.iter().enumerate().map(one).collect()
    }

    fn texts(&self) -> Result<Vec<Text>, FriendError> {
        self.list(At::text)
    }

    fn document(&self) -> Result<Document, FriendError> {
        Ok(Document {
            version: self.field("version")?.text()?,
            about_me: self.field("aboutMe")?.about_me()?,
            extensions: self.field("extensions")?.list(At::extension)?,
            providers: self.field("providers")?.list(At::provider)?,
        })
    }

    fn about_me(&self) -> Result<AboutMe, FriendError> {
        Ok(AboutMe {
            name: self.field("name")?.text()?,
            preferred_prefix: self.field("preferredPrefix")?.prefixes()?,
            identifier: self.field("identifier")?.text()?,
            sip_uri: self.given("sipUri")?.map_or(Ok(Vec::new()), |uris| uris.texts())?,
            unavailable: self.maybe("unavailable", At::yes_or_no)?,
            geolocation_coordinates: self.maybe("geolocationCoordinates", At::coordinates)?,
            image: self.maybe("image", At::text)?,
        })
    }

    fn prefixes(&self) -> Result<Prefixes, FriendError> {
        match self.value {
            Value::String(one) => Ok(Prefixes(vec![Text::new(one)])),
            Value::Array(_) => self.texts().map(Prefixes),
            _ => Err(self.no("a string or an array of strings")),
        }
    }

    fn coordinates(&self) -> Result<Coordinates, FriendError> {
        let (latitude, longitude) = (self.field("latitude")?, self.field("longitude")?);
        Ok(Coordinates { latitude: latitude.degrees()?, longitude: longitude.degrees()? })
    }

    fn extension(&self) -> Result<Extension, FriendError> {
        Ok(Extension {
            name: self.field("name")?.text()?,
            extension: self.field("extension")?.text()?,
            identifier: self.maybe("identifier", At::text)?,
            kind: self.field("type")?.text()?,
            model: self.maybe("model", At::text)?,
            transfer_to: self.maybe("transferTo", At::texts)?,
            unavailable: self.maybe("unavailable", At::yes_or_no)?,
        })
    }

    fn provider(&self) -> Result<Provider, FriendError> {
        Ok(Provider {
            name: self.field("name")?.text()?,
            prefix: self.field("prefix")?.text()?,
            identifier: self.field("identifier")?.text()?,
            mantela: self.field("mantela")?.text()?,
            unavailable: self.maybe("unavailable", At::yes_or_no)?,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// As others write it, with what denwa does not know.
    const FRIEND: &str = r#"{
        "$schema": "https://tkytel.github.io/mantela/0.1.x/mantela.schema.json", "version": "0.1.5",
        "aboutMe": {"name": "Tokyo", "preferredPrefix": ["0150", "150"], "identifier": "b0ce607e",
            "sipUri": ["sip:phone.example.com:5060;transport=udp"], "sipPassword": "no", "color": [1, {}],
            "geolocationCoordinates": {"latitude": 35.6, "longitude": 139, "accuracy": 1000}, "image": null},
        "extensions": [{"name": "all", "extension": "8888", "type": "main", "transferTo": ["78DF9SLZ"]}],
        "providers": [{"name": "neTel", "prefix": "321", "identifier": "a8", "mantela": "https://n.example/"}]
    }"#;

    fn wrong(from: &str, to: &str) -> String {
        assert!(FRIEND.contains(from), "{from}");
        let told = read(FRIEND.replacen(from, to, 1).as_bytes()).unwrap_err().to_string();
        assert!(!told.contains(char::is_control) && told.len() < 800, "{told:?}");
        told
    }

    #[test]
    fn a_friends_document() {
        let document = read(FRIEND.as_bytes()).unwrap();
        assert_eq!(document.about_me.preferred_prefix.0, [Text::new("0150"), Text::new("150")]);
        assert_eq!(document.about_me.sip_uri[0].as_str(), "sip:phone.example.com:5060;transport=udp");
        assert_eq!(document.extensions[0].transfer_to.as_ref().map(Vec::len), Some(1));
        assert_eq!(document.providers[0].prefix.as_str(), "321");
        assert_eq!(read(&[b"\xef\xbb\xbf", FRIEND.as_bytes()].concat()), Ok(document));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (from, to, says) in [
            ("\"Tokyo\"", "5", "its aboutMe.name is wrong: invalid type: integer `5`, expected a string"),
            ("[\"0150\", \"150\"]", "[\"0150\", 7]", "its aboutMe.preferredPrefix[1] is wrong"),
            ("[\"0150\", \"150\"]", "{}", "its aboutMe.preferredPrefix is wrong"),
            ("\"main\"", "null", "its extensions[0].type is wrong"),
            ("\"extension\": \"8888\", ", "", "missing field `extension`"),
            ("\"321\"", "321", "its providers[0].prefix is wrong"),
            ("\"identifier\": \"b0ce607e\",", "", "its aboutMe is wrong: missing field `identifier`"),
            ("\"0.1.5\"", "\"0.0.0\"", "it is of version 0.0.0, and denwa reads 0.1.x"),
            ("\"0.1.5\"", "\"\\u001b[2J\"", "it is of version ?[2J"),
            ("\"main\"", "main", "it is not JSON"),
            ("35.6", "\"\\u001b]0;x\\u0007\"", "its aboutMe.geolocationCoordinates.latitude is wrong"),
        ] {
            assert!(
                wrong(from, to).starts_with(says) || wrong(from, to).contains(says),
                "{}",
                wrong(from, to)
            );
        }
        for (octets, says) in [
            ("", "it is not JSON"),
            ("[]", "it is no mantela.json"),
            ("\"x\"", "it is no mantela.json"),
            ("<!doctype html>", "it is not JSON"),
            ("[[]]", "it is no mantela.json"),
            (&"[".repeat(10_000), "it is not JSON"),
            (&format!("{FRIEND}x"), "it is not JSON"),
        ] {
            let told = read(octets.as_bytes()).unwrap_err().to_string();
            assert!(told.starts_with(says), "{told}");
        }
        assert_eq!(read(&vec![b' '; MAX_DOCUMENT + 1]), Err(FriendError::TooLarge));
        let deep = FRIEND.replacen("[1, {}]", &"[".repeat(50_000), 1);
        assert!(matches!(read(deep.as_bytes()), Err(FriendError::NotJson(_))));
    }
}
